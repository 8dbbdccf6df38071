"""Answers of customs as one list of states.

One code says both that an assessment is complete and that a hold is removed. It is `resolved` if a hold stands, which the
answers that came before tell:

    9:00  RI  request_for_information     a hold stands
    9:40  CO  resolved                    none stands any more
   10:00  CO  assessment_complete
"""

from collections.abc import Iterable, Iterator

import msgspec

from consignments.messages.parsed import CustomsEvent, EventState
from consignments.records import Time

HOLDS = frozenset(("request_for_information", "request_for_screening", "do_not_load"))
EVENT_COLUMNS = ("consignment_id", "authority", "state", "code", "text", "issued_at", "source")
MAX_TEXT = 4000


class StateRow(msgspec.Struct, frozen=True):
    """One row of the table of states."""

    consignment_id: str
    authority: str | None
    state: EventState
    code: str | None
    text: str | None
    issued_at: Time | None
    source: str


def resolve_states(events: Iterable[CustomsEvent]) -> Iterator[StateRow]:
    """Return the rows of answers given in the order of time; repeated answers are left out."""
    standing: set[str] = set()
    seen: set[CustomsEvent] = set()
    last: dict[str, CustomsEvent] = {}
    for event in events:
        name, state = event.consignment_id, event.state
        repeated = event in seen if event.issued_at is not None else event == last.get(name)
        seen.add(event)
        last[name] = event
        if repeated:
            continue
        if state in HOLDS:
            standing.add(name)
        elif state == "resolved":
            standing.discard(name)
        elif state == "assessment_complete" and name in standing:
            standing.discard(name)
            state = "resolved"
        yield StateRow(
            name, event.authority, state, event.code, event.text[:MAX_TEXT] if event.text else None, event.issued_at,
            event.source,
        )  # fmt: skip
