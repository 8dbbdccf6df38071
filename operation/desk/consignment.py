"""One consignment for an officer: its data, the reasons of its score, its history, and what was decided and found."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from consignments.errors import ServiceFault
from consignments.records import Consignment, Outcome, get_fields
from consignments.visibility import is_final, list_positive_results
from models.reasons.ranking import Reason
from serving.event_log.event_codec import EventCodec, Proposal, RecordedAction, get_spelling
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
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode


class TimelineEntry(NamedTuple):
    """One log entry of a consignment.

    Attributes
    ----------
    sequence : int
    at_us : int
        When it happened.
    kind : str
    by : str
        API key, or the person of an action.
    record : object
        What the entry holds, decoded; None for a cancellation.
    """

    sequence: int
    at_us: int
    kind: str
    by: str
    record: Any


class ConsignmentView(NamedTuple):
    """A consignment with all that a page shows of it.

    Attributes
    ----------
    name, spelling : str
    latest : ArrivalEvent
        Its version that counts.
    decision : DecisionEvent or None
        The version that counts, if it was scored.
    office : str or None
    fields : list of (str, object)
        Fields that are not personal, with their values.
    items : tuple
    personal : list of (str, object) or None
        Personal fields; None if they are not shown.
    personal_fault : str
        Why they cannot be shown, if they should be.
    reasons : list of Reason
    timeline : list of TimelineEntry
        The latest first.
    proposal : str or None
    last_sequence : int
    selected_by : str or None
    left_out : int
    outcome : Outcome or None
        The valid one of its outcomes.
    """

    name: str
    spelling: str
    latest: ArrivalEvent
    decision: DecisionEvent | None
    office: str | None
    fields: list[tuple[str, Any]]
    items: tuple[Any, ...]
    personal: list[tuple[str, Any]] | None
    personal_fault: str
    reasons: list[Reason]
    timeline: list[TimelineEntry]
    proposal: Proposal | None
    last_sequence: int
    selected_by: str | None
    left_out: int
    outcome: Outcome | None

    @property
    def detection(self) -> bool:
        """Return whether a detection is confirmed."""
        return self.outcome is not None and is_detection(self.outcome)


def build_view(
    events: Sequence[Event], latest: ArrivalEvent, plain: EventCodec, opened: EventCodec, *, personal: bool
) -> ConsignmentView:
    """Build the view of a consignment.

    Parameters
    ----------
    events : sequence of Event
        Its entries in order.
    latest : ArrivalEvent
    plain : EventCodec
        Without a vault.
    opened : EventCodec
        With a vault: it decrypts the reasons of actions, and personal fields.
    personal : bool
        Whether to show personal fields.
    """
    c = None if latest.redacted else plain.decode_consignment(msgspec.structs.replace(latest, sealed=None))
    hidden, fault = _read_personal(latest, opened) if personal else (None, "")
    decision = latest if isinstance(latest, DecisionEvent) else None
    shown = list(events[-MAX_TIMELINE:])
    selected_by = _find_selector(events, plain)
    return ConsignmentView(
        latest.consignment_id,
        get_spelling(latest),
        latest,
        decision,
        None if c is None else c.office,
        _list_fields(c, personal=False),
        (c.items or ()) if c is not None else (),
        hidden,
        fault,
        _decode_reasons((decision.reasons if decision is not None else None) or NO_REASONS),
        [entry for event in reversed(shown) if (entry := _describe(event, opened)) is not None],
        propose(None if decision is None else decision.band, selected=bool(selected_by)),
        events[-1].sequence,
        selected_by,
        len(events) - len(shown),
        find_standing_outcome(events, plain),
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


def _find_selector(events: Sequence[Event], plain: EventCodec) -> str | None:
    found = [event for event in events if isinstance(event, SelectionEvent)]
    return plain.selections.decode(found[-1]).selected_by if found else None


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
            record = _read_action(event, entries)
        case _:
            return None
    by = record.by or event.asked_by if isinstance(record, RecordedAction) else event.asked_by
    return TimelineEntry(event.sequence, event.at_us, event.kind, by, record)


def _read_action(event: ActionEvent, entries: EventCodec) -> RecordedAction:
    return entries.actions.decode(event)
