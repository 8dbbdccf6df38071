"""Letters of kernels: which code points may change with the one before, and the room for what one becomes."""

import sys
from unicodedata import combining, decomposition, normalize

import pytest

from features.normalization.letters import KNOWN, LATIN_BLOB, fill_page, list_composing, may_compose
from features.normalization.tables import create_tables, get_record


def test_every_second_code_point_of_a_composition_is_marked() -> None:
    for code in range(sys.maxunicode + 1):
        parts = decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            assert chr(int(parts[1], 16)) in list_composing()


@pytest.mark.parametrize(
    "text", ["e\u0301", "\u1100\u1161", "\uac00\u11a8", "か\u3099", "\u0915\u093c", "a\u0323\u0301"]
)
def test_what_composes_is_marked(text: str) -> None:
    assert normalize("NFKC", text) != "".join(normalize("NFKC", char) for char in text) or combining(text[-1])
    assert any(map(may_compose, text))


def test_plain_letters_of_all_scripts_are_not_marked() -> None:
    assert not any(map(may_compose, "aÄжعア漢한ﬁ①ＡΣ"))


def test_a_page_has_what_python_gives_for_each_code_point() -> None:
    tables = get_record(create_tables())
    fill_page(tables, 0xFF)
    assert all(tables.latin[0xFF00:0x10000] & KNOWN)
    assert tables.composed[0xFF21] == ord("A")
    assert tables.lower[0xFF21] == 0xFF41


@pytest.mark.slow
def test_all_of_unicode_has_room() -> None:
    tables = get_record(create_tables())
    for page in range((sys.maxunicode + 1) >> 8):
        fill_page(tables, page)
    assert tables.used[0] <= len(tables.composed_blob)
    assert tables.used[1] <= LATIN_BLOB
