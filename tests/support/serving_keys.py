"""Keys by month in a folder, fields to seal, and records that a key was erased."""

from datetime import UTC, datetime
from pathlib import Path

from support.examples import day
from support.serving_examples import DATA_KEY

from consignments.timestamps import to_us
from serving.encryption.key_file import FILE_NAME, KeyErasure, extract_key_id
from serving.encryption.monthly_keys import MonthlyKeys

MARCH, APRIL, MAY = (to_us(datetime(2024, month, 1, tzinfo=UTC)) for month in (3, 4, 5))
FIELDS, SUBJECT = b"name and address", b"RB1"


def keys_in(folder: Path) -> MonthlyKeys:
    return MonthlyKeys(folder / FILE_NAME, DATA_KEY)


def erasure_of(keys: MonthlyKeys, moment_us: int) -> KeyErasure:
    key = keys.get_key(moment_us)
    return KeyErasure(
        extract_key_id(key.prefix), key.month, to_us(day(500)), "data protection", "its time is over"
    )
