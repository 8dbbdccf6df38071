"""Entries: the parsed contents of messages while a run reads them.

Here a declaration becomes a record: texts that are too long are cut, values of a wrong kind become None, each with a code;
then the codes that follow from the fields are added. An entry knows when its message was received.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import structs

from consignments.doubts import Doubt
from consignments.messages.air.waybills import MAX_IDENTIFIER, clean_identifier
from consignments.messages.content.values import Doubts
from consignments.messages.parsed import EXTRA_COLUMNS, Declaration, MasterDetails, Purpose
from consignments.messages.quality import DERIVED_CODES, find_doubts, sort_codes
from consignments.records import MAX_ITEMS, TEXT_LIMITS, Consignment, Item

FUTURE_TOLERANCE = timedelta(days=1)
"""A time of issue that is further ahead is a fault of the sender's clock: the message was received when it came."""
IN_FUTURE = Doubt("implausible_value", "issued in the future: the time of issue was left out", "issued_at")
DIGEST_BYTES = 16
SET_LATER = frozenset(("received_at", "cancelled_at", "issued_at", "level", "quality"))
MAX_EXTRA_CHARACTERS = 4000


class Version(msgspec.Struct, array_like=True):
    """One version of a consignment: as a message declares it, then as a row of the table.

    `digest` is of what the message says; `filled` are the columns that only its master gives.
    """

    record: Consignment
    extras: dict[str, str]
    warnings: tuple[Doubt, ...]
    digest: bytes
    purpose: Purpose = "create"
    partial: bool = False
    filled: tuple[str, ...] = ()
    cancelled: bool = False


class MasterEntry(msgspec.Struct, array_like=True):
    """Facts that a master waybill or receptacle adds to its houses."""

    number: str
    fields: dict[str, str]
    received_at: datetime
    issued_at: datetime | None
    declaration: Version | None = None
    members: tuple[str, ...] = ()


_encode_content = msgspec.msgpack.Encoder().encode


def build_declaration(declaration: Declaration, received_at: datetime, issued_at: datetime | None) -> Version:
    """Make a record of a declaration, whatever it holds."""
    doubts = Doubts(declaration.doubts)
    fields = limit_fields(declaration.fields, doubts)
    fields["channel"] = "postal" if fields.get("channel") == "postal" else "air_cargo"
    fields |= {"received_at": received_at, "issued_at": issued_at}
    extras = {
        name: str(value)[:MAX_EXTRA_CHARACTERS]
        for name, value in declaration.extras.items()
        if name in EXTRA_COLUMNS and value
    }
    return _build_version(declaration, fields, extras, doubts)


def _build_version(
    declaration: Declaration, fields: dict[str, Any], extras: dict[str, str], doubts: Doubts
) -> Version:
    """Make a record of values that it accepts."""
    doubts |= find_doubts(fields, declaration.level)
    items = fields.pop("items", None)
    record = Consignment(
        **fields,
        items=None if not items else tuple(Item(**item) for item in items),
        level=declaration.level if fields["channel"] == "air_cargo" else None,
        quality=sort_codes(doubts) or None,
    )
    purpose = declaration.purpose
    digest = digest_content(record, purpose, extras)
    return Version(record, extras, tuple(doubts.warnings), digest, purpose, declaration.partial)


def digest_content(record: Consignment, purpose: Purpose, extras: Mapping[str, str]) -> bytes:
    """Compute the hash of a version's content: equal for a retransmission, whatever its envelope and times."""
    content = structs.replace(record, received_at=None, issued_at=None, cancelled_at=None)
    told = _encode_content((content, purpose == "delete", sorted(extras.items())))
    return hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest()


def merge_versions(earlier: Version, later: Version) -> Version:
    """Fill what a partial message leaves out from the version known before."""
    record = later.record
    fields = _list_given(earlier.record) | _list_given(record)
    if fields.get("items"):
        fields["items"] = [structs.asdict(item) for item in fields["items"]]
    fields |= {"received_at": record.received_at, "issued_at": record.issued_at}
    merged = Declaration(level=record.level or "house", purpose=later.purpose)
    doubts = Doubts(code for code in record.quality or () if code not in DERIVED_CODES)
    doubts.warnings |= dict.fromkeys(later.warnings)
    return _build_version(merged, fields, earlier.extras | later.extras, doubts)


def _list_given(record: Consignment) -> dict[str, Any]:
    """List what a message itself gave."""
    values = structs.asdict(record).items()
    return {name: value for name, value in values if name not in SET_LATER and value is not None}


def build_master(details: MasterDetails, received_at: datetime, issued_at: datetime | None) -> MasterEntry:
    """Make an entry of a master."""
    fields, own = limit_fields(details.fields, Doubts()), details.declaration
    return MasterEntry(
        clean_identifier(details.number, Doubts()),
        {name: value for name, value in fields.items() if isinstance(value, str)},
        received_at,
        issued_at,
        None if own is None else build_declaration(own, received_at, issued_at),
        details.members,
    )


def limit_fields(given: Mapping[str, Any], doubts: Doubts) -> dict[str, Any]:
    """Limit texts and lists to those that the record accepts; missing values are left out."""
    own = {name: value for name, value in given.items() if name not in SET_LATER}
    identifier, items = own.get("consignment_id"), own.pop("items", None) or ()
    if identifier is not None and len(identifier) > MAX_IDENTIFIER:
        own["consignment_id"] = clean_identifier(identifier, doubts)
    fields = _limit_texts(own, Consignment, doubts)
    if len(items) > MAX_ITEMS:
        doubts.note("text_cut", "items")
    limited = (_limit_texts(item, Item, doubts, "items.") for item in items[:MAX_ITEMS])
    if kept := list(filter(None, limited)):
        fields["items"] = kept
    return fields


def _limit_texts(
    given: Mapping[str, Any], record: type[Consignment | Item], doubts: Doubts, of: str = ""
) -> dict[str, Any]:
    limits = TEXT_LIMITS[record]
    limited: dict[str, Any] = {}
    for name, value in given.items():
        if name in limits and value is not None:
            value = _limit_text(value, limits[name], doubts, of + name)
        if value not in (None, ""):
            limited[name] = value
    return limited


def _limit_text(text: str, limit: int, doubts: Doubts, name: str) -> str:
    if not text.isprintable() and not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if len(text) <= limit:
        return text
    doubts.note("text_cut", name)
    cut = text[:limit].rstrip()
    return cut.rpartition(">")[0] or cut if name == "route" else cut
