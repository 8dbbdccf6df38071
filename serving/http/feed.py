"""Feeds for inspection systems: decisions and answers of customs since a log entry, and selections without an outcome.

A client keeps the number `next` of an answer and sends it as `after`. Only entries on disk are returned, so nothing is
missed and nothing comes twice.
"""

import asyncio
from collections.abc import Callable

import msgspec

from consignments.timestamps import to_datetime
from models.signatures.envelope import Envelope
from models.signatures.signed_message import decode_statement
from serving.event_log.event_codec import EventCodec, get_spelling
from serving.event_log.events import (
    ArrivalEvent,
    CustomsStateEvent,
    DecisionEvent,
    Event,
    MessageEvent,
    OutcomeEvent,
    SelectionEvent,
)
from serving.event_log.log import EventLog
from serving.event_log.versions import LateVersionFilter
from serving.http import schemas
from serving.http.asgi import HttpCall, respond_json
from serving.http.auth import Caller
from serving.http.inquiries import build_customs_state, build_past_decision
from serving.http.requests import Door, PageOptions, read_page_options
from serving.scoring.active_model import ActiveModel
from serving.scoring.offices import OfficeFinder

EXCLUDED_FROM_FEEDS = ("features", "keys", "sealed")
EXCLUDED_FROM_STATUS = ("features", "reasons", "sealed")


class DecisionFeedEndpoint:
    """Endpoint of `GET /v1/decisions`."""

    def __init__(self, door: Door, log: EventLog, active: ActiveModel) -> None:
        self._door, self._log, self._active = door, log, active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        caller, page = _authorize(self._door, call)
        events = await asyncio.to_thread(
            self._log.read_page, "decision", page.after, page.limit + 1, EXCLUDED_FROM_FEEDS
        )
        shown, more = events[: page.limit], len(events) > page.limit
        found = [
            build_feed_decision(event, self._log.format_decision_id, self._active.entries)
            for event in shown
            if isinstance(event, DecisionEvent)
        ]
        if caller.offices is not None:
            found = [each for each in found if each.office in caller.offices]
        return await respond_json(
            call, schemas.DecisionFeed(found, shown[-1].sequence if shown else page.after, more)
        )


class EventFeedEndpoint:
    """Endpoint of `GET /v1/events`: answers of customs."""

    def __init__(self, door: Door, log: EventLog, active: ActiveModel) -> None:
        self._door, self._log, self._active = door, log, active
        self._finder = OfficeFinder(active, log)

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        caller, page = _authorize(self._door, call)
        events = await asyncio.to_thread(
            self._log.read_page, "state", page.after, page.limit + 1, EXCLUDED_FROM_FEEDS
        )
        shown, more = events[: page.limit], len(events) > page.limit
        found = [await self._build(event, caller) for event in shown if isinstance(event, CustomsStateEvent)]
        given = [each for each in found if each is not None]
        return await respond_json(
            call, schemas.EventFeed(given, shown[-1].sequence if shown else page.after, more)
        )

    async def _build(self, event: CustomsStateEvent, caller: Caller) -> schemas.FeedEvent | None:
        """Build the feed's entry; None if the consignment belongs to another office than the caller."""
        if caller.offices is not None and (
            await self._finder.is_foreign(event.consignment_id, caller.offices)
            or not self._finder.is_known(event.consignment_id)
        ):
            return None
        state = build_customs_state(event, self._active.entries)
        return schemas.FeedEvent(**msgspec.structs.asdict(state), sequence=event.sequence)


class OpenSelectionsEndpoint:
    """Endpoint of `GET /v1/selections`: selected consignments without a final outcome."""

    def __init__(self, door: Door, log: EventLog, active: ActiveModel) -> None:
        self._door, self._log, self._active = door, log, active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        caller, page = _authorize(self._door, call)
        found, last, more = await asyncio.to_thread(self._find_open, page)
        if caller.offices is not None:
            found = [each for each in found if each.office in caller.offices]
        return await respond_json(call, schemas.OpenSelections(found, last, more))

    def _find_open(self, page: PageOptions) -> tuple[list[schemas.OpenSelection], int, bool]:
        entries = self._active.entries
        events = self._log.read_page("selection", page.after, page.limit + 1, EXCLUDED_FROM_FEEDS)
        shown, more = events[: page.limit], len(events) > page.limit
        found = []
        for event in shown:
            assert isinstance(event, SelectionEvent)
            later = self._log.read_consignment_events(event.consignment_id, without=EXCLUDED_FROM_STATUS)
            status = read_status(later, entries)
            if status is not None:
                selection = entries.selections.decode(event)
                found.append(
                    schemas.OpenSelection(
                        **msgspec.structs.asdict(selection),
                        sequence=event.sequence,
                        pending=status == "pending",
                    )
                )
        return found, shown[-1].sequence if shown else page.after, more


class MessageFeedEndpoint:
    """Endpoint of `GET /v1/messages`."""

    def __init__(self, door: Door, log: EventLog, active: ActiveModel) -> None:
        self._door, self._log, self._active = door, log, active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        _, page = _authorize(self._door, call)
        events = await asyncio.to_thread(self._log.read_page, "message", page.after, page.limit + 1)
        shown, more = events[: page.limit], len(events) > page.limit
        found = [
            build_feed_message(event, self._active.entries)
            for event in shown
            if isinstance(event, MessageEvent)
        ]
        return await respond_json(
            call, schemas.MessageFeed(found, shown[-1].sequence if shown else page.after, more)
        )


def build_feed_message(event: MessageEvent, entries: EventCodec) -> schemas.FeedMessage:
    """Build the feed's entry of a message."""
    envelope = Envelope.read(entries.messages.decode(event).envelope)
    return schemas.FeedMessage(
        event.sequence,
        None if event.recorded_us is None else to_datetime(event.recorded_us),
        decode_statement(envelope.get_statement()),
        envelope,
    )


def _authorize(door: Door, call: HttpCall) -> tuple[Caller, PageOptions]:
    caller, page = door.authorize(call, "read"), read_page_options(call)
    caller.spend(1)
    return caller, page


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


def build_feed_decision(
    event: DecisionEvent, decision_id: Callable[[int], str], entries: EventCodec
) -> schemas.FeedDecision:
    """Build the feed's entry of a decision; it has no personal fields."""
    past = build_past_decision(event, decision_id)
    return schemas.FeedDecision(
        **msgspec.structs.asdict(past),
        sequence=event.sequence,
        consignment_id=get_spelling(event),
        office=entries.decode_plain_fields(event).get("office"),
    )
