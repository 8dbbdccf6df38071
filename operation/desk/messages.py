"""Requests to the process that renders pages, and its answers, as MessagePack with a length in front."""

from typing import Any

import msgspec


class Viewer(msgspec.Struct, frozen=True):
    """The person who looks at a page.

    Attributes
    ----------
    key : str
        Name of the API key.
    person : str
        Name of the person; of the key if it names none.
    scopes : tuple of str
    offices : tuple of str or None
        Offices whose consignments may be shown; None for all.
    """

    key: str
    person: str
    scopes: tuple[str, ...]
    offices: tuple[str, ...] | None = None

    def may(self, scope: str) -> bool:
        """Check whether the key has a scope."""
        return scope in self.scopes

    def may_see(self, office: str | None) -> bool:
        """Check whether consignments of an office may be shown."""
        return self.offices is None or office in self.offices


class PageRequest(msgspec.Struct, frozen=True):
    """A page to render.

    Attributes
    ----------
    view : str
        Name of the page, for example `list`.
    query : dict
        Parameters of the page.
    viewer : Viewer or None
        None before the person has signed in.
    token : str
        Token against forged requests, for the forms of the page.
    now_us : int
        Current time of the service, in microseconds since the epoch.
    facts : dict
        Values that only the service knows, for example the model in use.
    """

    view: str
    query: dict[str, str]
    viewer: Viewer | None
    token: str
    now_us: int
    facts: dict[str, Any] = {}


class PageAnswer(msgspec.Struct, frozen=True):
    """A rendered page.

    Attributes
    ----------
    status : int
        HTTP status.
    html : bytes
    error : str
        For the log: the fault because of which the page could not be rendered; empty if there was none.
    """

    status: int
    html: bytes
    error: str = ""


DOCUMENTS = "documents"
"""View of the documents that an officer approves. Its answer is JSON, for the service."""
LENGTH_BYTES = 4
MAX_MESSAGE_BYTES = 64_000_000
encode_request = msgspec.msgpack.Encoder().encode
encode_answer = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(PageRequest).decode
decode_answer = msgspec.msgpack.Decoder(PageAnswer).decode


def add_length(message: bytes) -> bytes:
    """Return a message with its length in front."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message
