"""Link tables of literal records."""

from collections.abc import Sequence
from typing import Any

from support.examples import NOBODY, make_consignment

from consignments.records import Consignment, Outcome
from consignments.tables import build_frame
from consignments.validation import SEQUENCE
from features.batch import BATCH_KEY, build_arrival_events, build_outcome_events
from features.history.pseudonyms import Pseudonyms
from features.links.identifiers import LinkNumberBuilder
from features.links.trace import LinkTable


def make_anonymous(name: str, **changes: Any) -> Consignment:
    """Build a consignment with no identifier but those given."""
    return make_consignment(name, **(NOBODY | changes))


def build_link_table(consignments: Sequence[Consignment], outcomes: Sequence[Outcome] = ()) -> LinkTable:
    frame = build_frame(list(consignments), Consignment)
    told = build_frame(list(outcomes), Outcome) if outcomes else None
    return _build_table(frame, told, consignments)


def build_logged_table(entries: Sequence[Consignment | Outcome]) -> LinkTable:
    parts: list[Any] = []
    for record in (Consignment, Outcome):
        rows = [(place, each) for place, each in enumerate(entries) if isinstance(each, record)]
        frame = build_frame([each for _, each in rows], record)
        parts.append(frame.assign(**{SEQUENCE: [place + 1 for place, _ in rows]}))
    return _build_table(*parts, [each for each in entries if isinstance(each, Consignment)])


def _build_table(frame: Any, told: Any, consignments: Sequence[Consignment]) -> LinkTable:
    numbers = LinkNumberBuilder(Pseudonyms(BATCH_KEY)).build_rows(consignments)
    return LinkTable(build_arrival_events(frame), build_outcome_events(told), numbers)
