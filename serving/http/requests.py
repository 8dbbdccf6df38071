"""Request reading: authorization, the body within its size limit, and its records (one, or a list)."""

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
"""Maximum seconds to receive a body."""
MAX_LARGE_BODIES = 8
"""Maximum memory of all bodies that arrive in several parts, in multiples of the largest body allowed."""
CLOSE_HEADERS = {"connection": "close"}
RETRY_HEADERS = CLOSE_HEADERS | {"retry-after": "1"}
Record = TypeVar("Record")


JSON_TYPES = {b"application/json": "JSON"}


class RequestBody(NamedTuple):
    """Body of a request: media type and content."""

    kind: str
    content: bytes


class BodyReader:
    """A reader of request bodies with a size limit for each body, and one for all partly received bodies together.

    Parameters
    ----------
    limit : int
        Maximum bytes of one body.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._most_held, self._held = limit, MAX_LARGE_BODIES * limit, 0

    async def read_json(self, call: HttpCall) -> bytes:
        """Read a JSON body, as `read` does."""
        return (await self.read(call, JSON_TYPES)).content

    async def read(self, call: HttpCall, kinds: Mapping[bytes, str]) -> RequestBody:
        """Read the body of a request.

        Parameters
        ----------
        call : HttpCall
        kinds : mapping
            The media types that are taken, and what each is.

        Raises
        ------
        Refusal
            415 if the media type is another one, 413 if the body is too large, 408 if it takes too long, 503 if too many
            large bodies arrive at once.
        ClientDisconnected
        """
        given = (call.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        if given not in kinds:
            wanted = ", ".join(f"{name.decode()} ({what})" for name, what in kinds.items())
            raise Refusal(415, f"The header Content-Type must be one of: {wanted}.")
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
                408, f"The body did not arrive within {BODY_SECONDS:.0f} seconds.", headers=CLOSE_HEADERS
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
                    raise Refusal(503, "Too many large bodies at once. Try again.", headers=RETRY_HEADERS)
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
        detail = (
            f"The body exceeds {self._limit} bytes. Send a shorter list, or raise NPSRISK_MAX_BODY_BYTES."
        )
        return Refusal(413, detail, headers=CLOSE_HEADERS)


class Door:
    """The entry of all requests: authorizes clients and reads their bodies.

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
        """Build the entry from the settings, which name the API key file and the size limit.

        Raises
        ------
        BadSetting
            The API key file cannot be used.
        """
        authenticator = Authenticator(settings.api_keys_file, settings.rate_limit, clock)
        return cls(authenticator, BodyReader(settings.max_body_bytes))

    def authorize(self, call: HttpCall, wanted: KeyScope) -> Caller:
        """Authenticate the client and check that it has a scope."""
        caller = self.authenticator.authenticate(call.headers.get(b"authorization"))
        caller.require(wanted)
        return caller


class SingleRecordReader(Generic[Record]):
    """A reader of bodies that are one record.

    Parameters
    ----------
    record : type
    """

    def __init__(self, record: type[Record]) -> None:
        self._decode = msgspec.json.Decoder(record).decode

    def read(self, body: bytes) -> Record:
        """Decode the body; raise a refusal with 400 if it is not JSON, and 422 if it is not a valid record."""
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise Refusal.from_fault(build_fault(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _invalid_json(error) from None


class RecordReader(Generic[Record]):
    """A reader of bodies that hold records of one kind: one object, or a list under the plural name.

    Parameters
    ----------
    record : type
    plural : str
        JSON key of a list, for example `consignments`.
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
        """Decode the body to one record, or to a list whose members `read_member` decodes later.

        Raises
        ------
        Refusal
            400 if the body is not JSON; 422 if it is not a valid record, or the list is too long.
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
        """Decode one member of a list; return the record or its fault."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            fault = build_fault(error, self.build_pointer(index))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            fault = RecordFault(_describe_json_error(error), self.build_pointer(index), "not_json")
        return RowFault(index, fault.detail, fault.pointer, fault.kind)

    def build_row_fault(self, complaint: FieldError, index: int) -> RowFault:
        """Build the fault of a list member from a validation error."""
        pointer = f"{self.build_pointer(index)}/{complaint.field}"
        return RowFault(index, format_reason(complaint), pointer, complaint.kind)

    def build_pointer(self, index: int) -> str:
        """Return the JSON pointer to a list member."""
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
                    f"The list has {len(found)} records. Send at most {MAX_RECORDS} in a request.",
                    f"#/{self.plural}",
                    "too_many",
                )
            )
        return found


def build_refusal(complaint: FieldError) -> Refusal:
    """Build the refusal of a single record from a validation error."""
    return Refusal.from_fault(RecordFault(format_reason(complaint), f"#/{complaint.field}", complaint.kind))


def read_parameters(call: HttpCall, allowed: frozenset[str]) -> dict[str, str]:
    """Read the query parameters; raise a refusal with 422 if one is unknown or repeated."""
    query = call.scope["query_string"]
    if not query:
        return {}
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= allowed:
        names = ", ".join(sorted(allowed))
        raise Refusal(422, f"Unknown or repeated query parameter. Allowed, each at most once: {names}.")
    return found


def _invalid_json(error: Exception) -> Refusal:
    return Refusal(400, f"The body is not valid JSON: {_describe_json_error(error)}")


def format_reason(complaint: FieldError) -> str:
    """Format a validation error as text."""
    return f"{complaint.field}: {complaint.reason}"


def _describe_json_error(error: Exception) -> str:
    """Describe what is wrong with JSON without repeating any of it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
