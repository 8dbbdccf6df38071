"""Hostile and broken messages: no crash, no hang, no unbounded memory; each gives consignments, answers, a name, or a reject.

The long run (`make slow`) mutates every message of the tests 200,000 times in all.
"""

import json
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.messages import MESSAGES, read_messages

from consignments.messages.content.trees import find_root
from consignments.messages.post.mapping import load_mapping
from consignments.messages.quality import QUALITY_CODES
from consignments.messages.reading import ReadOptions, parse_messages
from consignments.messages.sources import RawMessage, split_messages
from consignments.records import Consignment
from consignments.tables import build_frame, check_frame

SEEDS = sorted(path for path in MESSAGES.iterdir() if path.is_file() and path.suffix != ".toml")
SLOW_CASES = 200_000
MAX_SECONDS = 1.0
"""A message of the size of the tests' takes some milliseconds; a hang takes for ever."""
FRAGMENTS = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"<", b">", b"&", b"&#0;", b"&#x202e;", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>",
    b"{", b"[", b"}", b"\"", b"/", b"//", b"\n", b"\r\n", b"\n\n", b"-", b"1e999", b"-1", b"NaN", b"174,5", b"9" * 400, b"A" * 5000,
    b"0000-00-00T00:00:00", b"9999-12-31T23:59:59+14:00", b"\xe2\x80\xae", b"\xe2\x80\x8b", b"\xed\xa0\x80", b"HBS/", b"OCI/",
    b"RTD/1/P1/K1", b"/NC/", b"TXT/", b"<a>" * 50, b"</MasterConsignment>", b"UNB+", b"'", b"+", b":", b"?",
    "１２３".encode(), "박".encode("euc-kr"), b"{" * 200, b"[" * 200,
]  # fmt: skip
VALUE = re.compile(rb">([^<>]+)<|: ?(\"[^\"]*\"|[0-9.]+)|\+([^+:']+)")
"""A text of XML, a value of JSON, a component of EDIFACT."""
VALUES = b"1e999 -1 NaN 174,5 0 1e-9 1e12 gift 0000-00-00 9999-12-31T23:59:59-14:00 0001-01-01T00:00:00+14:00 KOREA ZZZ null".split()
VALUES += b"18012345675 180-12345675/H9 RB123456785GB RFI DNL 31 USD IE3F43 cargo:MASTER urn:s https://x.example/a#b &amp;".split()
VALUES += [b"", b" ", b"25 PCS", b"9" * 400, b"A" * 3000, "\u202e".encode(), "\u200b".encode()]
MAPPINGS = (load_mapping(MESSAGES / "itmatt.toml"),)
KEYS = "@id @type @value @graph waybillNumber shipment pieces SenderName ContentPieces Amount GrossWeight"


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Spoil a message at some places: cut, repeat, insert, or replace bytes or a value."""
    for _ in range(draw.randint(1, 6)):
        place, length = draw.randrange(len(data) + 1), draw.choice((1, 2, 8, 40, 300))
        how = draw.randrange(8)
        part = data[place : place + length]
        if how == 0:
            data = data[:place] + data[place + length :]
        elif how == 1:
            data = data[:place] + part * draw.choice((2, 3, 20)) + data[place + length :]
        elif how == 2:
            data = data[:place] + bytes(draw.randrange(256) for _ in part[:8]) + data[place + length :]
        elif how == 3:
            data = data[:place] + draw.choice(FRAGMENTS) + data[place:]
        elif how > 4:
            data = replace_value(data, draw)
        else:
            other = draw.randrange(len(data) + 1)
            data = data[:place] + data[other : other + length] + data[place:]
    return data[:60_000]


def replace_value(data: bytes, draw: random.Random) -> bytes:
    """Put another value in the place of one, so that the message stays well formed."""
    if not (found := list(VALUE.finditer(data))):
        return data
    match, value = draw.choice(found), draw.choice(VALUES)
    group = match.lastindex or 0
    if group == 2 and draw.random() < 0.8:
        value = b'"' + value + b'"'
    return data[: match.start(group)] + value + data[match.end(group) :]


def check_outcome(data: bytes, *, as_table: bool = True) -> None:
    """Check that a message gives something, quickly, whose texts are clean, and whose rows pass the checks of a table."""
    begun = time.process_time()
    found = read_messages([data], mappings=MAPPINGS)
    assert time.process_time() - begun < MAX_SECONDS * max(len(data) / 10_000, 1)
    assert found.consignments or found.states or found.ignored or found.rejects or not data.strip()
    assert not [reject for reject in found.rejects if "the reader failed" in reject.reason], found.rejects
    texts = [text for c in found.consignments for text in structs.astuple(c) if isinstance(text, str)]
    assert [text for text in texts if text != text.strip() or not text or "\0" in text] == []
    assert {code for c in found.consignments for code in c.quality or ()} <= QUALITY_CODES.keys()
    if found.consignments and as_table:
        table = check_frame(build_frame(found.consignments, Consignment), Consignment)
        assert [reject.reason for reject in table.rejects] == []


@pytest.mark.parametrize("count", [25, pytest.param(SLOW_CASES // len(SEEDS), marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.name)
def test_spoilt_messages_are_read_or_rejected(path: Path, count: int) -> None:
    draw = random.Random(f"{count} {path.name}")
    data = path.read_bytes()
    for case in range(count):
        check_outcome(mutate(data, draw), as_table=case < 25 or case % 20 == 0)


@given(st.sampled_from([b"", b"<", b"<HouseWaybill", b"FWB/16\n", b"FHL/4\n", b"PSN\n", b"{", b'{"@type":', b"UNB+"]),
       st.binary(max_size=300))  # fmt: skip
def test_any_bytes_are_read_or_rejected(start: bytes, rest: bytes) -> None:
    check_outcome(start + rest)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_rejected(document: object) -> None:
    check_outcome(json.dumps(document).encode())


@given(st.lists(st.sampled_from(["FWB/16", "FHL/4", "SHP", "NAM", "/A", "/CN/1/TE/2", "RTD/1/P1/K1", "/NG/X", "HBS/H/PVGICN/1/K1//T",
                                 "160-48103823PVGICN/T1K2", "OCI/US/CUS/AE/99999999", "CVD/USD/PP/NVD/1/XXX", "ISU/99XXX99", "MBI/",
                                 "", "////", "FLT/", "RTG/X", "TXT/", "PPD/CT"]), max_size=25))  # fmt: skip
def test_lines_of_cargo_imp_in_any_order_are_read_or_rejected(lines: list[str]) -> None:
    check_outcome("\n".join(lines).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"<HouseWaybill>" + b"<a>" * 100_000,
        b"<HouseWaybill" + b' a="1"' * 100_000 + b"/>",
        b'<HouseWaybill a="' + b"x" * 9_000_000 + b'"/>',
        b"<HouseWaybill>" + b"x" * 9_500_000 + b"</HouseWaybill>",
        b"<Waybill xmlns='" + b"u" * 1_000_000 + b"'/>",
        b"FHL/4\nMBI/160-48103823PVGICN/T1K1\n" + b"HBS/H/PVGICN/1/K1//T\n" * 20_000,
        b"FWB/16\n160-48103823PVGICN/T1K1\n" + b"/" * 900_000,
        b"FHL/4\nMBI/160-48103823PVGICN/T1K1\nHBS/H/PVGICN/" + b"1" * 900_000 + b"x/K1//T",
        b"FWB/16\n" + b"A" * 900_000,
        b"[" * 1_000_000,
        b'{"@type":' * 100_000,
        b"<HouseWaybill>" + b" " * 1_000_000 + b"&",
        b"UNB+UNOA:1+A+B+260310:1200+1+CIMFWB\nFWB/16\n" + b" " * 900_000,
        b"UNB" + b"\n" * 900_000,
        b"FWB/16\n160-48103823PVGICN/T1K1\n" + b"A\n" * 150_000,
        b"UNB+" + b"+" * 9_900_000 + b"'",
        b"UNB+" + b":" * 9_900_000 + b"'",
    ],
    ids=range(17),
)
def test_a_huge_or_deep_message_ends_soon(data: bytes) -> None:
    begun = time.process_time()
    _, *found = parse_messages([RawMessage("m", data)], ReadOptions())
    assert time.process_time() - begun < 10
    assert found
    assert not [body for _, _, body in found if "the reader failed" in str(body)]


@pytest.mark.parametrize("start", ["<?", "<!--", "<!DOCTYPE[", "<!DOCTYPE "])
def test_a_prolog_that_never_ends_is_searched_once(start: str) -> None:
    text = start * 200_000 + " " * 200_000  # minutes if each start is searched to the end
    assert find_root(text) is None
    assert list(split_messages(text.encode())) == [text.encode()]


def test_a_reject_never_shows_what_a_message_holds() -> None:
    data = (MESSAGES / "xfzb_house.xml").read_bytes()
    for spoilt in (data[: len(data) // 2], data.replace(b"HouseWaybill", b"PARK JI HO")):
        for reject in read_messages([spoilt]).rejects:
            assert "PIGMENT" not in str(reject)
            assert "WUHAN" not in str(reject)
