"""Problem documents (RFC 9457), which describe what is wrong with a request and point to the invalid field."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Self
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from consignments.records import about
from serving.scoring.intake import FaultKind

MEDIA_TYPE = b"application/problem+json"
MAX_NAME_CHARACTERS = 100


class RecordFault(msgspec.Struct, frozen=True):
    """One validation error of a record."""

    detail: Annotated[str, about("what is wrong")]
    pointer: Annotated[
        str | UnsetType, about("JSON pointer (RFC 6901) to the field; missing without JSON")
    ] = UNSET
    kind: Annotated[FaultKind, about("machine-readable code of the error")] = "bad_value"


class RowFault(RecordFault, frozen=True, kw_only=True):
    """A record of a list that was rejected."""

    index: Annotated[int, about("position in the list, from 0; of messages: among their consignments")]
    consignment_id: Annotated[str | UnsetType, about("of messages: the consignment that is rejected")] = UNSET
    errors: Annotated[list[RecordFault] | UnsetType, about("all faults of the record, if several")] = UNSET

    @classmethod
    def from_faults(
        cls, index: int, faults: list[RecordFault], consignment_id: str | UnsetType = UNSET
    ) -> Self:
        """Build the fault of a list member from all its faults."""
        first = faults[0]
        errors = faults if len(faults) > 1 else UNSET
        return cls(
            first.detail, first.pointer, first.kind, index=index, consignment_id=consignment_id, errors=errors
        )


class Problem(msgspec.Struct, frozen=True):
    """A problem document (RFC 9457)."""

    title: Annotated[str, about("short name of the HTTP status")]
    status: Annotated[int, about("HTTP status code")]
    detail: Annotated[str, about("what is wrong, and what to do")]
    type: Annotated[str, about("always `about:blank`: the status identifies the problem")] = "about:blank"
    errors: Annotated[list[RecordFault] | UnsetType, about("the invalid fields")] = UNSET
    request_id: Annotated[str, about("request identifier, as in the response header X-Request-Id")] = ""


class Refusal(Exception):
    """An error that is answered with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        faults: list[RecordFault] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.faults, self.headers = status, detail, faults or [], headers or {}

    @classmethod
    def from_fault(cls, fault: RecordFault) -> Self:
        """Build the refusal of a record, with status 422."""
        return cls(422, fault.detail, [fault])

    @classmethod
    def from_faults(cls, faults: list[RecordFault]) -> Self:
        """Build the refusal of a record with all its faults, with status 422. Its text names the first field."""
        first, more = faults[0], ""
        place = (first.pointer or "#").removeprefix("#").removeprefix("/")
        named = not place or place.rpartition("/")[2] in first.detail
        if len(faults) > 1:
            more = f" (the first of {len(faults)} faults, see errors)"
        return cls(422, f"{'' if named else f'{place}: '}{first.detail}{more}", faults)

    def to_json(self, request_id: str = "") -> bytes:
        """Return the problem document as JSON."""
        phrase, errors = HTTPStatus(self.status).phrase, self.faults or UNSET
        problem = Problem(phrase, self.status, self.detail, errors=errors, request_id=request_id)
        return msgspec.json.encode(problem)


def build_fault(error: msgspec.ValidationError, root: str = "#", choices: Sequence[str] = ()) -> RecordFault:
    """Convert the decoder's message to a fault with a JSON pointer."""
    message, _, path = str(error).partition(" - at `$")
    steps = [first or second for first, second in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", path)]
    named = re.search(r"(unknown|required) field `(.*)`", message, re.DOTALL)
    kind: FaultKind = "wrong_type" if message.startswith("Expected") and ", got `" in message else "bad_value"
    if named:
        kind = "unknown_field" if named[1] == "unknown" else "missing_field"
        steps.append(named[2][:MAX_NAME_CHARACTERS])
        message = message.replace(named[2], named[2][:MAX_NAME_CHARACTERS])
    return RecordFault(_clarify(message, choices), "/".join([root, *map(escape_step, steps)]), kind)


def _clarify(message: str, choices: Sequence[str]) -> str:
    """Add to the decoder's message what is expected, if it lacks that."""
    if message == "Invalid RFC3339 encoded datetime":
        return "Invalid time: expected ISO 8601 with a time zone, for example 2024-03-04T09:00:00Z"
    if message.startswith("Invalid enum value"):
        listed = f": expected one of {', '.join(choices)}"
        return message + (listed if choices else "; see /openapi.json for the allowed values")
    return message


def escape_step(step: str) -> str:
    """Escape a step of a JSON pointer in a fragment of a URI (RFC 6901, section 6)."""
    return quote(step.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@-._", errors="replace")
