"""The formats of post, ICS2 and ONE Record: how each is detected and what reads it, and those that are only named.

The frame asks `find_post_format` with the beginning of a message. A mapping file comes before all of them if `matches_mapping`.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consignments.messages.content.paths import compile_path
from consignments.messages.content.trees import decode_head, has_name
from consignments.messages.onerecord.waybills import looks_like_one_record
from consignments.messages.parsed import Ignored, MessageContext, Parsed, build_mapping_fault
from consignments.messages.post.configuration import load_table
from consignments.messages.post.edifact import find_message_type, looks_like_edifact
from consignments.messages.post.ics2 import looks_like_ics2
from consignments.messages.post.ics2_responses import looks_like_ics2_response
from consignments.messages.post.mapping import LITERAL, MessageMapping
from consignments.messages.post.postal import looks_like_postal

WCO_ROOT = re.compile(
    r"<(?:[\w.\-]+:)?(?:MetaData|Declaration)\b[^<>]*urn:wco:datamodel:WCO:(?!CIS)", re.DOTALL
)
DECLARED_GOODS = re.compile(
    rb"<(?:[\w.\-]+:)?(?:GoodsShipment|GovernmentAgencyGoodsItem|Consignment|ConsignmentItem)\b"
)
MIN_SHARE_OF_NAMES = 0.5
"""A mapping without `detect` is for messages that have at least this share of the names its paths end in."""


class MessageFormat(NamedTuple):
    """One format."""

    name: str
    looks_like: Callable[[bytes], bool]
    reader: str
    is_streamed: bool = False


def looks_like_wco(head: bytes) -> bool:
    """Check whether a message begins like a declaration of the WCO data model."""
    return WCO_ROOT.search(decode_head(head)) is not None


def read_wco(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Name a message of the WCO data model; one that declares goods is refused, because only a mapping can read it."""
    del context
    if DECLARED_GOODS.search(content) is not None:
        raise build_mapping_fault("a declaration of the WCO data model")
    yield Ignored("WCO DM", "a message of the WCO data model without goods")


def read_edifact(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Name an EDIFACT message; one that declares goods is refused, because only a mapping can read it."""
    del context
    kind = find_message_type(content) or "interchange"
    table = load_table("edifact")
    types: dict[str, str] = table["types"]
    if kind in table["goods"]:
        raise build_mapping_fault(f"EDIFACT {kind}")
    meaning = types.get(kind, "a message that is not of post")
    yield Ignored(f"EDIFACT {kind}", f"{meaning}; it is read by a segment map in a mapping file only")


FORMATS = (
    MessageFormat("ICS2", looks_like_ics2, "consignments.messages.post.ics2:read_ics2", is_streamed=True),
    MessageFormat(
        "ICS2 answer",
        looks_like_ics2_response,
        "consignments.messages.post.ics2_responses:read_ics2_response",
    ),
    MessageFormat("WCO DM", looks_like_wco, "consignments.messages.post.formats:read_wco", is_streamed=True),
    MessageFormat(
        "postal", looks_like_postal, "consignments.messages.post.postal:read_postal", is_streamed=True
    ),
    MessageFormat(
        "ONE Record", looks_like_one_record, "consignments.messages.onerecord.waybills:read_one_record"
    ),
    MessageFormat(
        "EDIFACT", looks_like_edifact, "consignments.messages.post.formats:read_edifact", is_streamed=True
    ),
)
"""In the order in which they are tried."""


def find_post_format(head: bytes) -> MessageFormat | None:
    """Find the format of a message by its first bytes, 65,536 or all of it; None if it is none of these.

    Examples
    --------
    >>> find_post_format(b"UNH+1+ITMATT:1:912:UP'").name, find_post_format(b"FWB/16")
    ('EDIFACT', None)
    """
    return next((each for each in FORMATS if each.looks_like(head)), None)


def matches_mapping(head: bytes, mapping: MessageMapping) -> bool:
    """Check whether a message is one that a mapping file is for: by its names in `detect`, else by the names of its paths."""
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    start = text[:1000].lstrip("\ufeff \t\r\n\0")
    if mapping.format == "edifact" or looks_like_edifact(head):
        types = mapping.segments.get("types", ())
        kinds = (types,) if isinstance(types, str) else types
        return (
            mapping.format == "edifact"
            and looks_like_edifact(head)
            and (not kinds or find_message_type(head) in kinds)
        )
    if mapping.format == "xml" and not start.startswith("<"):
        return False
    if mapping.format == "json" and start[:1] not in ("{", "["):
        return False
    if mapping.format == "csv" or start[:1] not in ("<", "{", "["):
        names, header = list_path_names(mapping), start.partition("\n")[0].lower()
        return (
            mapping.format == "csv"
            and sum(name in header for name in names) >= len(names) * MIN_SHARE_OF_NAMES
        )
    if mapping.detect:
        return any(all(has_name(text, name) for name in names.split()) for names in mapping.detect)
    names = list_path_names(mapping)
    found = sum(has_name(text, name) for name in names)
    return found > 0 and found >= len(names) * MIN_SHARE_OF_NAMES


def list_path_names(mapping: MessageMapping) -> list[str]:
    """List the names that the paths of a mapping end in."""
    sources = (*mapping.record.values(), *mapping.items.values())
    paths = [
        path for source in sources for part in source.parts for path in part if not path.startswith(LITERAL)
    ]
    ends = [
        alternative.steps[-1].name
        for path in paths
        for alternative in compile_path(path)[:1]
        if alternative.steps
    ]
    return list(dict.fromkeys(name.removeprefix("@") for name in ends if name != "*"))
