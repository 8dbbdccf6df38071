"""Trees and paths that several readers share."""

import pytest

from consignments.errors import BadSetting, MessageFault
from consignments.messages.content.paths import compile_path, find_values
from consignments.messages.content.trees import decode_json, parse_json_tree, parse_xml_tree

TREE = parse_json_tree(b'{"head": {"cur": "EUR"}, "party": [{"name": "K"}, {"name": "A"}]}')


def test_a_tree_of_xml_and_of_json_have_one_shape() -> None:
    assert parse_xml_tree(b"<m><A><b>1</b><b>2</b></A></m>", []) == ("m", {"a": [{"b": ["1", "2"]}]})
    assert parse_json_tree(b'{"A": {"b": ["1", ["2"]]}}') == {"a": [{"b": ["1", "2"]}]}


def test_numbers_out_of_range_do_not_refuse_a_document_and_too_many_values_do() -> None:
    assert decode_json(b'{"a": 1e999, "b": 2}') == {"a": float("inf"), "b": 2}
    assert decode_json(b'{"a": ' + b"9" * 5000 + b"}") == {"a": float("inf")}
    with pytest.raises(MessageFault, match="too many values"):
        decode_json(b"[" + b"{}," * 400_001 + b"{}]")


def test_paths_go_up_and_what_is_no_path_is_refused() -> None:
    party = TREE["party"][1]
    for path in ("../head/cur", "/head/cur"):
        assert find_values([TREE, party], path) == ["EUR"]
    assert find_values([TREE], "../../x") == []
    for text in ("", "a[", "a[x y]", "[1]", "a" * 500):
        with pytest.raises(BadSetting):
            compile_path(text)
