"""All faults of an invalid record. The decoder names the first one only, so each field is decoded again by itself."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from serving.http.problems import RecordFault, build_fault, escape_step

MAX_FAULTS = 50
"""Maximum number of faults named for one record."""
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def list_record_faults(
    body: bytes | msgspec.Raw, record: type[msgspec.Struct], root: str = "#"
) -> list[RecordFault]:
    """List the faults of an invalid record, at most MAX_FAULTS."""
    found: list[RecordFault] = []
    for fault in _find_faults(body, record, root):
        if len(found) == MAX_FAULTS:
            break
        found.append(fault)
    return found


def _find_faults(raw: bytes | msgspec.Raw, kind: Any, root: str) -> Iterator[RecordFault]:
    try:
        msgspec.json.decode(raw, type=kind)
        return
    except msgspec.ValidationError as error:
        first = build_fault(error, root, _list_choices(kind))
    except DECODE_ERRORS:
        return  # what is no JSON is refused before
    parts = list(_find_part_faults(raw, kind, root))
    yield from parts or [first]


def _find_part_faults(raw: bytes | msgspec.Raw, kind: Any, root: str) -> Iterator[RecordFault]:
    """Find the faults within an object or a list; none if the value is something else."""
    try:
        for plain in _list_plain_types(kind):
            if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
                yield from _find_field_faults(
                    msgspec.json.decode(raw, type=dict[str, msgspec.Raw]), plain, root
                )
            elif get_origin(plain) in (tuple, list):
                members = msgspec.json.decode(raw, type=list[msgspec.Raw])
                for index, member in enumerate(members):
                    yield from _find_faults(member, get_args(plain)[0], f"{root}/{index}")
    except DECODE_ERRORS:
        return


def _find_field_faults(
    values: dict[str, msgspec.Raw], record: type[msgspec.Struct], root: str
) -> Iterator[RecordFault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(record)}
    for name, field in fields.items():
        if name in values:
            yield from _find_faults(values[name], field.type, f"{root}/{escape_step(name)}")
        elif field.required:
            yield build_fault(msgspec.ValidationError(f"Object missing required field `{name}`"), root)
    for name in values:
        if name not in fields:
            yield build_fault(msgspec.ValidationError(f"Object contains unknown field `{name}`"), root)


def _list_choices(kind: Any) -> list[str]:
    """List the allowed values of a field that has few."""
    literals = (each for each in _list_plain_types(kind) if get_origin(each) is Literal)
    return [choice for each in literals for choice in get_args(each)]


def _list_plain_types(kind: Any) -> Iterator[Any]:
    """List the types of a union, without annotations."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _list_plain_types(each)
    else:
        yield kind
