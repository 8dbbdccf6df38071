"""Messages that only a mapping can read: declarations of the WCO data model and of EDIFACT are refused, others named."""

import re
from collections.abc import Iterator

from consignments.messages.configuration import load_table
from consignments.messages.content.trees import decode_head
from consignments.messages.parsed import Ignored, MessageContext, Parsed, build_mapping_fault
from consignments.messages.post.edifact import find_message_type

WCO_ROOT = re.compile(
    r"<(?:[\w.\-]+:)?(?:MetaData|Declaration)\b[^<>]*urn:wco:datamodel:WCO:(?!CIS)", re.DOTALL
)
DECLARED_GOODS = re.compile(
    rb"<(?:[\w.\-]+:)?(?:GoodsShipment|GovernmentAgencyGoodsItem|Consignment|ConsignmentItem)\b"
)


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
    table = load_table("post/edifact")
    types: dict[str, str] = table["types"]
    if kind in table["goods"]:
        raise build_mapping_fault(f"EDIFACT {kind}")
    meaning = types.get(kind, "a message that is not of post")
    yield Ignored(f"EDIFACT {kind}", f"{meaning}; it is read by a segment map in a mapping file only")
