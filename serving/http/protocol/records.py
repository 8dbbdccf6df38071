"""Records of JSON bodies: one, or a list under its plural name; what is wrong is named with its place."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, UnsetType

from serving.http.problems import (
    MAX_NAME_CHARACTERS,
    RecordFault,
    Refusal,
    RowFault,
    build_fault,
    escape_step,
)
from serving.scoring.intake import FieldError

MAX_RECORDS = 1000
_skip = msgspec.json.Decoder(msgspec.Raw).decode
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
Record = TypeVar("Record")


class RecordReader(Generic[Record]):
    """A reader of bodies that hold records of one kind: one object, or a list under the plural name, if there is one."""

    def __init__(self, record: type[Record], plural: str = "") -> None:
        self.plural = plural
        self.record: type[Any] = record
        self._decode = msgspec.json.Decoder(record).decode
        self._decode_members = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]

    def read(self, body: bytes) -> Record | list[msgspec.Raw]:
        """Decode the body to one record, or to a list that `read_members` decodes; a refusal with 400 or 422 if it is neither."""
        try:
            return _decode_body(self._decode, body)
        except msgspec.ValidationError as error:
            _decode_body(_skip, body, may_repeat=True)  # the decoder stops before what is no JSON
            members = self._read_list(body) if self.plural else None
            if members is None:
                faults = list_record_faults(body, self.record) or [build_fault(error)]
                if self.plural and body.lstrip(WHITE_SPACE).startswith(b"["):
                    wanted = f'Send a list as {{"{self.plural}": [...]}}, not as an array alone.'
                    faults = [RecordFault(wanted, "#", "wrong_type")]
                raise Refusal.from_faults(faults) from None
            return members

    def read_members(self, raws: Sequence[msgspec.Raw], first: int) -> list[Record | RowFault]:
        """Decode some members of a list, from place `first` on; return the record of each, or its fault."""
        with suppress(*DECODE_ERRORS):
            together = b"[" + b",".join(raws) + b"]"
            found: list[Record | RowFault] = self._decode_members(together)
            if find_repeated_key(together) is None:
                return found
        return [self._read_member(raw, index) for index, raw in enumerate(raws, first)]

    def _read_member(self, raw: msgspec.Raw, index: int) -> Record | RowFault:
        root = self._build_pointer(index)
        try:
            found = self._decode(raw)
            repeated = find_repeated_key(raw)
        except msgspec.ValidationError as error:
            return RowFault.from_faults(
                index, list_record_faults(raw, self.record, root) or [build_fault(error, root)]
            )
        except DECODE_ERRORS as error:
            detail = _describe_json_error(error, bytes(raw)) + " of this record"
            return RowFault(detail, root, "not_json", index=index)
        if repeated is None:
            return found
        return RowFault.from_faults(index, [_build_repeated_fault(repeated, root)])

    def build_row_fault(
        self, complaints: Sequence[FieldError], index: int, named: str | UnsetType = UNSET
    ) -> RowFault:
        """Build the fault of a list member from its validation errors, or of the consignment `named` of a message, without pointers."""
        root = self._build_pointer(index) if named is UNSET else ""
        return RowFault.from_faults(index, _build_faults(complaints, root), named)

    def _build_pointer(self, index: int) -> str:
        return f"#/{self.plural}/{index}"

    def _read_list(self, body: bytes) -> list[msgspec.Raw] | None:
        """Decode a body to a list; None if it is no object with the plural name."""
        try:
            fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except DECODE_ERRORS:
            return None
        if self.plural not in fields:
            return None
        for name in fields.keys() - {self.plural}:
            fault = msgspec.ValidationError(f"Object contains unknown field `{name}`")
            raise Refusal.from_fault(build_fault(fault))
        root = f"#/{self.plural}"
        try:
            found = msgspec.json.decode(fields[self.plural], type=list[msgspec.Raw])
        except msgspec.ValidationError as error:
            raise Refusal.from_fault(build_fault(error, root)) from None
        if len(found) > MAX_RECORDS:
            detail = f"The list has {len(found)} records. Send at most {MAX_RECORDS} in a request."
            raise Refusal.from_fault(RecordFault(detail, root, "too_many"))
        if not is_only_value(body, fields[self.plural]):
            raise Refusal.from_fault(_build_repeated_fault(self.plural, "#"))
        return found


@lru_cache(maxsize=16)
def get_reader(record: type[Record], plural: str = "") -> RecordReader[Record]:
    """Return the reader of a type of record."""
    return RecordReader(record, plural)


def build_refusal(complaints: Sequence[FieldError]) -> Refusal:
    """Build the refusal of a single record from its validation errors: with status 403 if it is of another office, else 422."""
    if complaints[0].kind == "other_office":
        return Refusal(403, complaints[0].reason)
    return Refusal.from_faults(_build_faults(complaints, "#"))


def format_reason(complaint: FieldError) -> str:
    """Format a validation error as text."""
    return f"{complaint.field}: {complaint.reason}"


def _build_faults(complaints: Sequence[FieldError], root: str) -> list[RecordFault]:
    return [
        RecordFault(format_reason(each), f"{root}/{each.field}" if root else UNSET, each.kind)
        for each in complaints
    ]


def _decode_body(decode: Callable[[bytes], Record], body: bytes, *, may_repeat: bool = False) -> Record:
    """Decode a body to a record; raise a refusal if it is not JSON or repeats a key, and `ValidationError` if it is another record."""
    try:
        found = decode(body)
        repeated = None if may_repeat else find_repeated_key(body)
    except msgspec.ValidationError:
        raise
    except DECODE_ERRORS as error:
        detail = f"The body is not valid JSON: {_describe_json_error(error, body)}"
        raise Refusal(400, detail) from None
    if repeated is not None:
        raise Refusal.from_fault(_build_repeated_fault(repeated, "#"))
    return found


def _build_repeated_fault(key: str, root: str) -> RecordFault:
    name = key[:MAX_NAME_CHARACTERS]
    detail = f"The field `{name}` occurs twice in one object. Send it once."
    return RecordFault(detail, f"{root}/{escape_step(name)}", "repeated_field")


def _describe_json_error(error: Exception, body: bytes) -> str:
    """Describe what is wrong with JSON without repeating any of it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    for start, meaning in OTHER_STARTS.items():
        if body.lstrip(WHITE_SPACE).startswith(start):
            return meaning
    if not body.strip(WHITE_SPACE):
        return "it is empty"
    if str(error) == "Input data was truncated" and SURROGATE.search(body):
        return "a text has half of a surrogate pair; write the whole character"
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    try:  # the decoder counts from the start of a text within the body
        body.decode()
    except UnicodeDecodeError as bad:
        return f"it is not UTF-8 at byte {bad.start}"
    return f"it is not UTF-8 at byte {len(body)}"


MAX_FAULTS = 50
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def list_record_faults(
    body: bytes | msgspec.Raw, record: type[msgspec.Struct], root: str = "#"
) -> list[RecordFault]:
    """List the faults of an invalid record, at most MAX_FAULTS."""
    with suppress(*DECODE_ERRORS):
        return [*islice(_find_faults(msgspec.json.decode(body), record, root), MAX_FAULTS)]
    return []


def _find_faults(value: Any, kind: Any, root: str) -> Iterator[RecordFault]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        parts = list(_find_part_faults(value, kind, root))
        literals = (each for each in _list_plain_types(kind) if get_origin(each) is Literal)
        choices = [choice for each in literals for choice in get_args(each)]
        yield from parts or [build_fault(error, root, choices)]


def _find_part_faults(value: Any, kind: Any, root: str) -> Iterator[RecordFault]:
    """Find the faults within an object or a list; none if the value is something else."""
    for plain in _list_plain_types(kind):
        if isinstance(value, dict) and isinstance(plain, type) and issubclass(plain, msgspec.Struct):
            yield from _find_field_faults(value, plain, root)
        elif isinstance(value, list) and get_origin(plain) in (tuple, list):
            for index, member in enumerate(value):
                yield from _find_faults(member, get_args(plain)[0], f"{root}/{index}")


def _find_field_faults(
    values: dict[str, Any], record: type[msgspec.Struct], root: str
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


def _list_plain_types(kind: Any) -> Iterator[Any]:
    """List the types of a union, without annotations."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _list_plain_types(each)
    else:
        yield kind


WHITE_SPACE = b" \t\n\r"
OTHER_STARTS = {
    b"<": "it is XML; send messages to POST /v1/scores with Content-Type: application/xml",
    b"\xef\xbb\xbf": "it begins with a byte order mark; send UTF-8 without one",
}
ONE_KEY = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"[^"]*"[ \t\n\r]*:[ \t\n\r]*')


class _RepeatedKey(Exception):
    """A key occurs twice in one object."""


def find_repeated_key(body: bytes | memoryview) -> str | None:
    """Find a key that occurs twice in one object of a valid JSON text; return None if there is none."""
    try:
        _check_keys(str(body, "utf-8").lstrip())
    except _RepeatedKey as found:
        return str(found)
    return None


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(next(name for place, name in enumerate(names) if name in names[:place]))


_check_keys = json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str).raw_decode
"""Numbers stay text: nobody needs them, and Python refuses long ones."""


def is_only_value(body: bytes, value: bytes | memoryview) -> bool:
    """Check that the last value of a valid JSON object is its only one."""
    whole = body.rstrip(WHITE_SPACE).removesuffix(b"}").rstrip(WHITE_SPACE)
    return ONE_KEY.fullmatch(whole, 0, len(whole) - len(value)) is not None
