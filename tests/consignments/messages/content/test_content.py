"""Trees, paths, values and countries that several readers share."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from consignments.countries import parse_country
from consignments.errors import BadSetting, MessageFault
from consignments.messages.air.waybills import find_airport_country, looks_consolidated
from consignments.messages.content.paths import compile_path, find_values
from consignments.messages.content.trees import (
    convert_json,
    decode_json,
    find_tag,
    parse_xml_tree,
    read_frame,
    stream_records,
)
from consignments.messages.content.values import clean_text, get_unit_factor, parse_short_date, parse_time
from consignments.messages.onerecord.graph import get_local_name

XML = b'<r:Root xmlns:r="u"><Head id="7">x</Head><r:Rec><A>1</A></r:Rec><r:Rec><A>2</A><A>3</A></r:Rec><Tail/></r:Root>'


def test_a_stream_gives_records_and_the_frame_what_is_outside() -> None:
    tag = find_tag(XML, ["REC"])
    assert tag == "Rec"
    assert list(stream_records(XML, tag)) == [{"a": ["1"]}, {"a": ["2", "3"]}]
    content, frame = read_frame(XML, tag, [])
    assert content is XML
    assert (frame["head"], frame["tail"]) == ([{"@id": ["7"], "#text": ["x"]}], [""])


def test_a_tree_of_xml_and_of_json_have_one_shape() -> None:
    assert parse_xml_tree(b"<m><A><b>1</b><b>2</b></A></m>", []) == ("m", {"a": [{"b": ["1", "2"]}]})
    assert convert_json({"A": {"b": ["1", ["2"]]}}) == {"a": [{"b": ["1", "2"]}]}


def test_what_senders_get_wrong_in_xml_is_repaired_with_a_note() -> None:
    notes: list[str] = []
    tree = parse_xml_tree(b"<m><A>Smith & Sons\x0b caf\xe9</A></m>", notes)[1]
    assert (tree, len(notes)) == ({"a": ["Smith & Sons café"]}, 1)


def test_numbers_out_of_range_do_not_refuse_a_document() -> None:
    assert decode_json(b'{"a": 1e999, "b": 2}') == {"a": float("inf"), "b": 2}
    assert decode_json(b'{"a": ' + b"9" * 5000 + b"}") == {"a": float("inf")}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "not JSON"),
        (b"nul", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 20_000, "nested too deep"),
        (b"[" + b"{}," * 400_001 + b"{}]", "too many values"),
    ],
    ids=["cut", "word", "lists", "objects", "many"],
)
def test_broken_and_hostile_json_is_a_fault(content: bytes, what: str) -> None:
    with pytest.raises(MessageFault, match=what):
        decode_json(content)


TREE = convert_json(
    {
        "head": {"cur": "EUR"},
        "party": [{"role": "CN", "name": "K"}, {"role": "CZ", "name": "A", "deep": {"er": {"name": "B"}}}],
        "a.b": "dotted",
    }
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("head.cur", ["EUR"]),
        ("Head/Cur", ["EUR"]),
        ("/head/cur", ["EUR"]),
        ("$.head.cur", ["EUR"]),
        ("party[0].name", ["K"]),
        ("party[1]/name", ["K"]),
        ("party[role=CZ]/name", ["A"]),
        ("party[role='cz']/name", ["A"]),
        ("party/*", ["CN", "K", "CZ", "A", {"er": [{"name": ["B"]}]}]),
        ("//name", ["K", "A", "B"]),
        ("party//er/name", ["B"]),
        ("none | head/cur", ["EUR"]),
        ("a.b", ["dotted"]),
        ("ns:head/ns:cur", ["EUR"]),
        ("party[9]/name", []),
    ],
)
def test_paths(path: str, found: list[object]) -> None:
    assert find_values([TREE], path) == found


def test_paths_go_up() -> None:
    party = TREE["party"][1]
    assert find_values([TREE, party], "../head/cur") == ["EUR"]
    assert find_values([TREE, party], "/head/cur") == ["EUR"]
    assert find_values([TREE], "../../x") == []


@pytest.mark.parametrize("path", ["", "a[", "a[x y]", "[1]", "a" * 500])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(BadSetting):
        compile_path(path)


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (parse_country, "KOR", "KR"),
        (parse_country, "South Korea", "KR"),
        (parse_country, "대한민국", "KR"),
        (parse_country, "P.R. China", "CN"),
        (parse_country, "Viet Nam", "VN"),
        (parse_country, "The Netherlands", "NL"),
        (parse_country, "United States of America", "US"),
        (parse_country, "Côte d'Ivoire", "CI"),
        (parse_country, "na", "NA"),
        (parse_country, "el", "GR"),
        (parse_country, "Narnia", "NARNIA"),
        (parse_country, "", None),
        (parse_country, None, None),
        (clean_text, "a\0b", "a b"),
        (clean_text, "a\u202eb\u2066c\u200b", "abc"),
        (clean_text, "\ufeff x ", "x"),
        (clean_text, "two\n   lines", "two lines"),
        (clean_text, "two  spaces", "two  spaces"),
        (clean_text, 5, "5"),
        (clean_text, 5.5, "5.5"),
        (clean_text, False, "false"),
        (clean_text, None, None),
        (clean_text, [], None),
        (clean_text, "\u200b", None),
        (get_unit_factor, "KGM", 1.0),
        (get_unit_factor, "g.", 0.001),
        (get_unit_factor, "LBR", 0.45359237),
        (get_unit_factor, "oz", 0.028349523125),
        (get_unit_factor, "MTQ", None),
        (get_unit_factor, "", None),
        (parse_time, "20260310084200", datetime(2026, 3, 10, 8, 42, tzinfo=UTC)),
        (parse_time, "/Date(1773100800000+0100)/", datetime(2026, 3, 10, tzinfo=UTC)),
        (parse_time, "0000-00-00", None),
        (parse_time, "9999-12-31T23:59:59-23:00", None),
        (parse_time, "/Date(99999999999999999)/", None),
        (parse_time, "20261399", None),
        (parse_time, "99999999999999", None),
        (parse_time, "1e5", None),
        (parse_short_date, "20JAN23", date(2023, 1, 20)),
        (parse_short_date, "15MAR98", date(1998, 3, 15)),
        (looks_consolidated, "CONSOLIDATED CARGO AS PER LIST", True),
        (looks_consolidated, "CONSOLE TABLES", False),
        (find_airport_country, "SEL", "KR"),
        (find_airport_country, "???", None),
        (get_local_name, "https://onerecord.iata.org/ns/cargo#waybillNumber", "waybillnumber"),
        (get_local_name, "cargo:Goods_Description", "goodsdescription"),
    ],
)
def test_a_text_is_read_as_what_it_says(
    function: Callable[[object], object], given: object, expected: object
) -> None:
    assert function(given) == expected
