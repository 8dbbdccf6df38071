"""Formats are told apart by their content, and those that are only named are named."""

import pytest
from support.messages import load, read_all

from consignments.errors import BadSetting, MessageFault
from consignments.messages.kinds import find_tested_kind
from consignments.messages.post.edifact import find_message_type, read_interchange, split_segments

ENVELOPE = (
    b"<Envelope><Header>" + b"<Token>0</Token>" * 2_000 + b"</Header><Body>%s</Body></Envelope>"
)  # 32 kB
WCO = b'<md:MetaData xmlns:md="urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"><Declaration/></md:MetaData>'


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (load("ics2_f43.xml"), "ICS2"),
        (load("ics2_f26.xml"), "ICS2"),
        (b"<IE3N99/>", "ICS2 answer"),
        (b"<CC315A/>", "ICS2 answer"),
        (load("cds_view.xml"), "postal"),
        (load("flat_itmatt.xml"), "postal"),
        (load("predes.json"), "postal"),
        (b'{"@context": {"cargo": "https://onerecord.iata.org/ns/cargo#"}}', "ONE Record"),
        (load("itmatt.edi"), "EDIFACT"),
        (WCO, "WCO DM"),
        (load("xfzb_house.xml"), None),
        (b"FWB/16\r\n057-51987552PVGICN/T1K2", None),
        (b'{"consignments": []}', None),
        (b"", None),
        (b"\xef\xbb\xbf" + load("ics2_f43.xml"), "ICS2"),
        (load("predes.json").decode().encode("utf-16"), "postal"),
        (ENVELOPE % load("ics2_f43.xml").partition(b"?>")[2], "ICS2"),
    ],
)
def test_a_message_is_detected_by_its_content(content: bytes, name: str | None) -> None:
    found = find_tested_kind(content[:65_536])
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (WCO, "WCO DM: a message of the WCO data model without goods"),
        (b"UNH+1+INVOIC:D:96A:UN'", "EDIFACT INVOIC: a message that is not of post"),
    ],
)
def test_edifact_and_the_wco_data_model_are_named(content: bytes, named: str) -> None:
    (ignored,) = read_all(content).ignored
    assert ignored.startswith(named)


def test_segments_are_split_with_their_own_separators_and_released_ones() -> None:
    assert list(split_segments(b"UNA|;.! ~UNH;1;A|B~NAD;C!;Z|!~~")) == [
        [["UNH"], ["1"], ["A", "B"]],
        [["NAD"], ["C;Z", "~"]],
    ]
    assert list(split_segments("UNH+1?:2\ufdd0\0'".encode())) == [[["UNH"], ["1:2"]]]
    assert find_message_type(b"UNB+UNOA:1'UNH+1+CUSITM:1'") == "CUSITM"


def test_segments_group_under_their_leaders() -> None:
    (message,) = read_interchange(
        b"UNH+1+ITMATT'BGM+1'GID+1'FTX+tea'GID+2'FTX+cups'UNS+S'FTX+end'UNT+9+1'",
        {"group": "GID", "until": "UNS"},
    )
    assert [group["ftx"][0]["1"][0]["#text"] for group in message["gid"]] == [["tea"], ["cups"]]
    assert message["ftx"][0]["1"][0]["1"] == ["end"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not EDIFACT"),
        (b"hello", "not EDIFACT"),
        (b"UNH+1+ITMATT", "cut in half"),
        (b"UNA+++++'UNH+1'", "separators are not different"),
        (b"UNH+1'" + (b"FTX" + b"+1" * 199 + b"'") * 1_100, "one message is too large"),
        (b"UNH+1'" + b"A" * 9_000_000, "cut in half"),
    ],
    ids=["empty", "text", "cut", "advice", "large", "endless"],
)
def test_what_is_no_interchange_is_a_fault(content: bytes, what: str) -> None:
    with pytest.raises(MessageFault, match=what):
        list(read_interchange(content))
    with pytest.raises(BadSetting, match="group, until or types"):
        list(read_interchange(b"UNH+1'", {"groups": "GID"}))
