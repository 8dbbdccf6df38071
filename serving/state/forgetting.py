"""Removal of the content of consignments, and the list of what was forgotten, which is applied again to a log that was restored.

    28 November   backup of the log
    1 December    RB1 is forgotten: first its digest and the date are in the list, then its content is removed from the log
    3 December    the backup is restored, and has RB1: before anything is served, its content is removed again

The list lies next to the data key. It has no identifiers, only digests that are keyed with the data key. What was recorded after the
date, for example because RB1 was sent again, stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from consignments.errors import BadSetting, ServiceFault
from consignments.files.whole_files import flush_folder, replace_file
from consignments.timestamps import to_datetime, to_us
from serving.event_log.databases.tables import ENTRIES
from serving.event_log.events import ARRIVAL_KINDS, ArrivalEvent, Event
from serving.event_log.hash_chain import Redaction
from serving.event_log.log import EventLog
from serving.event_log.reader import Progress
from serving.event_log.redactions import (
    HAS_CONTENT,
    RECORDED_US,
    RebuiltKeys,
    find_first_recorded,
    find_redaction_end,
    list_content,
)
from serving.event_log.verification.chain import require_valid_chain
from serving.process.clock import read_clock_us
from serving.state.history_keys import KeyReader
from serving.state.published_config import build_key_reader

LIST_NAME = "forgotten.jsonl"
STEP_ENTRIES = 100_000
"""Number of entries whose content is removed in one transaction."""
EXCLUDED_FROM_REBUILT_KEYS = ("features", "reasons")
DIGEST_DIGITS, DIGEST_MODULUS = 16, 1 << 64


class RetentionApproval(NamedTuple):
    """The approval of a removal: who decided it, and the reason; it is recorded in the log."""

    approved_by: str
    why: str


class ForgottenRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line of the list: the digest of a consignment, or the date before which all were recorded, and when it was forgotten."""

    forgotten_at: datetime
    digest: str = ""
    before: datetime | None = None

    @classmethod
    def of_consignment(cls, log: EventLog, consignment_id: str, now_us: int) -> "ForgottenRecord":
        """Describe that a consignment was forgotten."""
        number = log.compute_digest(consignment_id)
        assert number is not None
        return cls(to_datetime(now_us), f"{number % DIGEST_MODULUS:0{DIGEST_DIGITS}x}")

    @property
    def number(self) -> int:
        """Return the digest as the log has it: a signed number."""
        number = int(self.digest, 16)
        return number - DIGEST_MODULUS if number >= DIGEST_MODULUS // 2 else number


class ForgottenList:
    """The list next to a data key."""

    def __init__(self, data_key_file: Path) -> None:
        self.path = data_key_file.with_name(LIST_NAME)

    def read(self) -> list[ForgottenRecord]:
        """Read all lines; raise `BadSetting` if one cannot be read, because what it names would be served again."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadSetting(
                "the list of what was forgotten cannot be read",
                where=str(self.path),
                got=error.strerror or "",
            ) from error
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
        try:
            replace_file(self.path, content)
            flush_folder(self.path.parent)
        except OSError as error:
            raise ServiceFault(
                "the list of what was forgotten cannot be written",
                where=str(self.path),
                got=error.strerror or str(error),
                todo="nothing was removed; free disk space, or give this user write permission",
            ) from error


def forget_again(log: EventLog, forgotten: ForgottenList, state_dir: Path) -> int:
    """Remove again from a log what a list says was forgotten; return the number of removals, each an entry of the log.

    Raises `BadSetting` if the list cannot be read, and `ServiceFault` if the log is damaged or cannot be written.
    """
    records = forgotten.read()
    found = _find_forgotten(log, [each for each in records if each.digest])
    before_us = max((to_us(each.before) for each in records if each.before is not None), default=0)
    is_old_left = before_us > 0 and find_end(log, before_us) > find_redaction_end(log)
    if not found and not is_old_left:
        return 0
    require_valid_chain(log)
    keys = build_key_reader(state_dir, log.vault)
    steps = remove_before(log, before_us, _describe_repeat(before_us), keys) if is_old_left else 0
    for name, (places, forgotten_us) in found.items():
        left = set(list_content(log, name)).intersection(places)
        steps += remove_consignment(log, name, sorted(left), _describe_repeat(forgotten_us), keys)
    log.wipe()
    return steps


def find_end(log: EventLog, before_us: int) -> int:
    """Find the last entry up to which all entries were recorded before a time; the search begins after the removed ones."""
    after = find_redaction_end(log)
    first = find_first_recorded(log, before_us, after)
    return log.last_sequence if first is None else first - 1


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
) -> int:
    """Remove the content of the entries of one consignment at some places; return the number of removals: 1, or 0 if there is none."""
    if not places:
        return 0
    now_us, wanted = read_clock_us(), set(places)
    step = Redaction(places[0] - 1, places[-1], 0, b"", now_us, *approval, name)
    rebuilt = [each for each in _rebuild_keys(log, step, keys) if each.sequence in wanted]
    log.redact(step, rebuilt, now_us)
    return 1


def _find_forgotten(log: EventLog, records: Sequence[ForgottenRecord]) -> dict[str, tuple[list[int], int]]:
    """Find the entries with content of the consignments of a list, from before they were forgotten: places and time by identifier."""
    until_us: dict[int, int] = {}
    for each in records:
        until_us[each.number] = max(until_us.get(each.number, 0), to_us(each.forgotten_at))
    columns = (ENTRIES.c.sequence, ENTRIES.c.consignment_id, ENTRIES.c.digest, RECORDED_US)
    query = sa.select(*columns).where(ENTRIES.c.kind.in_(ARRIVAL_KINDS), HAS_CONTENT)
    places: dict[str, list[int]] = defaultdict(list)
    times: dict[str, int] = {}
    for sequence, name, digest, recorded_us in log.queries.fetch_among(
        query, ENTRIES.c.digest, list(until_us)
    ):
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
