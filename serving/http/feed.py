"""Feeds for inspection systems: decisions and answers of customs since a log entry, and selections without an outcome.

A client keeps the number `next` of an answer and sends it as `after`. Only entries on disk are returned, so nothing is
missed and nothing comes twice.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from consignments.exchange.documents import AnyMessage
from consignments.timestamps import to_datetime
from models.signatures.envelope import Envelope
from models.signatures.signed_message import decode_statement
from serving.event_log.event_codec import CustomsState, EventCodec, Selection, get_spelling
from serving.event_log.events import (
    ArrivalEvent,
    CustomsStateEvent,
    DecisionEvent,
    Event,
    Kind,
    MessageEvent,
    OutcomeEvent,
    SelectionEvent,
)
from serving.event_log.versions import LateVersionFilter
from serving.http.inquiries import PastDecision, build_customs_state, build_past_decision
from serving.http.routing import ApiRequest, route
from serving.scoring.offices import OfficeFinder

EXCLUDED_FROM_FEEDS = ("features", "keys", "sealed")
EXCLUDED_FROM_STATUS = ("features", "reasons", "sealed")


class FeedMessage(msgspec.Struct, frozen=True):
    """A message of a partner, or an own one, in the feed."""

    sequence: Annotated[int, Meta(description="sequence number of its log entry")]
    recorded_at: Annotated[datetime | None, Meta(description="when it arrived")]
    message: AnyMessage
    envelope: Annotated[Envelope, Meta(description="as it was signed")]


class MessageFeed(msgspec.Struct, frozen=True):
    """The messages after a log entry, in the order of the log."""

    messages: list[FeedMessage]
    next: Annotated[int, Meta(description="sequence number to send as `after` the next time")]
    more: Annotated[bool, Meta(description="true if further messages are recorded already")]


class FeedDecision(PastDecision, frozen=True):
    """A decision in the feed."""

    sequence: Annotated[int, Meta(description="sequence number of its log entry")]
    consignment_id: Annotated[str, Meta(description="identifier as its sender spelled it")]
    office: Annotated[str | None, Meta(description="customs office of arrival")]


class DecisionFeed(msgspec.Struct, frozen=True):
    """The decisions after a log entry, in the order of the log."""

    decisions: list[FeedDecision]
    next: Annotated[int, Meta(description="sequence number to send as `after` the next time")]
    more: Annotated[bool, Meta(description="true if further decisions are recorded already")]


class FeedEvent(CustomsState, frozen=True):
    """An answer of customs in the feed."""

    sequence: Annotated[int, Meta(description="sequence number of its log entry")] = 0


class EventFeed(msgspec.Struct, frozen=True):
    """The answers of customs after a log entry, in the order of the log."""

    events: list[FeedEvent]
    next: Annotated[int, Meta(description="sequence number to send as `after` the next time")]
    more: Annotated[bool, Meta(description="true if further answers are recorded already")]


class OpenSelection(Selection, frozen=True):
    """A selected consignment without a final outcome."""

    sequence: Annotated[int, Meta(description="sequence number of the selection's log entry")] = 0
    pending: Annotated[bool, Meta(description="true if an outcome with the result `pending` is recorded")] = (
        False
    )


class OpenSelections(msgspec.Struct, frozen=True):
    """The selected consignments without a final outcome, in the order of their selection."""

    selections: list[OpenSelection]
    next: Annotated[int, Meta(description="sequence number to send as `after` for the next page")]
    more: Annotated[bool, Meta(description="true if there are further pages")]


@route("/v1/decisions", "decisions", paged=True)
async def list_decisions(request: ApiRequest) -> DecisionFeed:
    """Return the decisions recorded after a log entry."""
    service = request.service
    events, last, more = await asyncio.to_thread(_read_page, request, "decision", EXCLUDED_FROM_FEEDS)
    found = [
        build_feed_decision(event, service.log.format_decision_id)
        for event in events
        if isinstance(event, DecisionEvent)
    ]
    seen = [each for each in found if request.caller.may_see(each.office)]
    return DecisionFeed(seen, last, more)


@route("/v1/messages", "message_feed", paged=True)
async def list_messages(request: ApiRequest) -> MessageFeed:
    """Return the messages recorded after a log entry."""
    entries = request.service.active.entries
    events, last, more = await asyncio.to_thread(_read_page, request, "message")
    found = [build_feed_message(event, entries) for event in events if isinstance(event, MessageEvent)]
    return MessageFeed(found, last, more)


@route("/v1/events", "event_feed", paged=True)
async def list_customs_events(request: ApiRequest) -> EventFeed:
    """Return the answers of customs recorded after a log entry."""
    active, offices = request.service.active, request.caller.offices
    finder = OfficeFinder(active, request.service.log)
    events, last, more = await asyncio.to_thread(_read_page, request, "state", EXCLUDED_FROM_FEEDS)
    found = []
    for event in events:
        assert isinstance(event, CustomsStateEvent)
        name = event.consignment_id
        if offices is not None and (await finder.is_foreign(name, offices) or not finder.is_known(name)):
            continue
        state = msgspec.structs.asdict(build_customs_state(event, active.entries))
        found.append(FeedEvent(**state, sequence=event.sequence))
    return EventFeed(found, last, more)


@route("/v1/selections", "open_selections", paged=True)
async def list_open_selections(request: ApiRequest) -> OpenSelections:
    """Return the selected consignments without a final outcome."""
    found, last, more = await asyncio.to_thread(_find_open_selections, request)
    seen = [each for each in found if request.caller.may_see(each.office)]
    return OpenSelections(seen, last, more)


def _find_open_selections(request: ApiRequest) -> tuple[list[OpenSelection], int, bool]:
    entries, log = request.service.active.entries, request.service.log
    events, last, more = _read_page(request, "selection", EXCLUDED_FROM_FEEDS)
    found = []
    for event in events:
        assert isinstance(event, SelectionEvent)
        later = log.read_consignment_events(event.consignment_id, without=EXCLUDED_FROM_STATUS)
        status = read_status(later, entries)
        if status is not None:
            selection = msgspec.structs.asdict(entries.selections.decode(event))
            found.append(OpenSelection(**selection, sequence=event.sequence, pending=status == "pending"))
    return found, last, more


def _read_page(request: ApiRequest, kind: Kind, without: Sequence[str] = ()) -> tuple[list[Event], int, bool]:
    """Read the log entries of a page; also return after which entry the next page begins, and whether there is one."""
    page = request.page
    events = request.service.log.read_page(kind, page.after, page.limit + 1, without)
    shown = events[: page.limit]
    return shown, shown[-1].sequence if shown else page.after, len(events) > page.limit


def build_feed_message(event: MessageEvent, entries: EventCodec) -> FeedMessage:
    """Build the feed's entry of a message."""
    envelope = Envelope.read(entries.messages.decode(event).envelope)
    return FeedMessage(
        event.sequence,
        None if event.recorded_us is None else to_datetime(event.recorded_us),
        decode_statement(envelope.get_statement()),
        envelope,
    )


def read_status(events: list[Event], entries: EventCodec) -> str | None:
    """Return `pending` or `open` for a selected consignment; None if it has a final outcome, was missed or is cancelled."""
    status: str | None = "open"
    for event in LateVersionFilter().drop_late(events):
        if event.kind == "cancellation":
            status = None
        elif isinstance(event, ArrivalEvent) and status is None:
            status = "open" if not any(isinstance(each, OutcomeEvent) for each in events) else None
        elif isinstance(event, OutcomeEvent):
            status = "pending" if entries.outcomes.decode(event).result == "pending" else None
    return status


def build_feed_decision(event: DecisionEvent, decision_id: Callable[[int], str]) -> FeedDecision:
    """Build the feed's entry of a decision; it has no personal fields."""
    past = build_past_decision(event, decision_id)
    return FeedDecision(
        **msgspec.structs.asdict(past),
        sequence=event.sequence,
        consignment_id=get_spelling(event),
        office=event.office,
    )
