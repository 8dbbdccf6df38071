"""The readers of air cargo by what a message is: the root of an XML message, or the first code of another."""

from collections.abc import Callable, Iterator

from consignments.errors import MessageFault
from consignments.messages.air.customs_status import read_customs_status, read_response
from consignments.messages.air.house_manifest import read_house_manifest
from consignments.messages.air.house_waybill import read_house_waybill
from consignments.messages.air.waybill import read_air_waybill
from consignments.messages.parsed import MessageContext, Parsed
from consignments.messages.xml_parsing import Element, get_local_name, parse_xml

XmlReader = Callable[[Element, MessageContext], Iterator[Parsed]]

XML_READERS: dict[str, XmlReader] = {
    "HouseWaybill": read_house_waybill,
    "Waybill": read_air_waybill,
    "HouseManifest": read_house_manifest,
    "CustomsStatusNotification": read_customs_status,
    "Response": read_response,
}
"""By the local name of the root."""


def read_cargo_xml(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a Cargo-XML message of any kind that holds goods or answers."""
    root = parse_xml(content, context.notes)
    name = get_local_name(root.tag)
    reader = XML_READERS.get(name)
    if reader is None:
        raise MessageFault("unknown kind of message", got=name[:60], expected=", ".join(XML_READERS))
    yield from reader(root, context)
