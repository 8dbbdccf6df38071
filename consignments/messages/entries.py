"""Entries: the parsed contents of messages while a run reads them.

Here a declaration becomes a record: texts that are too long are cut, values of a wrong kind become None, each with a code;
then the codes that follow from the fields are added. An entry knows when its message was received.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from msgspec import structs

from consignments.doubts import Doubt
from consignments.messages.air.waybills import MAX_IDENTIFIER, clean_identifier, identify_by_content
from consignments.messages.content.values import Doubts
from consignments.messages.parsed import EXTRA_COLUMNS, Declaration, MasterDetails, Purpose
from consignments.messages.quality import DERIVED_CODES, find_doubts, sort_codes
from consignments.records import MAX_ITEMS, Consignment, Field, Item, get_fields

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


def build_declaration(declaration: Declaration, received_at: datetime) -> Version:
    """Make a record of a declaration, whatever it holds."""
    doubts = Doubts(declaration.doubts)
    fields = limit_fields(declaration.fields, doubts)
    if not fields.get("consignment_id"):
        doubts.add("identifier_missing")
        fields["consignment_id"] = identify_by_content(
            {name: value for name, value in fields.items() if name != "items"}
        )
    fields["channel"] = "postal" if fields.get("channel") == "postal" else "air_cargo"
    return _build_version(declaration, fields, limit_extras(declaration.extras), doubts, received_at)


def _build_version(
    declaration: Declaration,
    fields: dict[str, Any],
    extras: dict[str, str],
    doubts: Doubts,
    received_at: datetime | None,
) -> Version:
    """Make a record of values that it accepts."""
    doubts |= find_doubts(fields, declaration.level)
    items = fields.pop("items", None)
    record = Consignment(
        **fields,
        items=None if not items else tuple(Item(**item) for item in items),
        received_at=received_at,
        issued_at=declaration.issued_at,
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
    merged = Declaration(issued_at=record.issued_at, level=record.level or "house", purpose=later.purpose)
    doubts = Doubts(code for code in record.quality or () if code not in DERIVED_CODES)
    doubts.warnings |= dict.fromkeys(later.warnings)
    return _build_version(merged, fields, earlier.extras | later.extras, doubts, record.received_at)


def _list_given(record: Consignment) -> dict[str, Any]:
    """List what a message itself gave."""
    values = structs.asdict(record).items()
    return {name: value for name, value in values if name not in SET_LATER and value is not None}


def build_master(details: MasterDetails, received_at: datetime) -> MasterEntry:
    """Make an entry of a master."""
    fields, own = limit_fields(details.fields, Doubts()), details.declaration
    return MasterEntry(
        clean_identifier(details.number, Doubts()),
        {name: value for name, value in fields.items() if isinstance(value, str)},
        received_at,
        details.issued_at,
        None if own is None else build_declaration(own, received_at),
        details.members,
    )


# --- limits of the record ---------------------------------------------------------------------------------------------


@cache
def _index_fields(record: type[Consignment] | type[Item]) -> dict[str, Field]:
    return {field.name: field for field in get_fields(record)}


@cache
def _list_text_limits() -> dict[str, int]:
    """Greatest length of each text of a consignment."""
    fields = _index_fields(Consignment).values()
    return {each.name: each.max_length for each in fields if each.kind == "string" and each.max_length}


def limit_fields(given: Mapping[str, Any], doubts: Doubts) -> dict[str, Any]:
    """Limit values to those that the record accepts; missing values are left out."""
    known, text_limits = _index_fields(Consignment), _list_text_limits()
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or name in SET_LATER:
            continue
        if (
            type(value) is str
            and 0 < len(value) <= text_limits.get(name, 0)
            and (value.isascii() or value.isprintable())
        ):
            fields[name] = value
        elif name == "items":
            fields[name] = _limit_items(value, doubts)
        elif name == "consignment_id":
            text = str(value)
            fields[name] = clean_identifier(text, doubts) if len(text) > MAX_IDENTIFIER else text
        elif name in known:
            limited = _limit_value(value, known[name], doubts, name)
            if limited is not None:
                fields[name] = limited
    return fields


def _limit_items(items: Sequence[Mapping[str, Any]], doubts: Doubts) -> list[dict[str, Any]] | None:
    if len(items) > MAX_ITEMS:
        doubts.note("text_cut", "items")
    known = _index_fields(Item)
    limited = []
    for item in items[:MAX_ITEMS]:
        values = {
            name: _limit_value(value, known[name], doubts, f"items.{name}")
            for name, value in item.items()
            if value is not None and name in known
        }
        if any(value is not None for value in values.values()):
            limited.append(values)
    return limited or None


def _limit_value(value: Any, field: Field, doubts: Doubts, name: str) -> Any:
    if field.kind == "string":
        return _limit_text(value if isinstance(value, str) else str(value), field, doubts, name)
    if field.kind == "number":
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return float(value)
        doubts.note("number_malformed", name)
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    return None


def _limit_text(text: str, field: Field, doubts: Doubts, name: str) -> str | None:
    if not text.isprintable() and not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if field.max_length is not None and len(text) > field.max_length:
        doubts.note("text_cut", name)
        cut = text[: field.max_length]
        return cut.rpartition(">")[0] or cut if field.name == "route" else cut
    return text or None


def limit_extras(extras: Mapping[str, Any]) -> dict[str, str]:
    """Keep the known columns beyond the record, each of bounded length."""
    return {
        name: str(value)[:MAX_EXTRA_CHARACTERS]
        for name, value in extras.items()
        if name in EXTRA_COLUMNS and value
    }
