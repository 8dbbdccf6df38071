"""Messages of two masters and their houses, in any order, and what `npsrisk read` makes of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs
from support.messages import HOUSE, MASTER, change_message, changed, replace_houses

from consignments.identifiers import normalize_identifier
from consignments.messages.reading import ReadOptions, link_entries, parse_messages
from consignments.messages.sources import RawMessage
from consignments.messages.spool import Spool
from consignments.records import Consignment

HOUSE_TIME, MASTER_TIME = "2026-03-10T08:42:00+08:00", "2026-03-10T06:15:00+08:00"
FORWARDER = "BRIGHT HARBOUR LOGISTICS"
NUMBER, NAME = "160-48103823", "WHX26030917"
NUMBERS = (NUMBER, "160-48103834")
START = datetime(2026, 3, 10, tzinfo=UTC)
XML, TEXT = "application/xml", "text/plain"
LISTED_HOUSE = """<GrossWeightMeasure unitCode="KGM">2.5</GrossWeightMeasure>
<TotalPieceQuantity>1</TotalPieceQuantity><SummaryDescription>{goods}</SummaryDescription>
<TransportContractDocument><ID>{{}}</ID></TransportContractDocument>
<OriginLocation><ID>PVG</ID></OriginLocation><FinalDestinationLocation><ID>ICN</ID></FinalDestinationLocation>"""


@dataclass(frozen=True)
class Message:
    """A message, its media type, and when it comes."""

    content: bytes
    kind: str
    received_at: datetime


def write_time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def write_house(
    moment: datetime,
    number: str = NUMBER,
    name: str = NAME,
    who: str = "PARK JI HO",
    purpose: str = "Creation",
) -> bytes:
    """Write an XFZB that was issued at a time."""
    return change_message(
        HOUSE,
        (HOUSE_TIME, write_time(moment)), (NUMBER, number), (NAME, name), ("PARK JI HO", who), (">Creation<", f">{purpose}<"),
    )  # fmt: skip


def write_master(
    moment: datetime,
    number: str = NUMBER,
    stop: str = "HKG",
    purpose: str = "Creation",
    forwarder: str = FORWARDER,
) -> bytes:
    """Write an XFWB of a consolidation that was issued at a time."""
    return change_message(
        MASTER,
        (MASTER_TIME, write_time(moment)), (NUMBER, number), ("<ID>HKG</ID>", f"<ID>{stop}</ID>"), (">Creation<", f">{purpose}<"),
        (FORWARDER, forwarder),
    )  # fmt: skip


def write_manifest(
    moment: datetime, number: str = NUMBER, names: Sequence[str] = (NAME,), goods: str = "PIGMENT"
) -> bytes:
    """Write an XFHL that lists houses."""
    house = LISTED_HOUSE.format(goods=goods)
    listed = replace_houses("xfhl_manifest.xml", "IncludedHouseConsignment", house, names)
    return changed(listed, ("2026-03-10T08:00:00", write_time(moment)), ("160-48103834", number))


def write_house_list(number: str = NUMBER, names: Sequence[str] = (NAME,)) -> bytes:
    """Write an FHL that lists houses; it has no time of issue."""
    lines = [f"HBS/{name}/PVGICN/1/K1.85//PIGMENT SAMPLE" for name in names]
    return "\n".join(["FHL/4", f"MBI/{number}PVGICN/T87K412.5", *lines, ""]).encode()


def draw_messages(draw: random.Random, count: int) -> list[Message]:
    """Draw messages of two masters and three houses each: new, changed, late, repeated, listed and withdrawn ones."""
    found: list[Message] = []
    for place in range(count):
        received_at = START + timedelta(hours=place + 1)
        issued = received_at - timedelta(minutes=draw.choice((1, 5, 90, 200)))
        number, name = draw.choice(NUMBERS), draw.choice(("H1", "H2", "H3"))
        purpose = draw.choice(("Creation", "Creation", "Creation", "Deletion"))
        match draw.randrange(8):
            case 0 | 1:
                content, kind = write_house(issued, number, name, draw.choice(("KIM", "LEE")), purpose), XML
            case 2 | 3:
                stop, forwarder = draw.choice(("HKG", "TPE")), draw.choice((FORWARDER, "OTHER HARBOUR"))
                content, kind = write_master(issued, number, stop, purpose, forwarder), XML
            case 4:
                goods = draw.choice(("TEA", "TOYS"))
                content, kind = write_manifest(issued, number, ("H1", name), goods), XML
            case 5:
                content, kind = write_house_list(number, ("H2", name)), TEXT
            case _ if found:
                earlier = draw.choice(found)
                content, kind = earlier.content, earlier.kind
            case _:
                content, kind = write_house(issued, number, name), XML
        found.append(Message(content, kind, received_at))
    return found


def read_final(messages: Sequence[Message]) -> dict[str, dict[str, Any]]:
    """Read messages as `npsrisk read` does, each with its own time; give the version that counts of each consignment."""
    spool = Spool(None)
    for place, message in enumerate(messages):
        options = ReadOptions(message.received_at, now=message.received_at)
        spool.add(parse_messages([RawMessage(f"m{place}", message.content)], options))
    link_entries(spool)
    rows = [row.record for row in spool.rows.values()]
    spool.remove()
    return select_final(rows)


def select_final(rows: Sequence[Consignment]) -> dict[str, dict[str, Any]]:
    """Give the content of the version that counts, by identifier in normal form."""
    final: dict[str, Consignment] = {}
    for row in rows:
        name = normalize_identifier(row.consignment_id)
        before = final.get(name)
        if before is None or not (row.issued_at and before.issued_at and row.issued_at < before.issued_at):
            final[name] = row
    return {name: describe(row) for name, row in final.items()}


def describe(row: Consignment) -> dict[str, Any]:
    """Give the values of a row that say something, its identifier in normal form."""
    values = structs.asdict(row) | {"consignment_id": normalize_identifier(row.consignment_id)}
    return {name: value for name, value in values.items() if value is not None}
