"""Request reading: authorization, the body within its size limit, and its records (one, or a list)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive

from serving.http.asgi import ClientDisconnected, HttpCall
from serving.http.auth import Authenticator, Caller, names_this_machine
from serving.http.auth import Scope as KeyScope
from serving.http.problems import (
    MAX_NAME_CHARACTERS,
    RecordFault,
    Refusal,
    RowFault,
    build_fault,
    escape_step,
)
from serving.http.protocol.compression import CompressionFault, InflatedTooLarge, inflate
from serving.http.protocol.record_faults import list_record_faults
from serving.http.protocol.repeated_keys import find_repeated_key, is_only_value
from serving.process.clock import Clock
from serving.process.settings import Settings
from serving.scoring.intake import FieldError

MAX_RECORDS = 1000
DEFAULT_PAGE_LENGTH = 200
MAX_SEQUENCE_DIGITS = 18
BODY_SECONDS = 20.0
"""Maximum seconds to receive a body."""
MAX_LARGE_BODIES = 8
"""Maximum memory of all bodies that arrive in several parts, in multiples of the largest body allowed."""
ENCODINGS = (b"gzip", b"x-gzip")
MAX_SMALL_BYTES = 65_536
"""Maximum size of an inflated body that is inflated at once, in the thread of the event loop."""
CLOSE_HEADERS = {"connection": "close"}
RETRY_HEADERS = CLOSE_HEADERS | {"retry-after": "1"}
Record = TypeVar("Record")


JSON_TYPES = {b"application/json": "JSON"}


class RequestBody(NamedTuple):
    """Body of a request: media type and content."""

    kind: str
    content: bytes


class BodyReader:
    """A reader of request bodies with a size limit for each body, and one for all partly received bodies together."""

    def __init__(self, limit: int) -> None:
        self.limit, self._most_held, self._held = limit, MAX_LARGE_BODIES * limit, 0

    async def read_json(self, call: HttpCall) -> bytes:
        """Read a JSON body, as `read` does."""
        return (await self.read(call, JSON_TYPES)).content

    async def read(self, call: HttpCall, kinds: Mapping[bytes, str]) -> RequestBody:
        """Read a body of one of some media types; refusals with 415, 413, 408 if it takes too long, and 503 for too many large ones."""
        given = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if given not in kinds:
            wanted = ", ".join(f"{name.decode()} ({what})" for name, what in kinds.items())
            raise Refusal(415, f"The header Content-Type must be one of: {wanted}.")
        return RequestBody(given.decode(), await self._read_content(call))

    async def _read_content(self, call: HttpCall) -> bytes:
        """Receive the content of a body, and inflate it if it is compressed."""
        encoding = call.headers.get(b"content-encoding")
        if encoding is None or encoding.strip().lower() in (b"", b"identity"):
            return await self._receive(call)
        if encoding.strip().lower() not in ENCODINGS:
            raise Refusal(
                415,
                "The header Content-Encoding must be gzip, or missing.",
                headers={"accept-encoding": "gzip"},
            )
        compressed = await self._receive(call)
        try:
            return await self._inflate(call, compressed)
        except CompressionFault as fault:
            raise Refusal(400, f"The body is not valid gzip: {fault}.") from None
        except InflatedTooLarge:
            raise self._too_large() from None

    async def _inflate(self, call: HttpCall, body: bytes) -> bytes:
        """Inflate a body; a large one in another thread, and counted as held until its request ends."""
        small = min(MAX_SMALL_BYTES, self.limit)
        try:
            return inflate(body, small)
        except InflatedTooLarge:
            if small == self.limit:
                raise
        if self._held + self.limit > self._most_held:
            raise Refusal(503, "Too many large bodies at once. Try again.", headers=RETRY_HEADERS)
        self._held += self.limit
        call.at_end = partial(self._release, self.limit)
        return await asyncio.to_thread(inflate, body, self.limit)

    def _release(self, count: int) -> None:
        self._held -= count

    async def _receive(self, call: HttpCall) -> bytes:
        length = call.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self.limit:
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
        if len(body) > self.limit:
            raise self._too_large()
        return body  # type: ignore[return-value]

    def _too_large(self) -> Refusal:
        detail = f"The body exceeds {self.limit} bytes. Send a shorter list, or raise NPSRISK_MAX_BODY_BYTES."
        return Refusal(413, detail)


class Door:
    """The entry of all requests: authorizes clients and reads their bodies."""

    def __init__(self, authenticator: Authenticator, bodies: BodyReader) -> None:
        self.authenticator, self.bodies = authenticator, bodies
        self.read_json, self.read_body = bodies.read_json, bodies.read

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock) -> "Door":
        """Build the entry from the settings, which name the API key file and the size limit."""
        authenticator = Authenticator(settings.api_keys_file, settings.rate_limit, clock)
        return cls(authenticator, BodyReader(settings.max_body_bytes))

    def accepts_host(self, host: bytes | None) -> bool:
        """Check the header Host: without API keys, it must name this machine."""
        return not self.authenticator.open or names_this_machine(host)

    def authorize(self, call: HttpCall, wanted: KeyScope) -> Caller:
        """Authenticate the client and check that it has a scope."""
        caller = self.authenticator.authenticate(call.headers.get(b"authorization"))
        call.caller = caller
        caller.require(wanted)
        return caller

    def may_read(self, call: HttpCall) -> bool:
        """Check whether the client may see details; a missing or invalid key is no error here."""
        try:
            caller = self.authenticator.authenticate(call.headers.get(b"authorization"))
        except Refusal:
            return False
        return caller.may("read") and caller.offices is None


class SingleRecordReader(Generic[Record]):
    """A reader of bodies that are one record."""

    def __init__(self, record: type[Record]) -> None:
        self._record: type[Any] = record
        self._decode = msgspec.json.Decoder(record).decode

    def read(self, body: bytes) -> Record:
        """Decode the body; raise a refusal with 400 if it is not JSON, and 422 if it is not a valid record."""
        try:
            return _decode_body(self._decode, body)
        except msgspec.ValidationError as error:
            raise _build_record_refusal(body, self._record, error) from None


class RecordReader(Generic[Record]):
    """A reader of bodies that hold records of one kind: one object, or a list under the plural name, such as `consignments`."""

    def __init__(self, record: type[Record], plural: str) -> None:
        self.plural = plural
        self._record: type[Any] = record
        self._decode = msgspec.json.Decoder(record).decode
        self._decode_members = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]
        fields: list[Any] = [(plural, list[msgspec.Raw])]
        self._decode_list = msgspec.json.Decoder(
            msgspec.defstruct("List", fields, forbid_unknown_fields=True)
        ).decode
        probe: list[Any] = [(plural, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)]
        self._probe = msgspec.json.Decoder(msgspec.defstruct("Probe", probe)).decode

    def read(self, body: bytes) -> Record | list[msgspec.Raw]:
        """Decode the body to one record, or to a list that `read_members` decodes; a refusal with 400 or 422 if it is neither."""
        try:
            return _decode_body(self._decode, body)
        except msgspec.ValidationError as error:
            return self._read_list(body, error)

    def read_members(self, raws: Sequence[msgspec.Raw], first: int) -> list[Record | RowFault]:
        """Decode some members of a list, from place `first` on; return the record of each, or its fault."""
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            together = b"[" + b",".join(raws) + b"]"
            found: list[Record | RowFault] = self._decode_members(together)
            if find_repeated_key(together) is None:
                return found
        return [self._read_member(raw, index) for index, raw in enumerate(raws, first)]

    def _read_member(self, raw: msgspec.Raw, index: int) -> Record | RowFault:
        root = self.build_pointer(index)
        try:
            found = self._decode(raw)
            repeated = find_repeated_key(raw)
        except msgspec.ValidationError as error:
            return RowFault.from_faults(
                index, list_record_faults(raw, self._record, root) or [build_fault(error, root)]
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            detail = _describe_json_error(error, bytes(raw)) + " of this record"
            return RowFault(index, detail, root, "not_json")
        if repeated is None:
            return found
        return RowFault.from_faults(index, [_build_repeated_fault(repeated, root)])

    def build_row_fault(self, complaints: FieldError | Sequence[FieldError], index: int) -> RowFault:
        """Build the fault of a list member from its validation errors."""
        return RowFault.from_faults(index, _build_faults(complaints, self.build_pointer(index)))

    def build_pointer(self, index: int) -> str:
        """Return the JSON pointer to a list member."""
        return f"#/{self.plural}/{index}"

    def _find_members(self, body: bytes) -> msgspec.Raw | None:
        """Return the value under the plural name; None if the body has none."""
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = getattr(self._probe(body), self.plural)
            return None if found is msgspec.UNSET else found
        return None

    def _read_list(self, body: bytes, as_record: msgspec.ValidationError) -> list[msgspec.Raw]:
        """Decode a body to a list; `as_record` is why it is no record."""
        members = self._find_members(body)
        try:
            found: list[msgspec.Raw] = getattr(self._decode_list(body), self.plural)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if isinstance(error, msgspec.ValidationError) and members is not None:
                raise Refusal.from_fault(build_fault(error)) from None
            raise _build_record_refusal(body, self._record, as_record) from None
        if len(found) > MAX_RECORDS:
            raise Refusal.from_fault(
                RecordFault(
                    f"The list has {len(found)} records. Send at most {MAX_RECORDS} in a request.",
                    f"#/{self.plural}",
                    "too_many",
                )
            )
        if members is None or not is_only_value(body, members):
            raise Refusal.from_fault(_build_repeated_fault(self.plural, "#"))
        return found


def _decode_body(decode: Callable[[bytes], Record], body: bytes) -> Record:
    """Decode a body to a record; raise a refusal if it is not JSON or repeats a key, and `ValidationError` if it is another record."""
    try:
        found = decode(body)
        repeated = find_repeated_key(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid_json(error, body) from None
    if repeated is not None:
        raise Refusal.from_fault(_build_repeated_fault(repeated, "#"))
    return found


def build_refusal(complaints: FieldError | Sequence[FieldError]) -> Refusal:
    """Build the refusal of a single record from its validation errors."""
    return Refusal.from_faults(_build_faults(complaints, "#"))


def _build_faults(complaints: FieldError | Sequence[FieldError], root: str) -> list[RecordFault]:
    listed = [complaints] if isinstance(complaints, FieldError) else complaints
    return [RecordFault(format_reason(each), f"{root}/{each.field}", each.kind) for each in listed]


def _build_record_refusal(body: bytes, record: type[Any], error: msgspec.ValidationError) -> Refusal:
    return Refusal.from_faults(list_record_faults(body, record) or [build_fault(error)])


def _build_repeated_fault(key: str, root: str) -> RecordFault:
    name = key[:MAX_NAME_CHARACTERS]
    return RecordFault(
        f"The field `{name}` occurs twice in one object. Send it once.",
        f"{root}/{escape_step(name)}", "repeated_field",
    )  # fmt: skip


class PageOptions(NamedTuple):
    """The query parameters of a page: the sequence number after which it begins, and its maximum length."""

    after: int = 0
    limit: int = DEFAULT_PAGE_LENGTH


def read_page_options(call: HttpCall) -> PageOptions:
    """Read the query parameters `after` and `limit`; raise a refusal with 422 if one is not valid."""
    found = read_parameters(call.query, frozenset({"after", "limit"}))
    after = parse_number(found.get("after", "0"))
    if after is None:
        raise Refusal(422, "Query parameter after must be the sequence number of a log entry, from 0.")
    limit = parse_number(found.get("limit", str(DEFAULT_PAGE_LENGTH)))
    if limit is None or not 1 <= limit <= MAX_RECORDS:
        raise Refusal(422, f"Query parameter limit must be an integer from 1 to {MAX_RECORDS}.")
    return PageOptions(after, limit)


def parse_number(text: str) -> int | None:
    """Parse a number of ASCII digits; return None if it is none, or too long for a sequence number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_SEQUENCE_DIGITS else None


def read_parameters(query: bytes, allowed: frozenset[str]) -> dict[str, str]:
    """Read the parameters of a query string; raise a refusal with 422 if one is unknown or repeated."""
    if not query:
        return {}
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= allowed:
        names = ", ".join(sorted(allowed))
        raise Refusal(422, f"Unknown or repeated query parameter. Allowed, each at most once: {names}.")
    return found


def _invalid_json(error: Exception, body: bytes) -> Refusal:
    return Refusal(400, f"The body is not valid JSON: {_describe_json_error(error, body)}")


def format_reason(complaint: FieldError) -> str:
    """Format a validation error as text."""
    return f"{complaint.field}: {complaint.reason}"


def _describe_json_error(error: Exception, body: bytes) -> str:
    """Describe what is wrong with JSON without repeating any of it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {_find_bad_byte(body)}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _find_bad_byte(body: bytes) -> int:
    """Find the first byte that is not UTF-8. The decoder counts from the start of a text within the body."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(body)
