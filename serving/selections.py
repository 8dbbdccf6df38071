"""`POST /v1/selections`: the inspection list over what was scored, each choice with its probability, and logged.

The same request gives the same list: the lots are drawn with a seed made from the request and the data key. What was
chosen before, for another request or by somebody, is not chosen again.
"""

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from consignments.records import Code, Time
from consignments.visibility import day_of_us, moment_of_us, to_us
from models.selection import select
from serving.access import Caller
from serving.entries import Selection
from serving.event_log import Event
from serving.group_commit import Group
from serving.intake import Complaint, future_complaint
from serving.service import Service

REQUEST_CHARACTERS = 16
SEED_BYTES = 8
NOT_NEEDED = ("sealed", "keys", "features", "reasons")


class SelectionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an office asks for."""

    office: Annotated[Code, Meta(description="customs office of arrival")]
    capacity: Annotated[int, Meta(ge=1, le=100_000, description="inspections for each UTC day")]
    explore: Annotated[float, Meta(ge=0, le=1, description="share of them that goes to random inspections")]
    from_: Annotated[Time, Meta(description="received from this moment on")] = msgspec.field(name="from")
    until: Annotated[Time, Meta(description="and before this one, which is not in the future")]


class SelectionList(msgspec.Struct, frozen=True):
    """The inspection list."""

    office: str
    selections: list[Selection]


def complaint_about_request(request: SelectionRequest, now_us: int) -> Complaint | None:
    """Find what is wrong with a request that its type does not tell."""
    if request.from_ >= request.until:
        return Complaint("until", "is not after `from`")
    return future_complaint(now_us, until=request.until)


async def choose(service: Service, request: SelectionRequest, now_us: int, caller: Caller) -> SelectionList:
    """Draw up the list, or find the one that was drawn up for this request.

    Raises
    ------
    ServiceFault
        Where the log cannot be read or written.
    """
    digest = service.vault.digest.copy()
    digest.update(
        msgspec.msgpack.encode(
            (request.office, request.capacity, request.explore, to_us(request.from_), to_us(request.until))
        )
    )
    name = digest.digest().hex()[:REQUEST_CHARACTERS]
    service.committer.check()
    await service.committer.drain()
    scored = await asyncio.to_thread(
        service.log.between, "decision", to_us(request.from_), to_us(request.until), NOT_NEEDED
    )
    service.committer.check()
    group: Group | None = service.committer.group_of(service.committer.next_sequence - 1)
    if name not in service.state.selections:
        seed = int.from_bytes(digest.digest()[-SEED_BYTES:], "big")
        for selection in _drawn(service, request, scored, seed, moment_of_us(now_us), name):
            event = service.entries.selection(service.committer.next_sequence, selection, caller.name)
            service.state.apply(event)
            group = service.committer.add(event)
    if group is not None:
        await group.durable()
    return SelectionList(request.office, service.state.selections.get(name, []))


def _drawn(
    service: Service, request: SelectionRequest, scored: list[Event], seed: int, now: datetime, name: str
) -> list[Selection]:
    rows = [event for event in scored if _may_be_chosen(service, event, request.office)]
    chosen = select(
        [event.consignment_id or "" for event in rows],
        np.array([event.score for event in rows], dtype=np.float64),
        [request.office] * len(rows),
        np.array([day_of_us(event.at_us) for event in rows], dtype=np.int64),
        capacity=request.capacity,
        explore=request.explore,
        seed=seed,
    )
    return [
        Selection(row.consignment_id, row.office, row.selected_by, row.selection_probability, now, name)
        for row in chosen
    ]


def _may_be_chosen(service: Service, event: Event, office: str) -> bool:
    """Whether this is the standing decision of a consignment of the office that still counts and was not chosen."""
    state, consignment_id = service.state, event.consignment_id or ""
    standing = state.standing.get(consignment_id)
    return (
        standing is not None
        and standing.decision is not None
        and standing.decision.sequence == event.sequence
        and consignment_id not in state.cancelled
        and consignment_id not in state.chosen
        and service.entries.plain_of(event).get("office") == office
    )
