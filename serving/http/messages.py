"""Messages of post and air cargo as bodies of `POST /v1/scores`: Cargo-XML, Cargo-IMP and ONE Record, read as `npsrisk read` does.

A body is one message, or several that follow each other. A message without goods is named in the answer; only a body of which
nothing can be read is refused. Masters enrich the houses of their own body alone.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, structs

from consignments.messages.states import StateRow
from consignments.records import Consignment
from consignments.timestamps import to_datetime
from serving.http.problems import RecordFault, Refusal

if TYPE_CHECKING:
    from consignments.messages.reading import ParsedMessages

MESSAGE_TYPES = {
    b"application/xml": "Cargo-XML or another message in XML",
    b"text/xml": "the same",
    b"text/plain": "Cargo-IMP",
    b"application/ld+json": "ONE Record",
}
"""Media types of messages."""
MAX_LISTED_REJECTS = 20


class MessageResult(msgspec.Struct, frozen=True):
    """Contents of messages other than goods.

    Attributes
    ----------
    events : list of StateRow
    ignored, notes : list of str
    rejected : list of str
    """

    events: Annotated[list[StateRow], Meta(description="answers of customs")]
    ignored: Annotated[list[str], Meta(description="kind of each message without goods, and why it is none")]
    notes: Annotated[list[str], Meta(description="what was odd")]
    rejected: Annotated[list[str], Meta(description="messages of which nothing could be read, and why")]


async def read_message_body(content: bytes, now_us: int) -> "ParsedMessages":
    """Read messages that come now.

    Raises
    ------
    Refusal
        422 if there is nothing in them.
    """
    found = await asyncio.to_thread(_read, content, now_us)
    if found.rejects and not (found.consignments or found.states or found.ignored):
        raise Refusal.from_fault(RecordFault(found.rejects[0].reason, "#", "bad_value"))
    return found


def _read(content: bytes, now_us: int) -> "ParsedMessages":
    from consignments.messages.reading import read_messages  # loads what only messages need

    moment = to_datetime(now_us)
    return read_messages([content], received_at=moment, now=moment)


def _clear_future(c: Consignment) -> Consignment:
    """Remove a time of issue in the future: a wrong clock of the sender would make later versions look late."""
    if c.issued_at is None or c.received_at is None or c.issued_at <= c.received_at:
        return c
    return structs.replace(c, issued_at=None)


def describe_messages(found: "ParsedMessages") -> MessageResult:
    """Describe the contents of messages other than goods."""
    return MessageResult(
        list(found.states),
        list(found.ignored),
        list(found.notes),
        [f"{reject.place}: {reject.reason}" for reject in found.rejects[:MAX_LISTED_REJECTS]],
    )


def build_records(found: "ParsedMessages", record: type[Consignment]) -> Sequence[Consignment]:
    """Return the consignments of messages, with the extra columns that the model declares."""
    consignments = [_clear_future(c) for c in found.consignments]
    if record is Consignment:
        return consignments
    names = {field.name for field in structs.fields(record)}
    return [
        msgspec.convert(
            structs.asdict(c) | {name: value for name, value in extras.items() if name in names}, record
        )
        for c, extras in zip(consignments, found.extras, strict=True)
    ]
