"""Problem documents (RFC 9457): what is wrong with a request, and the path of the field that is at fault."""

import re
from http import HTTPStatus
from typing import Annotated, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from serving.scoring.intake import FaultKind

MEDIA_TYPE = b"application/problem+json"
MAX_NAME_CHARACTERS = 100
"""Longest name of a field that is told back."""


class RecordFault(msgspec.Struct, frozen=True):
    """One thing that is wrong with one record."""

    detail: Annotated[str, Meta(description="what is wrong")]
    pointer: Annotated[str, Meta(description="JSON pointer (RFC 6901) to the field, from the body's root")]
    kind: Annotated[FaultKind, Meta(description="the same for programs")] = "bad_value"


class RowFault(msgspec.Struct, frozen=True):
    """One record of a list that was not taken."""

    index: Annotated[int, Meta(description="its place in the list, from 0")]
    detail: Annotated[str, Meta(description="what is wrong")]
    pointer: Annotated[str, Meta(description="JSON pointer (RFC 6901) to the field, from the body's root")]
    kind: Annotated[FaultKind, Meta(description="the same for programs")] = "bad_value"


class Problem(msgspec.Struct, frozen=True):
    """A problem document."""

    title: Annotated[str, Meta(description="the kind of problem")]
    status: Annotated[int, Meta(description="the HTTP status")]
    detail: Annotated[str, Meta(description="what is wrong here, and what to do")]
    type: Annotated[str, Meta(description="`about:blank`: the status says the kind")] = "about:blank"
    errors: Annotated[list[RecordFault] | UnsetType, Meta(description="the fields at fault")] = UNSET
    request_id: Annotated[str, Meta(description="identifier of the request, as in the answer's header")] = ""


class Refusal(Exception):
    """A request that is answered with a problem document.

    Parameters
    ----------
    status : int
    detail : str
    faults : list of Fault
    headers : dict of str
        Further headers of the answer.
    """

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
        """Refuse a record with 422."""
        return cls(422, fault.detail, [fault])

    def to_problem(self, request_id: str = "") -> Problem:
        """Give the document."""
        phrase = HTTPStatus(self.status).phrase
        return Problem(phrase, self.status, self.detail, errors=self.faults or UNSET, request_id=request_id)

    def to_json(self, request_id: str = "") -> bytes:
        """Give the document as JSON."""
        return msgspec.json.encode(self.to_problem(request_id))


def build_fault(error: msgspec.ValidationError, root: str = "#") -> RecordFault:
    """Turn the decoder's message into a fault with a pointer.

    Parameters
    ----------
    error : ValidationError
    root : str
        Pointer to the record in the body.

    Examples
    --------
    >>> fault_of(msgspec.ValidationError("Expected `str`, got `int` - at `$.items[0].hs_code`"))
    Fault(detail='Expected `str`, got `int`', pointer='#/items/0/hs_code', kind='wrong_type')
    """
    message, _, path = str(error).partition(" - at `$")
    steps = [first or second for first, second in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", path)]
    named = re.search(r"(unknown|required) field `(.*)`", message, re.DOTALL)
    kind: FaultKind = "wrong_type" if message.startswith("Expected") and ", got `" in message else "bad_value"
    if named:
        kind = "unknown_field" if named[1] == "unknown" else "missing_field"
        steps.append(named[2][:MAX_NAME_CHARACTERS])
        message = message.replace(named[2], named[2][:MAX_NAME_CHARACTERS])
    return RecordFault(message, "/".join([root, *map(_escape, steps)]), kind)


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
