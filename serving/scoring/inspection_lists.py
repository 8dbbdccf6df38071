"""Inspection lists: consignments that were scored are selected, and each selection is logged with its probability.

The same request returns the same list: the random seed is derived from the request and the data key. A consignment
that was already selected, by another request or by a person, is not selected again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
import numpy as np
from msgspec import structs

from consignments.records import Code, Time, about
from consignments.timestamps import convert_us_to_day, to_datetime, to_us
from models.selection import SelectionRule, select
from serving.event_log.event_codec import EventCodec, LateVersionFilter, Selection, get_spelling
from serving.event_log.events import DecisionEvent, Event
from serving.event_log.group_commit import CommitGroup
from serving.event_log.reader import LogReader
from serving.scoring.active_model import ActiveModel
from serving.scoring.batching import MAX_BATCH_SIZE
from serving.scoring.intake import FieldError, check_time
from serving.scoring.model_updates import MAX_BLOCKING_ENTRIES

REQUEST_ID_CHARACTERS = 16
SEED_BYTES = 8
MAX_DAYS = 31
MAX_SELECTIONS = 5_000
"""Maximum number of selections of one request. They are logged as a whole, and meanwhile nothing else is answered."""
EXCLUDED_FROM_SELECTIONS = ("sealed", "features", "reasons")


class SelectionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request of an office for an inspection list."""

    office: Annotated[Code | None, about("customs office of arrival; null: the consignments without one")]
    capacity: Annotated[
        int, about(f"inspections for each UTC day; a list has at most {MAX_SELECTIONS:,}", ge=1, le=100_000)
    ]
    explore: Annotated[float, about("share of the inspections that is selected at random", ge=0, le=1)]
    from_: Annotated[
        Time,
        about(f"select consignments received at or after this time, at most {MAX_DAYS} days before `until`"),
    ] = msgspec.field(name="from")
    until: Annotated[Time, about("select consignments received before this time; not in the future")]


def check_request(request: SelectionRequest, now_us: int) -> FieldError | None:
    """Check what the type of a request cannot express; return the error or None."""
    if request.from_ >= request.until:
        return FieldError("until", "is not after `from`", "inconsistent")
    fault = check_time("until", request.until, now_us)
    days = (request.until - request.from_) / timedelta(days=1)
    if fault is None and days > MAX_DAYS:
        reason = f"is {days:,.1f} days before `until`, more than {MAX_DAYS}; choose a later time"
        return FieldError("from", reason, "bad_value")
    return fault


async def build_selection_list(
    active: ActiveModel, request: SelectionRequest, asked_by: str
) -> list[Selection] | FieldError:
    """Build the inspection list, or return the list that was built earlier for the same request; or what is wrong with the request."""
    now_us = active.clock()
    if fault := check_request(request, now_us):
        return fault
    log, committer, digest = active.log, active.committer, _digest_request(active.entries, request)
    request_id = digest.hex()[:REQUEST_ID_CHARACTERS]
    committer.check()
    await committer.drain()
    scored = ScoredConsignments(active.entries, request.office, request_id)
    rule = SelectionRule(request.capacity, request.explore, int.from_bytes(digest[-SEED_BYTES:], "big"))
    given = request.office, rule, to_datetime(now_us), request_id
    await asyncio.to_thread(scored.read, log, request)
    # The choices are drawn, and the states of the probable ones loaded, before the part that must not wait.
    candidates = [] if scored.drawn else await asyncio.to_thread(scored.find_candidates)
    drawn = await asyncio.to_thread(draw_selections, candidates, *given)
    if len(drawn) > MAX_SELECTIONS:
        reason = f"gives a list of {len(drawn):,} consignments, more than {MAX_SELECTIONS:,}; lower it, or shorten the period"
        return FieldError("capacity", reason, "too_many")
    probable = [each.consignment_id for each in drawn]
    for start in range(0, len(probable), MAX_BATCH_SIZE):
        await active.prefetch(probable[start : start + MAX_BATCH_SIZE])
    while committer.durable_sequence - scored.sequence > MAX_BLOCKING_ENTRIES:
        await asyncio.to_thread(scored.catch_up, log, committer.durable_sequence)
    committer.check()
    # Nothing awaits from here until the selections are added, so no other request runs in between.
    scored.catch_up(log, committer.durable_sequence)
    scored.apply_events(committer.list_pending())
    group: CommitGroup | None = committer.find_group(committer.next_sequence - 1)
    if not scored.drawn:
        present = scored.find_candidates()
        scored.drawn = drawn if present == candidates else draw_selections(present, *given)
        for selection in scored.drawn:
            recorded_us, sequence = to_us(selection.selected_at), committer.next_sequence
            event = active.entries.selections.encode(sequence, selection, recorded_us, asked_by)
            active.state.apply(event)
            group = committer.add([event])
    if group is not None:
        await group.wait_until_durable()
    return scored.drawn


class ScoredConsignments:
    """The consignments of an office scored in a period, and which were selected; `drawn` are those of the same request."""

    def __init__(self, entries: EventCodec, office: str | None, request_id: str) -> None:
        self.sequence, self.drawn = 0, list[Selection]()
        self._entries, self._office, self._request_id = entries, office, request_id
        self._decisions: list[DecisionEvent] = []
        self._versions = LateVersionFilter()
        self._standing: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._chosen: set[str] = set()

    def read(self, log: LogReader, request: SelectionRequest) -> None:
        """Read the decisions of the office in a period, and all other events of the consignments of the period."""
        from_us, until_us, until = to_us(request.from_), to_us(request.until), log.last_sequence
        events = log.read_scored(from_us, until_us, until, EXCLUDED_FROM_SELECTIONS)
        decisions = [event for event in events if isinstance(event, DecisionEvent)]
        mine = [each for each in decisions if each.office == self._office]
        self._decisions = [each for each in mine if from_us <= each.at_us < until_us]
        self.apply_events(events)
        self.sequence = until

    def catch_up(self, log: LogReader, until: int) -> None:
        """Read and apply the log entries written since the last one applied."""
        self.apply_events(log.read_events(after=self.sequence, until=until, without=EXCLUDED_FROM_SELECTIONS))
        self.sequence = max(self.sequence, until)

    def apply_events(self, events: Iterable[Event]) -> None:
        """Apply log entries in order; skip those that were already applied."""
        new = (event for event in events if event.sequence > self.sequence)
        for event in self._versions.drop_late(new):
            name = event.consignment_id or ""
            if event.kind in ("decision", "arrival"):
                self._standing[name] = event.sequence
                self._cancelled.discard(name)
            elif event.kind == "cancellation":
                self._cancelled.add(name)
            elif event.kind in ("outcome", "selection"):
                self._chosen.add(name)
            if event.kind == "selection":
                selection = self._entries.selections.decode(event)
                if selection.request == self._request_id:
                    self.drawn.append(structs.replace(selection, consignment_id=get_spelling(event)))

    def find_candidates(self) -> list[DecisionEvent]:
        """List the decisions that count, and whose consignments are neither cancelled nor selected."""
        out = self._cancelled | self._chosen
        counting = [each for each in self._decisions if self._standing[each.consignment_id] == each.sequence]
        return [each for each in counting if each.consignment_id not in out]


def draw_selections(
    candidates: Sequence[DecisionEvent],
    office: str | None,
    rule: SelectionRule,
    now: datetime,
    request_id: str,
) -> list[Selection]:
    """Select among the candidates of a request."""
    if not candidates:
        return []
    chosen = select(
        [event.consignment_id for event in candidates],
        np.array([event.score for event in candidates], dtype=np.float64),
        [office or ""] * len(candidates),
        np.array([convert_us_to_day(event.at_us) for event in candidates], dtype=np.int64),
        rule,
    )
    return [
        Selection(
            consignment_id=get_spelling(candidates[row.place]),
            office=office,
            selected_by=row.selected_by,
            selection_probability=row.selection_probability,
            selected_at=now,
            request=request_id,
        )
        for row in chosen
    ]


def _digest_request(entries: EventCodec, request: SelectionRequest) -> bytes:
    """Compute the keyed digest of a request, of which its identifier and its random seed are parts."""
    assert entries.vault is not None
    digest = entries.vault.digest.copy()
    fields = request.office, request.capacity, request.explore, to_us(request.from_), to_us(request.until)
    digest.update(msgspec.msgpack.encode(fields))
    return bytes(digest.digest())
