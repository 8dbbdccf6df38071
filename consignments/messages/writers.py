"""Consignments written as messages, one archive for each format: what a reader is tried with, and a source of test feeds.

Air cargo is written as Cargo-XML and as ONE Record, its houses as Cargo-IMP too; post is written in the flat postal schema.
"""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from consignments.errors import FileFault
from consignments.messages.air.fhl_writer import write_fhl
from consignments.messages.air.xml_writer import write_cargo_xml
from consignments.messages.onerecord.writer import write_one_record
from consignments.messages.post.postal_writer import write_postal
from consignments.records import Consignment

MessageWriter = Callable[[Consignment], bytes]
EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""So that the same consignments give the same bytes."""


def is_air_cargo(c: Consignment) -> bool:
    """Check whether a consignment goes by a waybill."""
    return c.channel == "air_cargo"


def is_house(c: Consignment) -> bool:
    """Check whether a consignment is a house under a waybill."""
    return is_air_cargo(c) and "/" in c.consignment_id


def is_postal(c: Consignment) -> bool:
    """Check whether a consignment is a postal item."""
    return c.channel == "postal"


FORMATS: dict[str, tuple[Callable[[Consignment], bool], MessageWriter]] = {
    "cargo_xml": (is_air_cargo, write_cargo_xml),
    "cargo_imp": (is_house, write_fhl),
    "one_record": (is_air_cargo, write_one_record),
    "postal": (is_postal, write_postal),
}
"""Which consignments each format is for, and what writes it."""


def write_archives(consignments: Iterable[Consignment], folder: Path) -> dict[str, int]:
    """Write each consignment in every format that it has."""
    counts = dict.fromkeys(FORMATS, 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        archives = {
            name: zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) for name in FORMATS
        }
        try:
            for c in consignments:
                for name, (fits, write) in FORMATS.items():
                    if fits(c):
                        counts[name] += 1
                        entry = zipfile.ZipInfo(f"{counts[name]:07d}", EARLIEST_ZIP_TIME)
                        archives[name].writestr(entry, write(c), zipfile.ZIP_DEFLATED)
        finally:
            for archive in archives.values():
                archive.close()
    except OSError as error:
        raise FileFault("cannot be written", where=str(folder), got=error.strerror or str(error)) from error
    return counts
