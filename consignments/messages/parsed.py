"""Results of reading one message: declarations, master waybills, customs events, and what was ignored.

Every reader of a format yields these values and nothing else. It never raises for a fault of one consignment: a value that
cannot be used becomes None with a quality code. It raises `consignments.errors.MessageFault` only if nothing can be read.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

from consignments.errors import MessageFault
from consignments.messages.content.values import Doubts
from consignments.records import Level, Time

_NAMES = (
    "customs_notes account_name account_issuer account_holder shipping_frequency account_ip pickup_ip transaction_type known_consignor "
    "sender_phone_verified sender_email_verified consignee_phone_verified consignee_email_verified"
)
EXTRA_COLUMNS = tuple(_NAMES.split())
"""Columns beyond the record that messages may give; a table has those that are used."""

GOODS_OUTSIDE = "goods stand outside of the declarations"
MAX_NAMED = 5  # identifiers that a fault names
Purpose = Literal["create", "update", "delete"]
EventState = Literal[
    "received",
    "assessment_complete",
    "request_for_information",
    "request_for_screening",
    "do_not_load",
    "resolved",
    "error",
]


class Declaration(msgspec.Struct):
    """One consignment as one message describes it."""

    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    issued_at: datetime | None = None
    level: Level = "house"
    purpose: Purpose = "create"
    doubts: Doubts = msgspec.field(default_factory=Doubts)
    partial: bool = False
    extras: dict[str, Any] = msgspec.field(default_factory=dict)


MASTER_FIELDS = ("route", "declarant", "carrier", "payment", "departure_country", "destination_country")
"""What a master waybill says of its houses."""


class MasterDetails(msgspec.Struct, frozen=True):
    """Details that a master waybill or receptacle adds to its houses or items."""

    number: str
    fields: dict[str, Any]
    issued_at: datetime | None = None
    declaration: Declaration | None = None
    members: tuple[str, ...] = ()


class StateRow(msgspec.Struct, frozen=True):
    """An answer of customs or a carrier about one consignment: a row of the table of states."""

    consignment_id: str
    authority: str | None
    state: EventState
    code: str | None
    text: str | None
    issued_at: Time | None
    source: str


class Ignored(msgspec.Struct, frozen=True):
    """A message that is known and holds no goods, such as a flight manifest: no consignment and no reject."""

    kind: str
    reason: str


Parsed = Declaration | MasterDetails | StateRow | Ignored | MessageFault
"""A fault that is yielded is that of one part; one that is raised is that of the whole message, or of all that follows."""


class MessageContext(msgspec.Struct, frozen=True):
    """Knowledge of a reader beyond the bytes; `newest` is the newest version of the kind that its reader knows."""

    notes: list[str] = msgspec.field(default_factory=list)
    received_at: datetime | None = None
    newest: int | None = None

    def note_version(self, name: str, version: int) -> None:
        """Note a version that is newer than those that the reader of the kind knows."""
        if self.newest is not None and version > self.newest:
            self.notes.append(f"{name} is newer than {self.newest}: read as far as known")


def build_count_fault(identifiers: int, read: int, named: Iterable[str] = ()) -> MessageFault:
    """Build the fault of a message whose structure and identifiers disagree."""
    return MessageFault(
        f"{identifiers} identifier{'s' * (identifiers != 1)}, {read} read",
        got=", ".join(name[:40] for name in sorted(named)[:MAX_NAMED]),
        expected="each declaration in an element of its own",
        todo="send each declaration in an element or a message of its own, or describe the message with a mapping",
    )


def build_goods_fault() -> MessageFault:
    """Build the fault of goods that may belong to any declaration, or to none."""
    return MessageFault(GOODS_OUTSIDE, todo="put the goods of each declaration into it")


def build_mapping_fault(got: str) -> MessageFault:
    """Build the fault of a message that describes goods and that no built-in reader knows."""
    return MessageFault(
        "goods that only a mapping can read",
        got=got,
        expected="a mapping file for it",
        todo="describe the message with a mapping (docs/formats_post.md), or send another format",
    )
