"""Conversion of log entries to rows of columns and back. Only this module maps fields to columns.

A field is stored in the column of its name. Columns that an entry has no field for are empty.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, get_args

from msgspec.structs import astuple

from consignments.errors import ServiceFault
from serving.event_log.events import EMPTY, Event, Kind

Columns = tuple[Any, ...]


class EventRow(NamedTuple):
    """The columns of an entry without the hash of the chain, which covers the columns in this order."""

    sequence: int
    kind: Kind
    consignment_id: str | None
    at_us: int
    recorded_us: int | None
    content: bytes
    plain: bytes
    sealed: bytes | None
    kinds: str | None = None
    keys: bytes | None = None
    features: bytes | None = None
    score: float | None = None
    band: str | None = None
    reasons: bytes | None = None
    model: str | None = None
    model_sha256: str | None = None
    spec_sha256: str | None = None
    asked_by: str = ""
    history_sequence: int | None = None

    @property
    def redacted(self) -> bool:
        """Return whether the content of the entry was removed."""
        return self.plain == EMPTY


class _Layout(NamedTuple):
    """The mapping between the fields of a kind of entry and the columns.

    Attributes
    ----------
    event_type : type
    constants : tuple
        Values of the columns that the kind has no fields for.
    get_columns : callable
        Returns the columns, given the fields followed by the constants.
    get_fields : callable
        Returns the fields, given the columns.
    """

    event_type: Callable[..., Event]
    constants: Columns
    get_columns: Callable[[Columns], Columns]
    get_fields: Callable[[Sequence[Any]], Columns]


def _lay_out(event_type: Any) -> _Layout:
    fields = event_type.__struct_fields__
    constants = {name: getattr(event_type, name, None) for name in EventRow._fields if name not in fields}
    places = {name: place for place, name in enumerate((*fields, *constants))}
    return _Layout(
        event_type,
        tuple(constants.values()),
        itemgetter(*(places[name] for name in EventRow._fields)),
        itemgetter(*map(EventRow._fields.index, fields)),
    )


_LAYOUTS: dict[str, _Layout] = {each.kind: _lay_out(each) for each in get_args(Event)}


def encode_row(event: Event) -> Columns:
    """Return the columns of an entry in the order of `EventRow`, as a plain tuple for speed."""
    layout = _LAYOUTS[event.kind]
    return layout.get_columns(astuple(event) + layout.constants)


def decode_row(row: Sequence[Any]) -> Event:
    """Return the entry of a row.

    Raises
    ------
    ServiceFault
        This version does not know the kind of the entry.
    """
    layout = _LAYOUTS.get(row[1])
    if layout is None:
        raise _build_kind_fault(row)
    return layout.event_type(*layout.get_fields(row))


def _build_kind_fault(row: Sequence[Any]) -> ServiceFault:
    return ServiceFault(
        "a log entry has an unknown kind",
        where=f"log entry {row[0]}",
        got=str(row[1]),
        expected=", ".join(_LAYOUTS),
        todo="run npsrisk verify-log; if the chain is valid, use the version of npsrisk that wrote the log",
    )
