"""Records of JSON bodies: one, or a list under its plural name; what is wrong is named with its place."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from serving.http.problems import (
    MAX_NAME_CHARACTERS,
    RecordFault,
    Refusal,
    RowFault,
    build_fault,
    escape_step,
)
from serving.http.protocol.record_faults import DECODE_ERRORS, list_record_faults
from serving.http.protocol.repeated_keys import find_repeated_key, is_only_value
from serving.scoring.intake import FieldError

MAX_RECORDS = 1000
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
            members = self._read_list(body) if self.plural else None
            if members is None:
                faults = list_record_faults(body, self.record) or [build_fault(error)]
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

    def build_row_fault(self, complaints: FieldError | Sequence[FieldError], index: int) -> RowFault:
        """Build the fault of a list member from its validation errors."""
        return RowFault.from_faults(index, _build_faults(complaints, self._build_pointer(index)))

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


def build_refusal(complaints: FieldError | Sequence[FieldError]) -> Refusal:
    """Build the refusal of a single record from its validation errors."""
    return Refusal.from_faults(_build_faults(complaints, "#"))


def format_reason(complaint: FieldError) -> str:
    """Format a validation error as text."""
    return f"{complaint.field}: {complaint.reason}"


def _build_faults(complaints: FieldError | Sequence[FieldError], root: str) -> list[RecordFault]:
    listed = [complaints] if isinstance(complaints, FieldError) else complaints
    return [RecordFault(format_reason(each), f"{root}/{each.field}", each.kind) for each in listed]


def _decode_body(decode: Callable[[bytes], Record], body: bytes) -> Record:
    """Decode a body to a record; raise a refusal if it is not JSON or repeats a key, and `ValidationError` if it is another record."""
    try:
        found = decode(body)
        repeated = find_repeated_key(body)
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
    if str(error) == "Input data was truncated" and SURROGATE.search(body):
        return "a text has half of a surrogate pair; write the whole character"
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    try:  # the decoder counts from the start of a text within the body
        body.decode()
    except UnicodeDecodeError as bad:
        return f"it is not UTF-8 at byte {bad.start}"
    return f"it is not UTF-8 at byte {len(body)}"
