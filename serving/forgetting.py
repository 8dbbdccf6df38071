"""Retention by date: what is older loses its content, on record and step by step; the chain and history stay whole.

A consignment that was recorded before the date keeps its identifier, its moments, its keys of history (pseudonyms), score, band
and model: so history, and what verify-log proves, stay as they were. Its fields, features and reasons are gone. Outcomes,
alerts, cancellations and selections stay.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from consignments.errors import BadInput
from consignments.visibility import moment_of_us, to_us
from features.fitted import Fitted
from features.history import REMEMBERED_DAYS
from features.pipeline import Pipeline
from features.pseudonyms import Pseudonyms, load_data_key
from serving.chain import Removal
from serving.clock import clock_us
from serving.dossiers import KeyReader
from serving.entries import Entries
from serving.event_log import EventLog
from serving.events import ARRIVED
from serving.importing import published_config
from serving.lock import StateLock
from serving.replay import Progress
from serving.sealing import Vault
from serving.settings import Settings

STEP_ENTRIES = 100_000
"""Entries that lose their content together, all or none."""
NOT_FOR_KEYS = ("features", "reasons")
MARGIN_DAYS = 2
"""Clocks of senders may be ahead, and days begin at midnight."""


class Forgotten(NamedTuple):
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
    """

    before: datetime
    up_to: int
    consignments: int
    steps: int
    head: str


def forget(
    settings: Settings,
    before: datetime,
    approved_by: str,
    why: str,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Forgotten:
    """Remove the content of consignments that were recorded before a date; the service must not be running.

    A run that was ended goes on where it stopped when it is started again.

    Parameters
    ----------
    settings : Settings
    before : datetime
    approved_by, why : str
        Who decided it, and the reason; part of the log.
    dry_run : bool
        Only count.
    progress : callable, optional

    Raises
    ------
    BadInput
        Where history still needs what is before the date.
    ServiceFault
        Where the state directory is taken, or the log cannot be written.
    """
    with StateLock(settings.state_dir):
        data_key = load_data_key(settings.data_key_file)
        with EventLog.open(settings.database_url, Vault(data_key)) as log:
            _require_past(log, before)
            after, up_to = log.emptied_up_to(), _last_before(log, to_us(before))
            count = log.count_whole(after, up_to)
            if dry_run or not count:
                return Forgotten(before, up_to, count, 0, log.head)
            record = Removal(after, up_to, 0, b"", to_us(before), approved_by, why)
            steps = _remove(log, record, _key_reader(settings, data_key), progress or _nobody)
            log.wipe()
            return Forgotten(before, up_to, count, steps, log.head)


def _key_reader(settings: Settings, data_key: bytes) -> KeyReader:
    """Give what makes the keys of history of the model that is published."""
    config = published_config(settings.state_dir)
    pipeline = Pipeline(config, Fitted.nothing(), Pseudonyms(data_key))
    return KeyReader(pipeline, Entries(Vault(data_key), config.record_type(), pipeline.kinds))


def _remove(log: EventLog, record: Removal, keys: KeyReader, progress: Progress) -> int:
    first, last = record.after, record.up_to
    starts = range(first, last, STEP_ENTRIES)
    for start in starts:
        end = min(start + STEP_ENTRIES, last)
        step = msgspec.structs.replace(record, after=start, up_to=end)
        log.remove(step, _other_keys(log, step, keys), clock_us())
        progress("forget", end - first, last - first)
    return len(starts)


def _other_keys(log: EventLog, step: Removal, keys: KeyReader) -> list[dict[str, Any]]:
    """Make the keys of entries anew that hold those of another model: afterwards nobody could."""
    here = log.events(after=step.after, until=step.up_to, without=NOT_FOR_KEYS, kinds=ARRIVED)
    others = (event for event in here if event.kinds != keys.entries.kinds and not event.emptied)
    return [
        {"at": event.sequence, "new_kinds": keys.entries.kinds, "new_keys": b"".join(map(bytes, keys(event)))}
        for event in others
    ]


def _nobody(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def _last_before(log: EventLog, before_us: int) -> int:
    """Give the last entry of those that were all recorded before a moment."""
    first = log.first_recorded_from(before_us)
    return log.last_sequence if first is None else first - 1


def _require_past(log: EventLog, before: datetime) -> None:
    """Refuse a date that history has not left behind: it needs fields until then, as for a model with other keys."""
    latest_us = log.latest_arrival_us()
    latest = datetime.now(UTC) if latest_us is None else moment_of_us(latest_us)
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
