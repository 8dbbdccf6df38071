"""Requests to the process that renders pages, and its answers, as MessagePack."""

from typing import Any

import msgspec


class Viewer(msgspec.Struct, frozen=True):
    """The person who looks at a page: name of the API key, name of the person, scopes, and offices, or None for all."""

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
    """A page to render: its view, its parameters, the token of its forms, the time, and values that only the service knows."""

    view: str
    query: dict[str, str]
    viewer: Viewer | None
    token: str
    now_us: int
    facts: dict[str, Any] = {}


class PageAnswer(msgspec.Struct, frozen=True):
    """A rendered page; `preparing` if the browser is to ask again. `error` is for the log: the fault because of which there is no page."""

    status: int
    html: bytes
    error: str = ""
    preparing: bool = False


DOCUMENTS = "documents"
"""View of the documents that an officer approves. Its answer is JSON, for the service."""
encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(PageRequest).decode
decode_answer = msgspec.msgpack.Decoder(PageAnswer).decode
