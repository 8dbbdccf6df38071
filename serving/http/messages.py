"""Messages of post and air cargo as bodies of `POST /v1/scores`: Cargo-XML, Cargo-IMP and ONE Record, read as `npsrisk read` does.

A body is one message, or several that follow each other. A message without goods is named in the answer; only a body of which
nothing can be read is refused. `serving.messages.linking` links masters and houses.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from consignments.errors import Reject
from consignments.messages.parsed import StateRow
from consignments.records import about
from consignments.timestamps import to_datetime
from serving.http.problems import RecordFault, Refusal

if TYPE_CHECKING:
    from consignments.messages.post.mapping import MessageMapping
    from consignments.messages.reading import MessageEntries

MESSAGE_TYPES = {
    b"application/xml": "Cargo-XML, ICS2 or another message in XML",
    b"text/xml": "the same",
    b"text/plain": "Cargo-IMP, EDIFACT or CSV",
    b"application/ld+json": "ONE Record or another message in JSON",
}
"""Media types of messages."""
MAX_LISTED_REJECTS = 20
"""Rejects that an answer describes; the others are counted."""


class MessageResult(msgspec.Struct, frozen=True):
    """Contents of messages other than goods."""

    events: Annotated[list[StateRow], about("answers of customs")]
    ignored: Annotated[
        list[str],
        about(
            "kind of each message without goods, and why it is none; masters that are kept for their houses"
        ),
    ]
    notes: Annotated[list[str], about("what was odd")]
    rejected: Annotated[
        list[str],
        about(
            "messages of which nothing could be read: the place in the body, from 1, an identifier, and why; the first 20, and the places of the others"
        ),
    ]


async def read_message_body(
    content: bytes, now_us: int, mappings: "Sequence[MessageMapping]" = ()
) -> "MessageEntries":
    """Read messages that come now, with some mappings; raise a refusal with 422 if nothing can be read."""
    if not content.strip():
        raise Refusal(422, "The body is empty. Send at least one message.")
    from consignments.messages.reading import read_entries  # loads what only messages need

    found = await asyncio.to_thread(read_entries, content, to_datetime(now_us), mappings)
    if found.rejects and not (found.entries or found.states or found.ignored):
        from consignments.messages.kinds import UNKNOWN_KIND

        reason = found.rejects[0].reason
        if reason.startswith(UNKNOWN_KIND):
            reason += f". The service reads {len(mappings)} mappings, and none is for this message."
        raise Refusal.from_fault(RecordFault(reason))
    return found


def describe_messages(
    found: "MessageEntries", unused: Sequence[str], notes: Sequence[str] = ()
) -> MessageResult:
    """Describe contents other than goods, with the masters that no consignment follows from."""
    kept = (f"master {number}: it is kept for its houses" for number in dict.fromkeys(unused))
    return MessageResult(
        list(found.states), [*found.ignored, *kept], [*found.notes, *notes], _describe_rejects(found.rejects)
    )


def _describe_rejects(rejects: Sequence[Reject]) -> list[str]:
    """Describe the first rejects by number, identifier and reason, and name the numbers of the others."""
    listed = list(map(str, rejects[:MAX_LISTED_REJECTS]))
    others = [reject.place.removeprefix("message ") for reject in rejects[MAX_LISTED_REJECTS:]]
    if others:
        listed.append(f"{len(others):,} more of which nothing could be read, messages {', '.join(others)}")
    return listed
