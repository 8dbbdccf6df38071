"""Links between the messages of masters and houses, as a service keeps them from one request to the next.

A master that has come is kept for the houses that follow; a house is kept for the masters that follow. Each link is the whole
of what is known of one master or one house, so the latest link of each counts.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec


class HouseLink(msgspec.Struct, frozen=True, array_like=True, tag="h", gc=False):
    """A house or item that came as a message and has a master."""

    consignment_id: str
    masters: tuple[str, ...]
    digest: bytes
    content: bytes
    marks: tuple[bytes, ...]
    filled: tuple[str, ...] = ()


class MasterLink(msgspec.Struct, frozen=True, array_like=True, tag="m", gc=False):
    """A master waybill or receptacle."""

    number: str
    fields: dict[str, str] | None
    issued_at: datetime | None
    stands: bool
    members: tuple[str, ...]


Link = HouseLink | MasterLink
pack_link: Callable[[Link], bytes] = msgspec.msgpack.Encoder().encode
unpack_link: Callable[[bytes], Link] = msgspec.msgpack.Decoder(Link).decode
