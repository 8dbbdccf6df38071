"""Retention by date: what is older loses its content, on record and step by step; the chain and history stay whole.

A consignment that was recorded before the date keeps its identifier, its moments, its keys of history (pseudonyms), score, band
and model: so history, and what verify-log proves, stay as they were. Its fields, features and reasons are gone. Outcomes,
alerts, cancellations and selections stay. Then the keys of the months that no entry needs any more are erased, on record too:
so its personal fields can no longer be read in copies of the log either.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from consignments.errors import BadInput
from consignments.timestamps import to_datetime, to_us
from features.fitted import FittedParameters
from features.history.kernels import REMEMBERED_DAYS
from features.history.pseudonyms import Pseudonyms, load_data_key
from features.pipeline import Pipeline
from serving.encryption.key_file import KeyErasure, MonthlyKey, extract_key_id
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.hash_chain import Redaction
from serving.event_log.key_erasures import find_used_prefixes
from serving.event_log.log import EventLog, RebuiltKeys
from serving.event_log.reader import Progress
from serving.event_log.redactions import (
    count_unredacted,
    find_first_recorded,
    find_latest_arrival_us,
    find_redaction_end,
)
from serving.maintenance.import_past import load_published_config
from serving.process.clock import read_clock_us
from serving.process.settings import Settings
from serving.process.state_directory import StateLock
from serving.state.history_keys import KeyReader

STEP_ENTRIES = 100_000
"""Entries that lose their content together, all or none."""
EXCLUDED_COLUMNS = ("features", "reasons")
MARGIN_DAYS = 2
"""Clocks of senders may be ahead, and days begin at midnight."""


class RetentionApproval(NamedTuple):
    """Who decided that content is removed, and the reason; part of the log."""

    approved_by: str
    why: str


class RetentionResult(NamedTuple):
    """What lost its content, or would.

    Attributes
    ----------
    before : datetime
    up_to : int
        Sequence of the last entry that was recorded before; 0 where there is none.
    consignments : int
        Versions of consignments that had content up to there.
    steps : int
        Entries that were added to the log, each the record of a step.
    head : str
        Hash of the last entry, to be kept elsewhere.
    months : tuple of str
        Whose keys were erased, or would be.
    """

    before: datetime
    up_to: int
    consignments: int
    steps: int
    head: str
    months: tuple[str, ...] = ()


def forget(
    settings: Settings,
    before: datetime,
    approval: RetentionApproval,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RetentionResult:
    """Remove the content of consignments that were recorded before a date; the service must not be running.

    A run that was ended goes on where it stopped when it is started again.

    Parameters
    ----------
    settings : Settings
    before : datetime
    approval : RetentionApproval
    dry_run : bool
        Only count.
    progress : callable, optional

    Raises
    ------
    BadInput
        Where history still needs what is before the date.
    ServiceFault
        Where the state directory is taken, the log or the keys by month cannot be written, or one of these is missing.
    """
    with StateLock(settings.state_dir):
        data_key = load_data_key(settings.data_key_file)
        vault = Vault.load(settings.state_dir, data_key)
        with EventLog.open(settings.database_url, vault) as log:
            _require_past(log, before)
            after, up_to = find_redaction_end(log), _last_before(log, to_us(before))
            count, steps = count_unredacted(log, after, up_to), 0
            if count and not dry_run:
                record = Redaction(after, up_to, 0, b"", to_us(before), *approval)
                keys = _key_reader(settings.state_dir, vault, Pseudonyms(data_key))
                steps = _remove(log, record, keys, progress or _ignore_progress)
                log.wipe()
            unused = _unused_keys(log, to_us(before), up_to if dry_run else 0)
            if unused and not dry_run:
                log.erase_keys([_build_erasure(key, approval) for key in unused])
            return RetentionResult(before, up_to, count, steps, log.head, tuple(key.month for key in unused))


def _unused_keys(log: EventLog, before_us: int, after: int) -> list[MonthlyKey]:
    """Give the keys of the months that ended before a moment and that no entry behind the sequence `after` needs."""
    assert log.vault.periods is not None
    ended = log.vault.periods.list_ended(before_us)
    used = find_used_prefixes(log, [key.prefix for key in ended], after)
    return [key for key in ended if key.prefix not in used]


def _build_erasure(key: MonthlyKey, approval: RetentionApproval) -> KeyErasure:
    return KeyErasure(extract_key_id(key.prefix), key.month, read_clock_us(), *approval)


def _key_reader(state_dir: Path, vault: Vault, pseudonyms: Pseudonyms) -> KeyReader:
    """Give what makes the keys of history of the model that is published."""
    config = load_published_config(state_dir)
    pipeline = Pipeline(config, FittedParameters.create_empty(), pseudonyms)
    return KeyReader(pipeline, EventCodec(vault, config.build_record_type(), pipeline.kinds))


def _remove(log: EventLog, record: Redaction, keys: KeyReader, progress: Progress) -> int:
    first, last = record.after, record.up_to
    starts = range(first, last, STEP_ENTRIES)
    for start in starts:
        end = min(start + STEP_ENTRIES, last)
        step = msgspec.structs.replace(record, after=start, up_to=end)
        log.redact(step, _rebuild_keys(log, step, keys), read_clock_us())
        progress("forget", end - first, last - first)
    return len(starts)


def _rebuild_keys(log: EventLog, step: Redaction, keys: KeyReader) -> list[RebuiltKeys]:
    """Make the keys of entries again that hold those of another model: afterwards nobody could."""
    here = log.read_arrivals(step.after, step.up_to, EXCLUDED_COLUMNS)
    others = (
        event
        for event in here
        if event.kinds != keys.entries.kinds and not event.redacted and not keys.entries.find_erasure(event)
    )
    return [
        RebuiltKeys(event.sequence, keys.entries.kinds, b"".join(map(bytes, keys(event)))) for event in others
    ]


def _ignore_progress(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def _last_before(log: EventLog, before_us: int) -> int:
    """Give the last entry of those that were all recorded before a moment."""
    first = find_first_recorded(log, before_us)
    return log.last_sequence if first is None else first - 1


def _require_past(log: EventLog, before: datetime) -> None:
    """Refuse a date that history has not left behind: it needs fields until then, as for a model with other keys."""
    latest_us = find_latest_arrival_us(log)
    latest = datetime.now(UTC) if latest_us is None else to_datetime(latest_us)
    limit = (latest - timedelta(days=REMEMBERED_DAYS + MARGIN_DAYS)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    if before > limit:
        raise BadInput(
            "history remembers what came after this date",
            where="--before",
            got=before.isoformat(),
            expected=f"{limit.date()} or earlier: {REMEMBERED_DAYS} days before the latest consignment, and {MARGIN_DAYS} more",
        )
