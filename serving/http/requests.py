"""What comes in over HTTP: who asks, the body within its limit, and the records in it, one or a list."""

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive

from serving.http.asgi import ClientDisconnected, HttpCall
from serving.http.auth import Authenticator, Caller
from serving.http.auth import Scope as KeyScope
from serving.http.problems import RecordFault, Refusal, RowFault, build_fault
from serving.process.clock import Clock
from serving.process.settings import Settings
from serving.scoring.intake import FieldError

MAX_RECORDS = 1000
BODY_SECONDS = 20.0
"""How long a client may take to send a body."""
MAX_LARGE_BODIES = 8
"""So many of the largest bodies may be on their way at once; smaller ones, as many as fit into that."""
CLOSE_HEADERS = {"connection": "close"}
RETRY_HEADERS = CLOSE_HEADERS | {"retry-after": "1"}
Record = TypeVar("Record")


JSON_TYPES = {b"application/json": "JSON"}


class RequestBody(NamedTuple):
    """What was sent: its media type, and its content."""

    kind: str
    content: bytes


class BodyReader:
    """Reads bodies, each within a limit, and those that come in pieces together within another.

    Parameters
    ----------
    limit : int
        Most bytes of one.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._most_held, self._held = limit, MAX_LARGE_BODIES * limit, 0

    async def read_json(self, call: HttpCall) -> bytes:
        """Read a body of JSON, as `read` does."""
        return (await self.read(call, JSON_TYPES)).content

    async def read(self, call: HttpCall, kinds: Mapping[bytes, str]) -> RequestBody:
        """Read the body.

        Parameters
        ----------
        call : HttpCall
        kinds : mapping
            The media types that are taken, and what each is.

        Raises
        ------
        Refusal
            415 where it is of no such media type, 413 where it is too large, 408 where it takes too long, 503 where too
            many large ones come at once.
        ClientGone
        """
        given = (call.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        kind = kinds.get(given)
        if kind is None:
            wanted = ", ".join(f"{name.decode()} ({what})" for name, what in kinds.items())
            raise Refusal(415, f"send {wanted}, and say which in the header Content-Type")
        return RequestBody(given.decode(), await self._read_content(call))

    async def _read_content(self, call: HttpCall) -> bytes:
        length = call.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self._limit:
            raise self._too_large()
        message = await call.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return self._check_size(message.get("body", b""))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read_rest(message, call.receive)
        except TimeoutError:
            raise Refusal(
                408, f"the body did not come within {BODY_SECONDS:.0f} seconds", headers=CLOSE_HEADERS
            ) from None

    async def _read_rest(self, message: Any, receive: Receive) -> bytes:
        body = bytearray()
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                part = message.get("body", b"")
                body += part
                self._held += len(part)
                self._check_size(body)
                if self._held > self._most_held:
                    raise Refusal(503, "too many large bodies at once; try again", headers=RETRY_HEADERS)
                if not message.get("more_body"):
                    return bytes(body)
                message = await receive()
        finally:
            self._held -= len(body)

    def _check_size(self, body: bytes | bytearray) -> bytes:
        if len(body) > self._limit:
            raise self._too_large()
        return body  # type: ignore[return-value]

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than {self._limit} bytes", headers=CLOSE_HEADERS)


class Door:
    """Lets callers in, and reads what they send.

    Parameters
    ----------
    authenticator : Authenticator
    bodies : BodyReader
    """

    def __init__(self, authenticator: Authenticator, bodies: BodyReader) -> None:
        self.authenticator, self.bodies = authenticator, bodies
        self.read_json, self.read_body = bodies.read_json, bodies.read

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock) -> "Door":
        """Read the API keys that the settings name.

        Raises
        ------
        BadSetting
            Their file cannot be used.
        """
        authenticator = Authenticator(settings.api_keys_file, settings.rate_limit, clock)
        return cls(authenticator, BodyReader(settings.max_body_bytes))

    def authorize(self, call: HttpCall, wanted: KeyScope) -> Caller:
        """Find the caller, who must have the scope that is wanted."""
        caller = self.authenticator.authenticate(call.headers.get(b"authorization"))
        caller.require(wanted)
        return caller


class SingleRecordReader(Generic[Record]):
    """Reads a body that is one record.

    Parameters
    ----------
    record : type
    """

    def __init__(self, record: type[Record]) -> None:
        self._decode = msgspec.json.Decoder(record).decode

    def read(self, body: bytes) -> Record:
        """Read the body; 400 where it is not JSON, 422 where it is no such record."""
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise Refusal.from_fault(build_fault(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _invalid_json(error) from None


class RecordReader(Generic[Record]):
    """Reads the records of one kind from a body: one object, or a list under the plural name.

    Parameters
    ----------
    record : type
    plural : str
        As `consignments`.
    """

    def __init__(self, record: type[Record], plural: str) -> None:
        self.plural = plural
        self._decode = msgspec.json.Decoder(record).decode
        fields: list[Any] = [(plural, list[msgspec.Raw])]
        self._decode_list = msgspec.json.Decoder(
            msgspec.defstruct("List", fields, forbid_unknown_fields=True)
        ).decode
        probe: list[Any] = [(plural, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)]
        self._probe = msgspec.json.Decoder(msgspec.defstruct("Probe", probe)).decode

    def read(self, body: bytes) -> Record | list[msgspec.Raw]:
        """Read the body: one record, or a list whose members are yet to be read by `read_member`.

        Raises
        ------
        Refusal
            400 where it is not JSON, 422 where it is no such record, or the list is too long.
        """
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            if not self._is_list(body):
                raise Refusal.from_fault(build_fault(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _invalid_json(error) from None
        return self._read_list(body)

    def read_member(self, raw: msgspec.Raw, index: int) -> Record | RowFault:
        """Read one member of a list."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            fault = build_fault(error, self.build_pointer(index))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            fault = RecordFault(_describe_json_error(error), self.build_pointer(index), "not_json")
        return RowFault(index, fault.detail, fault.pointer, fault.kind)

    def build_row_fault(self, complaint: FieldError, index: int) -> RowFault:
        """Say what is wrong with a member of a list."""
        pointer = f"{self.build_pointer(index)}/{complaint.field}"
        return RowFault(index, _format_reason(complaint), pointer, complaint.kind)

    def build_pointer(self, index: int) -> str:
        """Point to a member of the list."""
        return f"#/{self.plural}/{index}"

    def _is_list(self, body: bytes) -> bool:
        try:
            return getattr(self._probe(body), self.plural) is not msgspec.UNSET
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def _read_list(self, body: bytes) -> list[msgspec.Raw]:
        try:
            found: list[msgspec.Raw] = getattr(self._decode_list(body), self.plural)
        except msgspec.ValidationError as error:
            raise Refusal.from_fault(build_fault(error)) from None
        if len(found) > MAX_RECORDS:
            raise Refusal.from_fault(
                RecordFault(
                    f"{len(found)} records; send at most {MAX_RECORDS} in a call",
                    f"#/{self.plural}",
                    "too_many",
                )
            )
        return found


def build_refusal(complaint: FieldError) -> Refusal:
    """Refuse a single record."""
    return Refusal.from_fault(RecordFault(_format_reason(complaint), f"#/{complaint.field}", complaint.kind))


def read_parameters(call: HttpCall, allowed: frozenset[str]) -> dict[str, str]:
    """Read the query; an unknown or repeated parameter is refused with 422."""
    query = call.scope["query_string"]
    if not query:
        return {}
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= allowed:
        raise Refusal(422, f"query parameters are {', '.join(sorted(allowed))}, each at most once")
    return found


def _invalid_json(error: Exception) -> Refusal:
    return Refusal(400, f"the body is not JSON that can be read: {_describe_json_error(error)}")


def _format_reason(complaint: FieldError) -> str:
    return f"{complaint.field}: {complaint.reason}"


def _describe_json_error(error: Exception) -> str:
    """Say what is wrong with JSON without repeating any of it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
