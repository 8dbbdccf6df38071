"""Messages spoilt at random in the ways that senders and attackers spoil them, and the claim about every reader."""

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any

import msgspec
from support.messages import MESSAGES, check_quality

from consignments.errors import MessageFault
from consignments.messages.content.trees import decode_head
from consignments.messages.kinds import find_tested_kind
from consignments.messages.onerecord.waybills import read_one_record
from consignments.messages.parsed import (
    Declaration,
    Ignored,
    MasterDetails,
    MessageContext,
    Parsed,
    StateRow,
)
from consignments.messages.post.edifact import read_edifact
from consignments.messages.post.ics2 import read_ics2, read_ics2_response
from consignments.messages.post.mapped import read_mapped
from consignments.messages.post.mapping import load_mapping
from consignments.messages.post.postal import read_postal
from consignments.messages.quality import QUALITY_CODES
from consignments.records import Consignment, Item
from training.simulation.messages.one_record import write_one_record

MAPPING = load_mapping(MESSAGES / "itmatt.toml")
READERS = {
    "ICS2": read_ics2,
    "ICS2 answer": read_ics2_response,
    "postal": read_postal,
    "ONE Record": read_one_record,
    "EDIFACT": read_edifact,
    "segment map": lambda content, context: read_mapped(content, context, MAPPING),
}
TOKENS = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\u202e".encode(), "\u200b".encode(), "\ufeff".encode(), b"1e999", b"-1", b"NaN",
    b"Infinity", b"0000-00-00T00:00:00Z", b"9999-12-31T23:59:59-14:00", b"0001-01-01T00:00:00+14:00", b"174,5", b"25 PCS", b"9" * 400,
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"&#x1F600;", b"<![CDATA[", b"]]>", b"<!--", b"<a>" * 300, b"</a>", b"{", b"}", b"[" * 300,
    b"]", b'"', b"\\", b"\\ud800", b"null", b"true", b"[]", b"{}", b":", b",", b"'", b"+", b"?", b"UNH+1+ITMATT'", b"GID+1'", b'"@id":"a",', b'"@type":"Waybill",',
    b"A" * 5000, b"\r\n", b"\t", b"<Item><ItemId>", b'xmlns:i="u"', b"\xe9", b"/Date(99999999999999999)/",
]  # fmt: skip
DIGITS = b"0123456789"
VALUE = re.compile(rb">([^<>]+)<|: ?(\"[^\"]*\"|[0-9.]+)|\\+([^+:']+)")
"""A text of XML, a value of JSON, a component of EDIFACT."""
VALUES = [b"1e999", b"-1", b"NaN", b"174,5", b"25 PCS", b"9" * 400, b"0", b"0.0000000001", b"1e12", b"XXX", b"gift", b"", b" ", b"\xe2\x80\xae", b"\xe2\x80\x8b",
    b"0000-00-00", b"9999-12-31T23:59:59-14:00", b"0001-01-01T00:00:00+14:00", b"KOREA", b"ZZZ", b"null", b"true", b"\xea\xb9\x80", b"&amp;", b"A" * 3000,
    b"18012345675", b"180-12345675/H9", b"RB123456785GB", b"RFI", b"DNL", b"31", b"USD", b"IE3F43", b"cargo:MASTER", b"urn:s", b"https://x.example/a#b"]  # fmt: skip


def load_seeds() -> list[bytes]:
    """The example messages of these readers, and two ONE Record documents."""
    names = [*MESSAGES.glob("ics2_f*.xml"), *MESSAGES.glob("[cp]*.json"), *MESSAGES.glob("*.edi")]
    names += [MESSAGES / name for name in ("cds_view.xml", "flat_itmatt.xml", "sku_list.xml")]
    record = Consignment(
        "180-12345675/H1", "air_cargo", master_id="180-12345675", sender_name="Ann", consignee_name="Kim", consignee_country="KR",
        route="PVG>HKG>ICN", description="tea", items=(Item("tea", 2.0, 0.1, 5.0, "090210", "CN"),), pieces=2.0, gross_weight_kg=1.5,
        declared_value=10.0, currency="USD", payment="card", account_opened_on=date(2023, 1, 20),
    )  # fmt: skip
    document = write_one_record(record)
    responses = [
        b"<IE3Q02><documentIssueDate>2026-03-10T09:15:00Z</documentIssueDate><MRN>26DE1</MRN><referralRequestDetails><requestType>RFI</requestType>"
        b"<transportDocumentHouse><documentNumber>H1</documentNumber></transportDocumentHouse></referralRequestDetails></IE3Q02>",
        b"<CC351A><HEAHEA><DocNumHEA5>26DE</DocNumHEA5></HEAHEA><X>A001</X></CC351A>",
    ]
    graph = b'{"@context":{"id":"@id"},"@graph":[{"id":"urn:w","@type":"Waybill","shipment":{"id":"urn:s"}},{"id":"urn:s","@type":"Shipment","pieces":[{"id":"urn:p"}]},{"id":"urn:p","@type":"Piece","goodsDescription":"tea"}]}'
    return [*(path.read_bytes() for path in sorted(names)), document, graph, *responses]


def mutate(content: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    """Spoil a message one to four times."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(16):
            case 0:
                data[at:at] = chance.choice(TOKENS)
            case 1:
                del data[at : at + chance.randint(1, 200)]
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                end = at + chance.randint(1, 400)
                data[at:at] = data[at:end] * chance.randint(1, 3)
            case 4:
                data = data[:at]
            case 5:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                data[at:at] = other[start : start + chance.randint(1, 300)]
            case 6:
                places = [place for place, byte in enumerate(data) if byte in DIGITS]
                if places:
                    data[(place := chance.choice(places)) : place + 1] = chance.choice(TOKENS[7:17])
            case 7:
                data = bytearray(
                    bytes(data).replace(
                        chance.choice((b'"', b">", b":", b"'", b"+")), chance.choice((b"", b" ", b"\0")), 1
                    )
                )
            case 8:
                data = bytearray(
                    bytes(data)
                    .decode("utf-8", "replace")
                    .encode(chance.choice(("utf-16", "latin-1", "utf-8")), "replace")
                )
            case _:
                data = bytearray(replace_value(bytes(data), chance))
    return bytes(data)


def replace_value(content: bytes, chance: random.Random) -> bytes:
    """Put another value in the place of one, so that the message stays well formed."""
    found = list(VALUE.finditer(content))
    if not found:
        return content
    match = chance.choice(found)
    group = match.lastindex or 0
    value = chance.choice(VALUES)
    if group == 2 and chance.random() < 0.8:
        value = b'"' + value + b'"'
    return content[: match.start(group)] + value + content[match.end(group) :]


def iterate_mutations(seed: int) -> Iterator[tuple[bytes, set[str]]]:
    """Spoilt messages without end, with the reader that detection chooses and another one; the same for the same seed."""
    chance, seeds = random.Random(seed), load_seeds()
    while True:
        content = mutate(chance.choice(seeds), chance, seeds)
        detected = find_tested_kind(content)
        names = {
            chance.choice(list(READERS)),
            *([detected.name] if detected and detected.name in READERS else []),
        }
        if detected and detected.name == "EDIFACT":
            names.add("segment map")
        yield content, names


def check_readers(content: bytes, found: Counter[str], names: Iterable[str] = tuple(READERS)) -> None:
    """Claim that readers give usable values or a fault, whatever they read."""
    decode_head(content)
    for name in names:
        try:
            for parsed in READERS[name](content, MessageContext("test")):
                check_parsed(parsed)
                found[f"{name}: {type(parsed).__name__}"] += 1
        except MessageFault:
            found[f"{name}: fault"] += 1


def check_parsed(parsed: Parsed) -> None:
    """Claim that a value can become a row: texts are Unicode, numbers finite and not negative, times within reach."""
    if isinstance(parsed, Declaration):
        fields = parsed.fields
        assert fields["consignment_id"]
        assert fields["channel"] in ("postal", "air_cargo")
        assert set(parsed.quality) <= QUALITY_CODES.keys()
        check_values(fields)
        check_quality(fields)
        assert parsed.issued_at is None or parsed.issued_at.tzinfo is not None
    elif isinstance(parsed, MasterDetails):
        assert parsed.number
        check_values(parsed.fields)
    elif isinstance(parsed, StateRow):
        assert parsed.consignment_id
        msgspec.json.encode(parsed)
    elif isinstance(parsed, MessageFault):
        assert str(parsed)
    else:
        assert isinstance(parsed, Ignored)
        assert parsed.kind


def check_values(value: Any) -> None:
    if isinstance(value, dict):
        for part in value.values():
            check_values(part)
    elif isinstance(value, list):
        for part in value:
            check_values(part)
    elif isinstance(value, float):
        assert math.isfinite(value)
        assert value >= 0
    elif isinstance(value, str):
        assert value == value.strip() != ""
        value.encode()
        assert "\0" not in value
    else:
        assert value is None or isinstance(value, date | datetime)
