"""Request reading: authorization, the body within its size limit, and the query parameters."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Receive

from serving.http.asgi import CLOSE_HEADERS, ClientDisconnected, HttpCall
from serving.http.auth import Authenticator, Caller
from serving.http.auth import Scope as KeyScope
from serving.http.problems import Refusal
from serving.http.protocol.compression import CompressionFault, InflatedTooLarge, inflate
from serving.http.protocol.records import MAX_RECORDS

DEFAULT_PAGE_LENGTH = 200
MAX_SEQUENCE_DIGITS = 18
BODY_SECONDS = 20.0
MAX_LARGE_BODIES = 8
"""Maximum memory of all bodies that arrive in several parts, in multiples of the largest body allowed."""
ENCODINGS = (b"gzip", b"x-gzip")
LOCAL_HOSTS = {b"localhost", b"127.0.0.1", b"[::1]"}
MAX_SMALL_BYTES = 65_536
"""Maximum size of an inflated body that is inflated at once, in the thread of the event loop."""
RETRY_HEADERS = CLOSE_HEADERS | {"retry-after": "1"}
JSON_TYPES = {b"application/json": "records as in /openapi.json"}


class Door:
    """The entry of all requests: authorizes clients, and reads bodies up to a size, and up to a size of all partly received ones."""

    def __init__(self, authenticator: Authenticator, limit: int) -> None:
        self.authenticator = authenticator
        self.limit, self._most_held, self._held = limit, MAX_LARGE_BODIES * limit, 0

    def accepts_host(self, host: bytes | None) -> bool:
        """Check the header Host: without API keys it must name this machine, against names that resolve to 127.0.0.1."""
        if host is None or not self.authenticator.open:
            return True
        name = host if host.endswith(b"]") else host.rpartition(b":")[0] or host
        return name.lower() in LOCAL_HOSTS

    def authorize(self, call: HttpCall, wanted: KeyScope) -> Caller:
        """Authenticate the client and check that it has a scope."""
        caller = self.authenticator.authenticate(call.headers.get(b"authorization"))
        call.caller = caller.name, caller.person
        caller.require(wanted)
        return caller

    def may_read(self, call: HttpCall) -> bool:
        """Check whether the client may see details; a missing or invalid key is no error here."""
        try:
            caller = self.authenticator.authenticate(call.headers.get(b"authorization"))
        except Refusal:
            return False
        return caller.may("read") and caller.offices is None

    async def read_body(self, call: HttpCall, kinds: Mapping[bytes, str] = JSON_TYPES) -> tuple[str, bytes]:
        """Read a body of one of some media types, and return its type and content, or refuse with 408, 413, 415 or 503."""
        given = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if given not in kinds:
            wanted = ", ".join(f"{name.decode()} ({what})" for name, what in kinds.items())
            raise Refusal(415, f"The header Content-Type must be one of: {wanted}.")
        encoding = call.headers.get(b"content-encoding", b"").strip().lower()
        if encoding in (b"", b"identity"):
            return given.decode(), await self._receive(call)
        if encoding not in ENCODINGS:
            detail = "The header Content-Encoding must be gzip, or missing."
            raise Refusal(415, detail, headers={"accept-encoding": "gzip"})
        return given.decode(), await self._inflate(call, await self._receive(call))

    async def _inflate(self, call: HttpCall, body: bytes) -> bytes:
        """Inflate a body; a large one in another thread, and counted as held until its request ends."""
        small = min(MAX_SMALL_BYTES, self.limit)
        try:
            try:
                return inflate(body, small)
            except InflatedTooLarge:
                if small == self.limit:
                    raise
            self._hold(self.limit)
            call.at_end = partial(self._hold, -self.limit)
            return await asyncio.to_thread(inflate, body, self.limit)
        except CompressionFault as fault:
            raise Refusal(400, f"The body is not valid gzip: {fault}.") from None
        except InflatedTooLarge:
            raise self._too_large() from None

    def _hold(self, count: int) -> None:
        """Count bytes that are held in memory."""
        if self._held + count > self._most_held:
            raise Refusal(503, "Too many large bodies at once. Try again.", headers=RETRY_HEADERS)
        self._held += count

    async def _receive(self, call: HttpCall) -> bytes:
        length = call.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self.limit:
            raise self._too_large()
        message = await call.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > self.limit:
                raise self._too_large()
            return body
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._receive_rest(message, call.receive)
        except TimeoutError:
            detail = f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
            raise Refusal(408, detail, headers=CLOSE_HEADERS) from None

    async def _receive_rest(self, message: Any, receive: Receive) -> bytes:
        body, held = bytearray(), 0
        try:
            while message["type"] != "http.disconnect":
                part = message.get("body", b"")
                if len(body) + len(part) > self.limit:
                    raise self._too_large()
                self._hold(len(part))
                held += len(part)
                body += part
                if not message.get("more_body"):
                    return bytes(body)
                message = await receive()
            raise ClientDisconnected
        finally:
            self._held -= held

    def _too_large(self) -> Refusal:
        detail = f"The body exceeds {self.limit} bytes. Send a shorter list, or raise NPSRISK_MAX_BODY_BYTES."
        return Refusal(413, detail)


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
