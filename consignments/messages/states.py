"""Answers of customs as one list of states.

One code says both that an assessment is complete and that a hold is removed. It is `resolved` if a hold stands, which the
answers that came before tell:

    9:00  RI  request_for_information     a hold stands
    9:40  CO  resolved                    none stands any more
   10:00  CO  assessment_complete
"""

from collections.abc import Iterable, Iterator

from msgspec import structs

from consignments.messages.parsed import StateRow

HOLDS = frozenset(("request_for_information", "request_for_screening", "do_not_load"))
MAX_TEXT = 4000


def resolve_states(answers: Iterable[StateRow]) -> Iterator[StateRow]:
    """Return the states of answers given in the order of time; repeated answers are left out."""
    standing: set[str] = set()
    seen: set[StateRow] = set()
    last: dict[str, StateRow] = {}
    for answer in answers:
        name, state = answer.consignment_id, answer.state
        repeated = answer in seen if answer.issued_at is not None else answer == last.get(name)
        seen.add(answer)
        last[name] = answer
        if repeated:
            continue
        if state == "assessment_complete" and name in standing:
            state = "resolved"
        if state in HOLDS:
            standing.add(name)
        elif state == "resolved":
            standing.discard(name)
        yield structs.replace(answer, state=state, text=answer.text[:MAX_TEXT] if answer.text else None)
