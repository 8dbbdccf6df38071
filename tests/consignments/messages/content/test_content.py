"""Trees, paths, values and countries that several readers share."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from consignments.countries import parse_country
from consignments.errors import BadSetting, MessageFault
from consignments.messages.air.journeys import find_airport_country, looks_consolidated
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
    assert frame["head"] == [{"@id": ["7"], "#text": ["x"]}]
    assert frame["tail"] == [""]


def test_a_tree_of_xml_and_of_json_have_one_shape() -> None:
    name, tree = parse_xml_tree(b"<m><A><b>1</b><b>2</b></A></m>", [])
    assert name == "m"
    assert tree == {"a": [{"b": ["1", "2"]}]}
    assert convert_json({"A": {"b": ["1", ["2"]]}}) == tree


def test_what_senders_get_wrong_in_xml_is_repaired_with_a_note() -> None:
    notes: list[str] = []
    _, tree = parse_xml_tree(b"<m><A>Smith & Sons\x0b caf\xe9</A></m>", notes)
    assert tree == {"a": ["Smith & Sons café"]}
    assert len(notes) == 1


def test_numbers_out_of_range_do_not_refuse_a_document() -> None:
    assert decode_json(b'{"a": 1e999, "b": 2}') == {"a": float("inf"), "b": 2}
    assert decode_json(b'{"a": ' + b"9" * 5000 + b"}") == {"a": float("inf")}


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"nul", b'{"a":' * 20_000])
def test_broken_json_is_a_fault(content: bytes) -> None:
    with pytest.raises(MessageFault):
        decode_json(content)


def test_objects_of_json_are_bounded() -> None:
    with pytest.raises(MessageFault, match="too many values"):
        decode_json(b"[" + b"{}," * 400_001 + b"{}]")


def test_depth_of_json_is_bounded() -> None:
    deep = decode_json(b"[" * 300 + b"]" * 300)
    assert convert_json(deep) == {"#text": []}


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
    ("given", "code"),
    [
        ("KOR", "KR"),
        ("South Korea", "KR"),
        ("대한민국", "KR"),
        ("P.R. China", "CN"),
        ("Viet Nam", "VN"),
        ("The Netherlands", "NL"),
        ("United States of America", "US"),
        ("Côte d'Ivoire", "CI"),
        ("na", "NA"),
        ("el", "GR"),
        ("Narnia", "NARNIA"),
        ("", None),
        (None, None),
    ],
)
def test_countries_become_two_letters(given: str | None, code: str | None) -> None:
    assert parse_country(given) == code


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("a\0b", "a b"),
        ("a\u202eb\u2066c\u200b", "abc"),
        ("\ufeff x ", "x"),
        ("two\n   lines", "two lines"),
        ("two  spaces", "two  spaces"),
        (5, "5"),
        (5.5, "5.5"),
        (False, "false"),
        (None, None),
        ([], None),
        ("\u200b", None),
    ],
)
def test_texts_are_cleaned(given: object, text: str | None) -> None:
    assert clean_text(given) == text


@pytest.mark.parametrize(
    "given",
    [
        "0000-00-00",
        "9999-12-31T23:59:59-23:00",
        "/Date(99999999999999999)/",
        "20261399",
        "",
        "1e5",
        "99999999999999",
    ],
)
def test_impossible_times_are_missing(given: str) -> None:
    assert parse_time(given) is None


def test_units_by_code_and_abbreviation() -> None:
    assert [get_unit_factor(unit) for unit in ("KGM", "kg", "GRM", "g.", "LBR", "oz")] == [
        1.0,
        1.0,
        0.001,
        0.001,
        0.45359237,
        0.028349523125,
    ]
    assert get_unit_factor("MTQ") is None
    assert get_unit_factor("") is None


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (parse_time, "20260310084200", datetime(2026, 3, 10, 8, 42, tzinfo=UTC)),
        (parse_time, "/Date(1773100800000+0100)/", datetime(2026, 3, 10, tzinfo=UTC)),
        (parse_time, "0000-00-00", None),
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
    function: Callable[[str], object], given: str, expected: object
) -> None:
    assert function(given) == expected
