"""Data retention: removes the content of consignments recorded before a date, step by step, and logs each removal.

Such a consignment keeps its identifier, times, history keys (pseudonyms), score, band and model. So history features and the
hash chain stay valid. Its fields, features and reasons are removed. Outcomes, alerts, cancellations and selections stay. Then
the monthly keys that no entry needs are erased (crypto-shredding), which is logged too. After that, the personal fields
cannot be decrypted in copies of the log either.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from consignments.errors import BadInput
from consignments.timestamps import to_datetime, to_us
from features.history.kernels import REMEMBERED_DAYS
from features.history.pseudonyms import Pseudonyms, load_data_key
from serving.encryption.key_file import KeyErasure, MonthlyKey, extract_key_id
from serving.encryption.vault import Vault
from serving.event_log.events import ArrivalEvent, Event
from serving.event_log.hash_chain import Redaction
from serving.event_log.key_erasures import find_used_prefixes
from serving.event_log.log import EventLog
from serving.event_log.reader import Progress
from serving.event_log.redactions import (
    RebuiltKeys,
    count_unredacted,
    find_first_recorded,
    find_redaction_end,
    list_content,
)
from serving.event_log.time_spans import find_latest_us
from serving.event_log.verification.chain import require_valid_chain
from serving.maintenance.published_config import build_key_reader
from serving.process.clock import read_clock_us
from serving.process.settings import Settings
from serving.process.state_directory import StateLock
from serving.state.history_keys import KeyReader

STEP_ENTRIES = 100_000
"""Number of entries whose content is removed in one transaction."""
EXCLUDED_FROM_REBUILT_KEYS = ("features", "reasons")
MARGIN_DAYS = 2
"""Additional days, because client clocks may be ahead and days begin at midnight."""


class RetentionApproval(NamedTuple):
    """The approval of a removal: who decided it, and the reason; it is recorded in the log."""

    approved_by: str
    why: str


class RetentionResult(NamedTuple):
    """The result of a removal of content, or of its dry run.

    Attributes
    ----------
    before : datetime
    up_to : int
        Sequence number of the last entry recorded before that date; 0 if there is none.
    consignments : int
        Number of consignment versions up to that entry that had content.
    steps : int
        Number of entries added to the log, each recording one step.
    head : str
        Hash of the last entry, to be stored elsewhere.
    months : tuple of str
        Months whose keys were erased, or would be.
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
    """Remove the content of consignments recorded before a date; the service must not be running.

    After an interruption, the next run continues where the last one stopped.

    Parameters
    ----------
    settings : Settings
    before : datetime
    approval : RetentionApproval
    dry_run : bool
        Only count; change nothing.
    progress : callable, optional

    Raises
    ------
    BadInput
        History still needs entries before the date.
    ServiceFault
        The state directory is in use by another process, the log is damaged, the log or the key file cannot be written, or
        a monthly key is missing.
    """
    with StateLock(settings.state_dir):
        data_key = load_data_key(settings.data_key_file)
        vault = Vault.load(settings.period_keys_dir, data_key)
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            _require_past(log, before)
            after, up_to = find_redaction_end(log), _last_before(log, to_us(before))
            count, steps = count_unredacted(log, after, up_to), 0
            if count and not dry_run:
                record = Redaction(after, up_to, 0, b"", to_us(before), *approval)
                keys = build_key_reader(settings.state_dir, vault, Pseudonyms(data_key))
                steps = _remove(log, record, keys, progress or _ignore_progress)
                log.wipe()
            unused = _unused_keys(log, to_us(before), up_to if dry_run else 0)
            if unused and not dry_run:
                log.erase_keys([_build_erasure(key, approval) for key in unused])
            return RetentionResult(before, up_to, count, steps, log.head, tuple(key.month for key in unused))


class ConsignmentErasure(NamedTuple):
    """The result of the removal of one consignment's content, or of its dry run.

    Attributes
    ----------
    consignment_id : str
    versions : int
        Number of versions that had content.
    head : str
        Hash of the last entry, to be stored elsewhere.
    """

    consignment_id: str
    versions: int
    head: str


def forget_consignment(
    settings: Settings, consignment_id: str, approval: RetentionApproval, *, dry_run: bool = False
) -> ConsignmentErasure:
    """Remove the content of one consignment, whenever it was recorded; the service must not be running.

    Identifier, times, history keys, score, band and model stay, so history and decisions about others do not change.

    Raises
    ------
    BadInput
        The log has no such consignment, or its content was removed before.
    ServiceFault
        The same as of `forget`.
    """
    with StateLock(settings.state_dir):
        data_key = load_data_key(settings.data_key_file)
        vault = Vault.load(settings.period_keys_dir, data_key)
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            places = list_content(log, consignment_id)
            if not places:
                raise BadInput(
                    "there is no content of this consignment in the log",
                    where="--consignment",
                    got=repr(consignment_id),
                    todo="check the identifier; content that was deleted before needs nothing",
                )
            if not dry_run:
                now_us = read_clock_us()
                step = Redaction(places[0] - 1, places[-1], 0, b"", now_us, *approval, consignment_id)
                keys = _rebuild_keys(
                    log, step, build_key_reader(settings.state_dir, vault, Pseudonyms(data_key))
                )
                log.redact(step, [each for each in keys if each.sequence in set(places)], now_us)
                log.wipe()
            return ConsignmentErasure(consignment_id, len(places), log.head)


def _unused_keys(log: EventLog, before_us: int, after: int) -> list[MonthlyKey]:
    """Find the keys of months that ended before a time and that no entry after the sequence number `after` needs."""
    assert log.vault.periods is not None
    ended = log.vault.periods.list_ended(before_us)
    used = find_used_prefixes(log, [key.prefix for key in ended], after)
    return [key for key in ended if key.prefix not in used]


def _build_erasure(key: MonthlyKey, approval: RetentionApproval) -> KeyErasure:
    return KeyErasure(extract_key_id(key.prefix), key.month, read_clock_us(), *approval)


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
    """Compute the history keys of entries that have those of another model, because later their content is missing."""
    here: Iterable[Event] = (
        log.read_consignment_events(step.consignment_id, step.up_to, EXCLUDED_FROM_REBUILT_KEYS)
        if step.consignment_id
        else log.read_arrivals(step.after, step.up_to, EXCLUDED_FROM_REBUILT_KEYS)
    )
    others = (
        event
        for event in here
        if isinstance(event, ArrivalEvent)
        and event.kinds != keys.entries.kinds
        and not event.redacted
        and not keys.entries.find_erasure(event)
    )
    return [
        RebuiltKeys(event.sequence, keys.entries.kinds, b"".join(map(bytes, keys(event)))) for event in others
    ]


def _ignore_progress(_what: str, _done: int, _total: int) -> None:
    """Do nothing."""


def _last_before(log: EventLog, before_us: int) -> int:
    """Find the last entry up to which all entries were recorded before a time."""
    first = find_first_recorded(log, before_us)
    return log.last_sequence if first is None else first - 1


def _require_past(log: EventLog, before: datetime) -> None:
    """Check that history no longer needs the content before a date, for example to compute other history keys."""
    latest_us = find_latest_us(log.queries)
    latest = datetime.now(UTC) if latest_us is None else to_datetime(latest_us)
    limit = (latest - timedelta(days=REMEMBERED_DAYS + MARGIN_DAYS)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    if before > limit:
        raise BadInput(
            "history still needs consignments before this date",
            where="--before",
            got=before.isoformat(),
            expected=f"{limit.date()} or earlier: {REMEMBERED_DAYS + MARGIN_DAYS} days before the latest consignment",
            todo="give an earlier date",
        )
