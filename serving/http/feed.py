"""Feeds for inspection systems: decisions and answers of customs since a log entry, and selections without an outcome.

A client keeps the number `next` of an answer and sends it as `after`. Only entries on disk are returned, so nothing is
missed and nothing comes twice.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from consignments.exchange.documents import AnyMessage
from consignments.records import Time, about
from consignments.timestamps import to_datetime
from models.signatures.envelope import Envelope
from models.signatures.signed_message import decode_statement
from serving.event_log.event_codec import CustomsState, EventCodec, LateVersionFilter, Selection, get_spelling
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event, Kind, RecordEvent, SharedEvent
from serving.http.inquiries import PastDecision, build_past_decision
from serving.http.problems import Refusal
from serving.http.protocol.records import build_refusal, get_reader
from serving.http.routing import ApiRequest, route
from serving.scoring.inspection_lists import SelectionRequest, build_selection_list
from serving.scoring.intake import OTHER_OFFICE, FieldError

EXCLUDED_FROM_FEEDS = ("features", "keys", "sealed")
PAGE_REFUSALS = (409, 503)
CURSOR_DETAIL = "The log has no entry after this one. A backup was restored, or it is another log: read the feed from after=0."
E = TypeVar("E", DecisionEvent, SharedEvent, RecordEvent)
EXCLUDED_FROM_STATUS = ("features", "reasons", "sealed")


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a page of a feed."""

    next: Annotated[int, about("sequence number to send as `after` the next time")]
    more: Annotated[bool, about("true if further entries are recorded already")]
    log: Annotated[str, about("name of the log; a restored backup has another: read again from after=0")]


class FeedMessage(msgspec.Struct, frozen=True):
    """A message of a partner, or an own one, in the feed."""

    sequence: Annotated[int, about("sequence number of its log entry")]
    recorded_at: Annotated[Time | None, about("when it arrived")]
    message: AnyMessage
    envelope: Annotated[Envelope, about("as it was signed")]


class MessageFeed(FeedPage, frozen=True, kw_only=True):
    """The messages after a log entry, in the order of the log."""

    messages: list[FeedMessage]


class FeedDecision(PastDecision, frozen=True):
    """A decision in the feed."""

    sequence: Annotated[int, about("sequence number of its log entry")]
    consignment_id: Annotated[str, about("identifier as its sender spelled it")]
    office: Annotated[str | None, about("customs office of arrival")]


class DecisionFeed(FeedPage, frozen=True, kw_only=True):
    """The decisions after a log entry, in the order of the log."""

    decisions: list[FeedDecision]


class FeedEvent(CustomsState, frozen=True):
    """An answer of customs in the feed."""

    sequence: Annotated[int, about("sequence number of its log entry")] = 0


class EventFeed(FeedPage, frozen=True, kw_only=True):
    """The answers of customs after a log entry, in the order of the log."""

    events: list[FeedEvent]


class OpenSelection(Selection, frozen=True):
    """A selected consignment without a final outcome."""

    sequence: Annotated[int, about("sequence number of the selection's log entry")] = 0
    pending: Annotated[bool, about("true if an outcome with the result `pending` is recorded")] = False


class OpenSelections(FeedPage, frozen=True, kw_only=True):
    """The selected consignments without a final outcome, in the order of their selection."""

    selections: list[OpenSelection]


@route("/v1/decisions", "decisions", paged=True, refusals=PAGE_REFUSALS)
async def list_decisions(request: ApiRequest) -> DecisionFeed:
    """Return the decisions recorded after a log entry."""
    events, end = await asyncio.to_thread(_read_page, request, DecisionEvent, "decision", EXCLUDED_FROM_FEEDS)
    format_id = request.service.log.format_decision_id
    found = [
        FeedDecision(
            **msgspec.structs.asdict(build_past_decision(event, format_id)),
            sequence=event.sequence,
            consignment_id=get_spelling(event),
            office=event.office,
        )
        for event in events
        if request.caller.may_see(event.office)
    ]
    return DecisionFeed(decisions=found, **end)


@route("/v1/messages", "message_feed", tag="partners", paged=True, refusals=PAGE_REFUSALS)
async def list_messages(request: ApiRequest) -> MessageFeed:
    """Return the messages recorded after a log entry."""
    events, end = await asyncio.to_thread(_read_page, request, SharedEvent, "message")
    entries, found = request.service.active.entries, list[FeedMessage]()
    for event in events:
        envelope = Envelope.read(entries.messages.decode(event).envelope)
        recorded_at = None if event.recorded_us is None else to_datetime(event.recorded_us)
        message = decode_statement(envelope.payload)
        found.append(FeedMessage(event.sequence, recorded_at, message, envelope))
    return MessageFeed(messages=found, **end)


@route("/v1/events", "event_feed", tag="results", paged=True, refusals=PAGE_REFUSALS)
async def list_customs_events(request: ApiRequest) -> EventFeed:
    """Return the answers of customs recorded after a log entry."""
    active, offices = request.service.active, request.caller.offices
    events, end = await asyncio.to_thread(_read_page, request, RecordEvent, "state", EXCLUDED_FROM_FEEDS)
    found = []
    for event in events:
        name = event.consignment_id
        if offices is not None and (await active.is_foreign(name, offices) or not active.is_known(name)):
            continue
        state = msgspec.structs.asdict(active.entries.states.decode(event))
        found.append(FeedEvent(**state | {"consignment_id": get_spelling(event), "sequence": event.sequence}))
    return EventFeed(events=found, **end)


@route("/v1/selections", "open_selections", paged=True, refusals=PAGE_REFUSALS)
async def list_open_selections(request: ApiRequest) -> OpenSelections:
    """Return the selected consignments without a final outcome."""
    events, end = await asyncio.to_thread(_read_page, request, RecordEvent, "selection", EXCLUDED_FROM_FEEDS)
    found = await asyncio.to_thread(_find_open_selections, request, events)
    return OpenSelections(selections=found, **end)


def _find_open_selections(request: ApiRequest, events: Sequence[RecordEvent]) -> list[OpenSelection]:
    entries, log = request.service.active.entries, request.service.log
    found = []
    for event in events:
        selection = entries.selections.decode(event)
        if not request.caller.may_see(selection.office):
            continue
        entered = log.read_consignment_events(event.consignment_id, without=EXCLUDED_FROM_STATUS)
        status = read_status(entered, entries)
        if status is not None:
            fields = msgspec.structs.asdict(selection)
            found.append(OpenSelection(**fields, sequence=event.sequence, pending=status == "pending"))
    return found


def _read_page(
    request: ApiRequest, event_type: type[E], kind: Kind, without: Sequence[str] = ()
) -> tuple[list[E], dict[str, Any]]:
    """Read the log entries of a page, with the fields of its end; a refusal with 409 if it begins after the last entry."""
    page, log = request.page, request.service.log
    if page.after > log.last_sequence and page.after > log.read_last_sequence():
        raise Refusal(409, CURSOR_DETAIL)
    events = log.read_page(kind, page.after, page.limit + 1, without)
    shown = [event for event in events[: page.limit] if isinstance(event, event_type)]
    last = shown[-1].sequence if shown else page.after
    return shown, {"next": last, "more": len(events) > page.limit, "log": log.name}


def read_status(events: list[Event], entries: EventCodec) -> str | None:
    """Return `pending` or `open` for a selected consignment; None if it has a final outcome, was missed or is cancelled."""
    status: str | None = "open"
    for event in LateVersionFilter().drop_late(events):
        if event.kind == "cancellation":
            status = None
        elif isinstance(event, ArrivalEvent) and status is None:
            status = "open" if not any(each.kind == "outcome" for each in events) else None
        elif event.kind == "outcome":
            status = "pending" if entries.outcomes.decode(event).result == "pending" else None
    return status


class SelectionList(msgspec.Struct, frozen=True):
    """The inspection list of an office."""

    office: str | None
    selections: list[Selection]


@route("/v1/selections", "selections", "POST", scope="score", record=SelectionRequest)
async def select_consignments(request: ApiRequest) -> SelectionList:
    """Select scored consignments of an office for inspection."""
    asked = await request.read_records(get_reader(SelectionRequest))
    assert isinstance(asked, SelectionRequest)
    if not request.caller.may_see(asked.office):
        raise build_refusal([OTHER_OFFICE])
    chosen = await build_selection_list(request.service.active, asked, request.caller.name)
    if isinstance(chosen, FieldError):
        raise build_refusal([chosen])
    return SelectionList(asked.office, chosen)
