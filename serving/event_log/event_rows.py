"""The row of an entry. From this one struct derive the table, its migration, the hash of an entry, and the conversion of entries.

A further column goes to the end of the struct and may be empty. It then is in the table of the next start, earlier entries have
nothing in it, and their hashes stay.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from consignments.errors import ServiceFault
from serving.event_log.events import EMPTY, Event, Kind

Columns = tuple[Any, ...]
"""The values of a row, in the order of `EventRow`."""
TERM = Meta(extra={"term": True})
"""Marks a text that many entries share: the table has its number (`serving.event_log.terms`)."""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """The columns of an entry, without its hash; `digest` is the keyed digest of `consignment_id`, a signed number of 64 bits."""

    sequence: int
    kind: Kind
    consignment_id: str | None
    at_us: int
    recorded_us: int | None
    content: bytes
    plain: bytes
    sealed: bytes | None
    kinds: Annotated[str | None, TERM] = None
    keys: bytes | None = None
    features: bytes | None = None
    score: float | None = None
    band: Annotated[str | None, TERM] = None
    reasons: bytes | None = None
    model: Annotated[str | None, TERM] = None
    model_sha256: Annotated[str | None, TERM] = None
    spec_sha256: Annotated[str | None, TERM] = None
    asked_by: Annotated[str, TERM] = ""
    digest: int | None = None
    history_sequence: int | None = None
    office: Annotated[str | None, TERM] = None
    warnings: bytes | None = None

    @property
    def redacted(self) -> bool:
        """Return whether the content of the entry was removed."""
        return self.plain == EMPTY


NAMES = EventRow.__struct_fields__
PLACES = {name: place for place, name in enumerate(NAMES)}
_encode, _sha256 = msgspec.msgpack.Encoder().encode, hashlib.sha256


def encode_columns(row: Columns) -> bytes:
    """Encode a row as MessagePack without the empty columns at its end, so that a further column changes no hash."""
    end = len(row)
    while row[end - 1] is None:
        end -= 1
    return _encode(row[:end])


def hash_rows(previous: bytes, rows: Iterable[Columns]) -> list[bytes]:
    """Compute the hash of each of some entries in order: SHA-256 of the hash before it and of its columns."""
    hashes = []
    for row in rows:
        previous = _sha256(previous + encode_columns(row)).digest()
        hashes.append(previous)
    return hashes


class _Layout(NamedTuple):
    """The mapping between the fields of a kind of entry and the columns; `constants` are the values of the columns that it has no fields for."""

    event_type: Callable[..., Event]
    constants: Columns
    get_columns: Callable[[Columns], Columns]
    get_fields: Callable[[Sequence[Any]], Columns]


def _lay_out(event_type: Any) -> _Layout:
    fields = event_type.__struct_fields__
    constants = {
        name: getattr(event_type, name, None) for name in NAMES if name not in fields and name != "digest"
    }
    places = {name: place for place, name in enumerate((*fields, "digest", *constants))}
    return _Layout(
        event_type,
        tuple(constants.values()),
        itemgetter(*(places[name] for name in NAMES)),
        itemgetter(*(PLACES[name] for name in fields)),
    )


_LAYOUTS: dict[str, _Layout] = {each.kind: _lay_out(each) for each in get_args(Event)}


def encode_row(event: Event, digest: int | None = None) -> Columns:
    """Return the columns of an entry, with the digest of its identifier."""
    layout = _LAYOUTS[event.kind]
    return layout.get_columns((*astuple(event), digest, *layout.constants))


def decode_row(row: Sequence[Any]) -> Event:
    """Return the entry of a row; raise `ServiceFault` if this version does not know its kind."""
    layout = _LAYOUTS.get(row[1])
    if layout is None:
        raise ServiceFault(
            "a log entry has an unknown kind",
            where=f"log entry {row[0]}",
            got=str(row[1]),
            expected=", ".join(_LAYOUTS),
            todo="run npsrisk verify-log; if the chain is valid, use the version of npsrisk that wrote the log",
        )
    return layout.event_type(*layout.get_fields(row))
