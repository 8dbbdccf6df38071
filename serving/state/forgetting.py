"""Removal of the content of consignments, and the list of what was forgotten, which is applied again to a log that was restored.

    28 November   backup of the log
    1 December    RB1 is forgotten: first its digest and the date are in the list, then its content is removed from the log
    3 December    the backup is restored, and has RB1: before anything is served, its content is removed again

The list lies next to the data key. It has no identifiers, only digests that are keyed with the data key. What was recorded after the
date, for example because RB1 was sent again, stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from consignments.errors import BadInput, BadSetting, explain_failure
from consignments.files.whole_files import replace_file
from consignments.timestamps import to_datetime, to_us
from features.history.kernels import REMEMBERED_DAYS
from serving.encryption.vault import Vault
from serving.event_log.events import ARRIVAL_KINDS, ArrivalEvent, Event
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import (
    RebuiltKeys,
    Redaction,
    count_unredacted,
    find_content,
    find_end,
    find_redaction_end,
    list_content,
)
from serving.event_log.verification import require_valid_chain
from serving.process.clock import read_clock_us
from serving.process.settings import Settings
from serving.process.state_directory import lock_state
from serving.state.history_keys import KeyReader, build_key_reader

LIST_NAME = "forgotten.jsonl"
STEP_ENTRIES = 100_000  # number of entries whose content is removed in one transaction
EXCLUDED_FROM_REBUILT_KEYS = ("features", "reasons")


class RetentionApproval(NamedTuple):
    """The approval of a removal: who decided it, and the reason; it is recorded in the log."""

    approved_by: str
    why: str


class ForgottenRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line of the list: the digest of a consignment, or the date before which all were recorded, and when it was forgotten."""

    forgotten_at: datetime
    digest: int | None = None
    before: datetime | None = None


class ForgottenList:
    """The list next to a data key."""

    def __init__(self, data_key_file: Path) -> None:
        self.path = data_key_file.with_name(LIST_NAME)

    def read(self) -> list[ForgottenRecord]:
        """Read all lines; raise `BadSetting` if one cannot be read, because what it names would be served again."""
        with explain_failure("the list of what was forgotten cannot be read", self.path):
            lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(msgspec.json.decode(line, type=ForgottenRecord))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise BadSetting(
                    "the list of what was forgotten is damaged",
                    where=f"{self.path} line {number}",
                    got=str(error),
                    todo="restore the file from its newest copy",
                ) from error
        return records

    def add(self, records: Iterable[ForgottenRecord]) -> None:
        """Add the lines that the list does not have; they are on disk on return."""
        known = self.read()
        new = [each for each in records if each not in known]
        if not new:
            return
        content = b"".join(msgspec.json.encode(each) + b"\n" for each in [*known, *new])
        todo = "nothing was removed; free disk space, or give this user write permission"
        with explain_failure("the list of what was forgotten cannot be written", self.path, todo):
            replace_file(self.path, content)


def forget_again(log: EventLog, forgotten: ForgottenList, state_dir: Path) -> int:
    """Remove again from a log what a list says was forgotten; return the number of removals, each an entry of the log."""
    records = forgotten.read()
    before_us = max((to_us(each.before) for each in records if each.before is not None), default=0)
    try:
        is_old_left = before_us > 0 and find_end(log, before_us) > find_redaction_end(log)
    except msgspec.MsgspecError:  # a recorded removal was changed
        require_valid_chain(log)
        raise
    if not is_old_left and not _find_forgotten(log, records):
        return 0
    require_valid_chain(log)
    keys = build_key_reader(state_dir, log.vault)
    steps = remove_before(log, before_us, _describe_repeat(before_us), keys) if is_old_left else 0
    found = _find_forgotten(log, records)
    for name, (places, forgotten_us) in found.items():
        remove_consignment(log, name, places, _describe_repeat(forgotten_us), keys)
    log.wipe()
    return steps + len(found)


def remove_before(
    log: EventLog,
    before_us: int,
    approval: RetentionApproval,
    keys: KeyReader,
    progress: Progress | None = None,
) -> int:
    """Remove the content of all consignments recorded before a time, in steps; return their number."""
    first, last = find_redaction_end(log), find_end(log, before_us)
    starts = range(first, last, STEP_ENTRIES)
    for start in starts:
        step = Redaction(start, min(start + STEP_ENTRIES, last), 0, b"", before_us, *approval)
        log.redact(step, _rebuild_keys(log, step, keys), read_clock_us())
        if progress is not None:
            progress("forget", step.up_to - first, last - first)
    return len(starts)


def remove_consignment(
    log: EventLog, name: str, places: Sequence[int], approval: RetentionApproval, keys: KeyReader
) -> None:
    """Remove the content of the entries of one consignment at some places."""
    now_us, wanted = read_clock_us(), set(places)
    step = Redaction(places[0] - 1, places[-1], 0, b"", now_us, *approval, name)
    rebuilt = [each for each in _rebuild_keys(log, step, keys) if each.sequence in wanted]
    log.redact(step, rebuilt, now_us)


def _find_forgotten(log: EventLog, records: Sequence[ForgottenRecord]) -> dict[str, tuple[list[int], int]]:
    """Find the entries with content of the consignments of a list, from before they were forgotten: places and time by identifier."""
    until_us: dict[int, int] = {}
    for each in records:
        if each.digest is not None:
            until_us[each.digest] = max(until_us.get(each.digest, 0), to_us(each.forgotten_at))
    places: dict[str, list[int]] = defaultdict(list)
    times: dict[str, int] = {}
    for sequence, name, digest, recorded_us in find_content(log, list(until_us)):
        if recorded_us < until_us[digest]:
            places[name].append(sequence)
            times[name] = until_us[digest]
    return {name: (sorted(found), times[name]) for name, found in places.items()}


def _describe_repeat(forgotten_us: int) -> RetentionApproval:
    date = to_datetime(forgotten_us).date()
    return RetentionApproval("npsrisk", f"forgotten ({date}) before this log was restored from a backup")


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
        if isinstance(event, ArrivalEvent) and event.kinds != keys.entries.kinds and not event.redacted
    )
    return [
        RebuiltKeys(event.sequence, keys.entries.kinds, b"".join(map(bytes, keys(event)))) for event in others
    ]


MARGIN_DAYS = 2  # additional days, because client clocks may be ahead and days begin at midnight


class RetentionResult(NamedTuple):
    """The result of a removal or of its dry run: the last entry, the versions that had content, the `steps` to record."""

    before: datetime
    up_to: int
    consignments: int
    steps: int
    head: str


class ConsignmentErasure(NamedTuple):
    """The result of the removal of one consignment's content, or of its dry run; `versions` is the number that had content."""

    consignment_id: str
    versions: int
    head: str


def forget(
    settings: Settings,
    before: datetime,
    approval: RetentionApproval,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RetentionResult:
    """Remove the content of consignments recorded before a date, or only count it; the service must not be running then."""
    with _open_checked(settings, dry_run=dry_run) as log:
        _require_past(log, before)
        after, up_to = find_redaction_end(log), find_end(log, to_us(before))
        count, steps = count_unredacted(log, after, up_to), 0
        if count and isinstance(log, EventLog):
            record = ForgottenRecord(to_datetime(read_clock_us()), before=before)
            ForgottenList(settings.data_key_file).add([record])
            keys = build_key_reader(settings.state_dir, log.vault)
            steps = remove_before(log, to_us(before), approval, keys, progress)
            log.wipe()
        return RetentionResult(before, up_to, count, steps, log.head)


def forget_consignment(
    settings: Settings, consignment_id: str, approval: RetentionApproval, *, dry_run: bool = False
) -> ConsignmentErasure:
    """Remove the content of one consignment, whenever it was recorded; the service must not be running, except in a dry run."""
    with _open_checked(settings, dry_run=dry_run) as log:
        places = list_content(log, consignment_id)
        if not places:
            raise BadInput(
                "there is no content of this consignment in the log",
                where="--consignment",
                got=repr(consignment_id),
                todo="check the identifier; content that was deleted before needs nothing",
            )
        if isinstance(log, EventLog):
            record = ForgottenRecord(to_datetime(read_clock_us()), log.compute_digest(consignment_id))
            ForgottenList(settings.data_key_file).add([record])
            keys = build_key_reader(settings.state_dir, log.vault)
            remove_consignment(log, consignment_id, places, approval, keys)
            log.wipe()
        return ConsignmentErasure(consignment_id, len(places), log.head)


@contextmanager
def _open_checked(settings: Settings, *, dry_run: bool) -> Iterator[LogReader]:
    """Open the log and check its hash chain: as an `EventLog` of a state directory that nobody else uses, or only to read it."""
    if dry_run:
        with LogReader.open_to_read(settings.database_url) as log:
            require_valid_chain(log)
            yield log
        return
    with lock_state(settings.state_dir):
        vault = Vault.load(settings.data_key_file)
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            yield log


def _require_past(log: LogReader, before: datetime) -> None:
    """Check that history no longer needs the content before a date, for example to compute other history keys."""
    latest_us = log.find_latest_us(*ARRIVAL_KINDS)
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
