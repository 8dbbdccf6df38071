"""Reading of what officers and systems did with a consignment from its log entries."""

from collections.abc import Sequence

from consignments.records import Consignment, Outcome, Selector
from consignments.visibility import is_final, list_positive_results
from operation.day_list import name_result
from serving.event_log.event_codec import Action, EventCodec, Proposal
from serving.event_log.events import ArrivalEvent, Event
from serving.state.consignment_states import rank_outcome

PLAIN = EventCodec(None, Consignment, ())  # a codec without keys, for what is not encrypted
REPEATED = ("status", "result", "substance", "substance_family", "quantity_g", "concealment", "inspected_at")
"""Fields of an outcome that are equal if its form was sent twice."""


def find_standing_outcome(events: Sequence[Event]) -> Outcome | None:
    """Find the outcome of a consignment that is valid now; None if it has none."""
    outcomes = [
        (rank_outcome(outcome, event)[0], outcome)
        for event in events
        if event.kind == "outcome" and (outcome := PLAIN.outcomes.decode(event))
    ]
    return max(outcomes, key=lambda each: each[0])[1] if outcomes else None


def is_detection(outcome: Outcome | None) -> bool:
    """Check if an outcome is final, with any offence."""
    offences = list_positive_results("any_offence")
    return outcome is not None and is_final(outcome) and outcome.result in offences


def find_selection(events: Sequence[Event]) -> Selector | None:
    """Find who selected a consignment for inspection; None if no selection is recorded."""
    found = [event for event in events if event.kind == "selection"]
    return PLAIN.selections.decode(found[-1]).selected_by if found else None


def find_selected_by(selection: Selector | None, proposal: Proposal | None) -> Selector:
    """Find who an inspection is counted for: the recorded selection, the model if its list proposed it, else the officer."""
    return selection or ("model" if proposal == "inspect" else "officer")


def find_state(events: Sequence[Event], latest: ArrivalEvent) -> str:
    """Find what is known of a consignment last, as its row on the list says."""
    if any(each.kind == "cancellation" and each.sequence > latest.sequence for each in events):
        return "cancelled"
    if (outcome := find_standing_outcome(events)) is not None:
        return name_result(outcome)
    actions = [each for each in events if each.kind == "action"]
    if actions:
        return PLAIN.actions.decode(actions[-1]).action
    return "open" if find_selection(events) is None else "selected"


def is_same_act(later: Sequence[Event], record: Action | Outcome, key: str) -> bool:
    """Check if the only entry that followed a page is the act of its form: the form was sent twice."""
    match record, [*later], [each.kind for each in later]:
        case Action(), [event], ["action"]:
            done = PLAIN.actions.decode(event)
            return (done.action, done.by) == (record.action, record.by)
        case Outcome(), [event], ["outcome"]:
            found = PLAIN.outcomes.decode(event)
            return event.asked_by == key and all(
                getattr(found, name) == getattr(record, name) for name in REPEATED
            )
        case _:
            return False
