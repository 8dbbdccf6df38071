"""Tables of paths: which elements are read, and which of several."""

from consignments.messages.air.elements import MAX_TAGS, ElementReader, Values
from consignments.messages.xml_parsing import parse_xml

STOP = ElementReader({"port": "Port"})
PATHS = {"id": "ID", "weight": "Weight", "unit": "Weight/@unit", "city": "Party/Address/City"}
HOUSE = ElementReader(PATHS, {"lines": ("Party/Address/Line", None), "stops": ("Stop", STOP)})


def read(body: str) -> Values:
    return HOUSE.read(parse_xml(f"<House>{body}</House>".encode(), []))


def test_a_text_stands_on_one_line_and_an_empty_one_is_missing() -> None:
    assert read("<ID>\n  H\u00a0 1 </ID>") == {"id": "H 1"}
    assert read("<ID>  </ID>") == read("<ID/>") == {"id": None}


def test_what_is_not_there_is_left_out_and_what_nobody_names_is_not_read() -> None:
    assert read("<Note>secret</Note><Party><Name>A</Name></Party>") == {"Party": None}


def test_an_attribute_is_read_with_its_element() -> None:
    assert read("<Weight unit='KGM'>2</Weight>") == {"weight": "2", "unit": "KGM"}
    assert read("<Weight>2</Weight>") == {"weight": "2", "unit": None}


def test_of_several_elements_the_first_is_read_even_if_it_is_empty() -> None:
    assert read("<ID/><ID>2</ID>") == {"id": None}
    city = "<Party><Address><City>Seoul</City></Address></Party>"
    assert "city" not in read(f"<Party/>{city}")
    assert read(f"{city}<Party/>")["city"] == "Seoul"


def test_each_of_several_elements_is_read_where_the_table_says_so() -> None:
    found = read(
        "<Stop><Port>PVG</Port></Stop><ID>1</ID><Stop/><Stop><Port>ICN</Port><Port>GMP</Port></Stop>"
    )
    assert found["stops"] == [{"port": "PVG"}, {}, {"port": "ICN"}]
    lines = (
        "<Party><Address><Line>Room 1</Line><City>Seoul</City><Line/><Line>Mill Lane</Line></Address></Party>"
    )
    assert read(lines)["lines"] == ["Room 1", None, "Mill Lane"]


def test_prefixes_and_namespaces_do_not_matter() -> None:
    for declared, prefix in (("", ""), (" xmlns='a'", ""), (" xmlns:x='b'", "x:")):
        root = parse_xml(f"<{prefix}House{declared}><{prefix}ID>1</{prefix}ID></{prefix}House>".encode(), [])
        assert HOUSE.read(root) == {"id": "1"}


def test_more_names_than_are_remembered_are_read_right() -> None:
    reader = ElementReader({"id": "ID"}, {"stops": ("Stop", STOP)})
    names = "".join(f"<N{number}/>" for number in range(2 * MAX_TAGS))
    for _ in range(2):
        found = reader.read(parse_xml(f"<House>{names}<ID>1</ID><Stop/></House>".encode(), []))
        assert found == {"id": "1", "stops": [{}]}
