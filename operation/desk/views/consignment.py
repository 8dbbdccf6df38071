"""One consignment for an officer: its data, the reasons of its score, its history, and what was decided and found."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from consignments.errors import ServiceFault
from consignments.records import Consignment, Outcome, Selector, get_fields
from consignments.visibility import is_final, list_positive_results
from models.reasons.ranking import Reason
from serving.event_log.event_codec import Action, EventCodec, Proposal, RecordedAction, get_spelling
from serving.event_log.events import (
    ActionEvent,
    ArrivalEvent,
    CancellationEvent,
    DecisionEvent,
    Event,
    OutcomeEvent,
    SelectionEvent,
)
from serving.scoring.intake import propose
from serving.state.consignment_states import NO_REASONS, rank_outcome

MAX_TIMELINE = 200
"""Maximum number of log entries of a consignment that a page shows, the latest ones."""
LISTED_APART = frozenset({"consignment_id", "received_at", "items", "quality", "cancelled_at"})
PLAIN = EventCodec(None, Consignment, ())
"""A codec without keys, for what is not encrypted."""
REPEATED = ("status", "result", "substance", "substance_family", "quantity_g", "concealment", "inspected_at")
"""Fields of an outcome that are equal if its form was sent twice."""
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode


class TimelineEntry(NamedTuple):
    """One log entry of a consignment, with the time at which the service recorded it, the API key or person, and the decoded record."""

    sequence: int
    at_us: int
    kind: str
    by: str
    record: Any


class ConsignmentView(NamedTuple):
    """A consignment with all that a page shows of it.

    `latest` is the version that counts, `decision` the same if it was scored. `personal` is None if personal fields are not shown, and
    `personal_fault` says why they cannot be. The timeline begins with the latest entry; `left_out` are those before it. `outcome` is the valid one.
    """

    name: str
    spelling: str
    latest: ArrivalEvent
    decision: DecisionEvent | None
    office: str | None
    state: str
    fields: list[tuple[str, Any]]
    items: tuple[Any, ...]
    personal: list[tuple[str, Any]] | None
    personal_fault: str
    reasons: list[Reason]
    timeline: list[TimelineEntry]
    proposal: Proposal | None
    last_sequence: int
    selection: Selector | None
    selected_by: Selector
    left_out: int
    outcome: Outcome | None

    @property
    def detection(self) -> bool:
        """Return whether a detection is confirmed."""
        return self.outcome is not None and is_detection(self.outcome)


def build_view(
    events: Sequence[Event], latest: ArrivalEvent, opened: EventCodec, *, personal: bool
) -> ConsignmentView:
    """Build the view of a consignment from its entries in order; `opened` decrypts the reasons of actions, and personal fields."""
    c = None if latest.redacted else PLAIN.decode_consignment(msgspec.structs.replace(latest, sealed=None))
    hidden, fault = _read_personal(latest, opened) if personal else (None, "")
    decision = latest if isinstance(latest, DecisionEvent) else None
    shown = list(events[-MAX_TIMELINE:])
    selection, outcome = find_selection(events, PLAIN), find_standing_outcome(events, PLAIN)
    proposal = propose(None if decision is None else decision.band, selected=selection is not None)
    return ConsignmentView(
        latest.consignment_id,
        get_spelling(latest),
        latest,
        decision,
        PLAIN.read_office(latest),
        _find_state(events, latest, outcome, selection),
        _list_fields(c, personal=False),
        (c.items or ()) if c is not None else (),
        hidden,
        fault,
        _decode_reasons((decision.reasons if decision is not None else None) or NO_REASONS),
        [entry for event in reversed(shown) if (entry := _describe(event, opened)) is not None],
        proposal,
        events[-1].sequence,
        selection,
        find_selected_by(selection, proposal),
        len(events) - len(shown),
        outcome,
    )


def find_standing_outcome(events: Sequence[Event], entries: EventCodec) -> Outcome | None:
    """Find the outcome of a consignment that is valid now; None if it has none."""
    outcomes = [
        (rank_outcome(outcome, event)[0], outcome)
        for event in events
        if isinstance(event, OutcomeEvent) and (outcome := entries.outcomes.decode(event))
    ]
    return max(outcomes, key=lambda each: each[0])[1] if outcomes else None


def is_detection(outcome: Outcome) -> bool:
    """Check if an outcome is final, with any offence."""
    return is_final(outcome) and outcome.result in list_positive_results("any_offence")


def find_selection(events: Sequence[Event], entries: EventCodec) -> Selector | None:
    """Find who selected a consignment for inspection; None if no selection is recorded."""
    found = [event for event in events if isinstance(event, SelectionEvent)]
    return entries.selections.decode(found[-1]).selected_by if found else None


def find_selected_by(selection: Selector | None, proposal: Proposal | None) -> Selector:
    """Find who an inspection is counted for: the recorded selection, the model if its list proposed it, else the officer."""
    return selection or ("model" if proposal == "inspect" else "officer")


def is_same_act(later: Sequence[Event], record: Action | Outcome, key: str) -> bool:
    """Check if the only entry that followed a page is the act of its form: the form was sent twice."""
    match later:
        case [ActionEvent() as event] if isinstance(record, Action):
            done = PLAIN.actions.decode(event)
            return (done.action, done.by) == (record.action, record.by)
        case [OutcomeEvent() as event] if isinstance(record, Outcome):
            found = PLAIN.outcomes.decode(event)
            return event.asked_by == key and all(
                getattr(found, name) == getattr(record, name) for name in REPEATED
            )
        case _:
            return False


def _find_state(
    events: Sequence[Event], latest: ArrivalEvent, outcome: Outcome | None, selection: Selector | None
) -> str:
    """Return what is known of a consignment last, as its row on the list does."""
    if any(isinstance(each, CancellationEvent) and each.sequence > latest.sequence for each in events):
        return "cancelled"
    if outcome is not None:
        return "missed" if outcome.status == "missed" else outcome.result or "pending"
    actions = [each for each in events if isinstance(each, ActionEvent)]
    if actions:
        return PLAIN.actions.decode(actions[-1]).action
    return "open" if selection is None else "selected"


def _read_personal(latest: ArrivalEvent, opened: EventCodec) -> tuple[list[tuple[str, Any]] | None, str]:
    try:
        return _list_fields(opened.decode_consignment(latest), personal=True), ""
    except ServiceFault as fault:
        return None, fault.what


def _list_fields(c: Consignment | None, *, personal: bool) -> list[tuple[str, Any]]:
    if c is None:
        return []
    return [
        (field.name, value)
        for field in get_fields(Consignment)
        if field.personal is personal
        and field.name not in LISTED_APART
        and (value := getattr(c, field.name)) is not None
    ]


def _describe(event: Event, entries: EventCodec) -> TimelineEntry | None:
    """Describe an entry of the timeline; None for entries of npsrisk itself."""
    record: Any
    match event:
        case DecisionEvent():
            record = event
        case ArrivalEvent() | CancellationEvent():
            record = None
        case OutcomeEvent():
            record = entries.outcomes.decode(event)
        case SelectionEvent():
            record = entries.selections.decode(event)
        case ActionEvent():
            record = entries.actions.decode(event)
        case _:
            return None
    by = record.by or event.asked_by if isinstance(record, RecordedAction) else event.asked_by
    return TimelineEntry(event.sequence, event.recorded_us or event.at_us, event.kind, by, record)
