"""One consignment for an officer: its data, the reasons of its score, its history, and what was decided and found."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import msgspec

from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from consignments.records import Consignment, Outcome, Selector, get_fields
from consignments.timestamps import convert_us_to_day
from features.goods.lexicon import list_substances
from operation.day_list import decode_reasons
from operation.desk.acts import (
    PLAIN,
    find_selected_by,
    find_selection,
    find_standing_outcome,
    find_state,
    is_detection,
)
from operation.desk.formats import format_day, load_texts
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.list_view import ListQuery, find_place
from operation.desk.views.sources import PageNotFound, PageSources
from operation.desk.views.waterfall import WIDTH, draw_waterfall, explain_decision
from serving.event_log import event_codec
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event
from serving.scoring.intake import propose

MAX_TIMELINE = 200  # maximum number of log entries of a consignment that a page shows, the latest ones
LISTED_APART = frozenset({"consignment_id", "received_at", "items", "quality", "cancelled_at"})
ACTIONS = tuple(dict.fromkeys(("inspect", "release", *get_args(event_codec.ActionKind))))
"""What an officer may decide, in the order of the page."""
RESULTS = ("clear", "nps", "controlled_drug", "other_offence", "pending", "missed")
"""What an officer may record of an inspection, in the order of the page."""
ACTS = ("action", "outcome")


class TimelineEntry(NamedTuple):
    """One log entry of a consignment, with the time at which the service recorded it, the API key or person, and the decoded record."""

    at_us: int
    kind: str
    by: str
    record: Any


class ConsignmentView(NamedTuple):
    """A consignment with all that a page shows of it; `personal` is None if it is not shown."""

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
    timeline: list[TimelineEntry]
    proposal: event_codec.Proposal | None
    last_sequence: int
    selection: Selector | None
    selected_by: Selector
    left_out: int
    outcome: Outcome | None
    detection: bool


def view_consignment(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any]:
    """Return the values of the page of a consignment."""
    query, facts, texts = request.query, request.facts, load_texts()
    view = read_view(sources, query.get("id", ""), viewer, personal=bool(facts.get("personal")))
    listed = ListQuery.parse_place(query.get("list", ""), convert_us_to_day(view.latest.at_us), view.office)
    place = find_place(sources.lists.get(listed.day), listed, viewer, view.name)
    day, form = format_day(listed.day), facts.get("form")
    reasons, base = [] if view.decision is None else decode_reasons(view.decision.reasons), None
    if view.decision is not None and (explained := explain_decision(view.decision, sources.models)):
        reasons, base = explained
    return {
        "c": view,
        "waterfall": draw_waterfall(reasons, base, texts) if reasons else None,
        "width": WIDTH,
        "actions": ACTIONS,
        "results": RESULTS,
        "families": texts.list_codes("family"),
        "substances": list_substances(),
        "form": defaultdict(str, form or {}),
        "fault": facts.get("fault"),
        "done": _read_done(sources, request, viewer),
        "place": place,
        "here": listed.build_query(day, page=place["page"]),
        "go": "list" in query if form is None else form.get("go") == "1",
        "day": day,
        "sends": sources.settings.administration is not None,
    }


def read_view(
    sources: PageSources, identifier: str, viewer: Viewer, *, personal: bool = False
) -> ConsignmentView:
    """Read a consignment that the viewer may see, with its personal fields if they are wanted and the key may read them."""
    events = sources.log.read_consignment_events(normalize_identifier(identifier))
    latest = event_codec.find_counting_version(events)
    if latest is None or not viewer.may_see(PLAIN.read_office(latest)):
        raise PageNotFound
    return build_view(events, latest, sources.open_entries(), personal=personal and viewer.may("personal"))


def build_view(
    events: Sequence[Event], latest: ArrivalEvent, opened: event_codec.EventCodec, *, personal: bool
) -> ConsignmentView:
    """Build the view of a consignment from its entries in order; `opened` decrypts the reasons of actions, and personal fields."""
    c = None if latest.redacted else PLAIN.decode_consignment(msgspec.structs.replace(latest, sealed=None))
    hidden, fault = _read_personal(latest, opened) if personal else (None, "")
    decision = latest if isinstance(latest, DecisionEvent) else None
    shown = events[-MAX_TIMELINE:]
    selection, outcome = find_selection(events), find_standing_outcome(events)
    proposal = propose(None if decision is None else decision.band, selected=selection is not None)
    return ConsignmentView(
        name=latest.consignment_id,
        spelling=event_codec.get_spelling(latest),
        latest=latest,
        decision=decision,
        office=PLAIN.read_office(latest),
        state=find_state(events, latest),
        fields=_list_fields(c, personal=False),
        items=(c.items or ()) if c is not None else (),
        personal=hidden,
        personal_fault=fault,
        timeline=[entry for event in reversed(shown) if (entry := _describe(event, opened)) is not None],
        proposal=proposal,
        last_sequence=events[-1].sequence,
        selection=selection,
        selected_by=find_selected_by(selection, proposal),
        left_out=len(events) - len(shown),
        outcome=outcome,
        detection=is_detection(outcome),
    )


def _read_done(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any] | None:
    """Read what the viewer, here named as a person, recorded last for the consignment that the page was called with as `done`."""
    if not (name := request.query.get("done")):
        return None
    view = read_view(sources, name, viewer)
    own = (each for each in view.timeline if each.kind in ACTS and each.by in (viewer.person, viewer.key))
    entry = next(own, None)
    return None if entry is None else {"c": view, "entry": entry._replace(by=viewer.person)}


def _read_personal(
    latest: ArrivalEvent, opened: event_codec.EventCodec
) -> tuple[list[tuple[str, Any]] | None, str]:
    try:
        return _list_fields(opened.decode_consignment(latest), personal=True), ""
    except ServiceFault as fault:
        return None, fault.what


def _list_fields(c: Consignment | None, *, personal: bool) -> list[tuple[str, Any]]:
    names = [field.name for field in get_fields(Consignment) if field.personal is personal]
    return [
        (name, value)
        for name in names
        if name not in LISTED_APART and (value := getattr(c, name, None)) is not None
    ]


def _describe(event: Event, entries: event_codec.EventCodec) -> TimelineEntry | None:
    """Describe an entry of the timeline; None for entries of npsrisk itself."""
    record: Any = None
    match event.kind:
        case "decision":
            record = event
        case "arrival" | "cancellation":
            pass
        case "outcome":
            record = entries.outcomes.decode(event)
        case "selection":
            record = entries.selections.decode(event)
        case "action":
            record = entries.actions.decode(event)
        case _:
            return None
    by = record.by or event.asked_by if isinstance(record, event_codec.RecordedAction) else event.asked_by
    return TimelineEntry(event.recorded_us or event.at_us, event.kind, by, record)
