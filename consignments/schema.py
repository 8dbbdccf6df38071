"""Schema of the records: each column with its kind and limits, derived from `consignments.records`."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import inspect as types

FieldKind = Literal["string", "number", "time", "date", "items", "codes"]


@dataclass(frozen=True, slots=True)
class Field:
    """The schema of one column: `required` means that each row has a value, `personal` that it is never unencrypted in logs, state, MLflow or errors.

    `choices` is empty if all values are allowed; `max_length` counts characters; `lowest` and `highest` are allowed, `above` is not.
    """

    name: str
    kind: FieldKind
    required: bool
    personal: bool
    choices: tuple[str, ...]
    max_length: int | None
    lowest: float | None
    above: float | None
    highest: float | None
    meaning: str


@cache
def get_fields(record: type[msgspec.Struct]) -> tuple[Field, ...]:
    """List the columns of a record type, in order."""
    info = types.type_info(record)
    assert isinstance(info, types.StructType)
    return tuple(_build_field(part) for part in info.fields)


def describe_type(kind: types.Type) -> tuple[types.Type, bool, str, dict[str, Any]]:
    """Return the type of a field without its metadata, whether None is allowed, its description, and further metadata."""
    meaning, optional = "", False
    extra: dict[str, Any] = {}
    inner = kind
    while isinstance(inner, types.Metadata | types.UnionType):
        if isinstance(inner, types.UnionType):
            optional = any(isinstance(each, types.NoneType) for each in inner.types)
            inner = next(each for each in inner.types if not isinstance(each, types.NoneType))
            continue
        meaning = meaning or (inner.extra_json_schema or {}).get("description", "")
        extra |= inner.extra or {}
        inner = inner.type
    return inner, optional, meaning, extra


def _build_field(part: types.Field) -> Field:
    inner, _, meaning, extra = describe_type(part.type)
    return Field(
        name=part.name,
        kind=_infer_kind(inner),
        required=part.required or bool(extra.get("required")),
        personal=bool(extra.get("personal")),
        choices=tuple(str(value) for value in inner.values) if isinstance(inner, types.LiteralType) else (),
        max_length=inner.max_length if isinstance(inner, types.StrType) else None,
        lowest=inner.ge if isinstance(inner, types.FloatType) else None,
        above=inner.gt if isinstance(inner, types.FloatType) else None,
        highest=inner.le if isinstance(inner, types.FloatType) else None,
        meaning=meaning,
    )


def _strip_metadata(inner: types.Type) -> types.Type:
    return _strip_metadata(inner.type) if isinstance(inner, types.Metadata) else inner


def _infer_kind(inner: types.Type) -> FieldKind:
    if isinstance(inner, types.FloatType):
        return "number"
    if isinstance(inner, types.DateTimeType):
        return "time"
    if isinstance(inner, types.DateType):
        return "date"
    if isinstance(inner, types.VarTupleType):
        return "codes" if isinstance(_strip_metadata(inner.item_type), types.StrType) else "items"
    return "string"
