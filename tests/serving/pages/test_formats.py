"""Texts and numbers on the pages; every text of the templates is in the table, and every text of the table is used."""

import re
from typing import get_args

import pytest

from consignments.records import Consignment, Result
from consignments.schema import get_fields
from serving.event_log.event_codec import ActionKind
from serving.pages.formats import TEMPLATES, build_link, format_amount, show_text
from serving.pages.texts import load_page_texts

SOURCES = "".join(path.read_text() for path in sorted(TEMPLATES.glob("*.html")))
CODES = {
    "state": (*get_args(ActionKind), *get_args(Result), "open", "selected", "cancelled", "missed"),
    "action": get_args(ActionKind),
    "result": get_args(Result),
    "band": ("high", "elevated", "routine"),
    "proposal": ("inspect", "check", "release", "none"),
    "field": tuple(
        field.name for field in get_fields(Consignment) if field.name not in ("received_at", "cancelled_at")
    ),
}


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\u200f", "\u200b", "\x00", "\x1b", "\ufeff", "\u2028"])
def test_characters_that_hide_or_turn_text_are_shown(char: str) -> None:
    assert show_text(f"a{char}b") == f"a[U+{ord(char):04X}]b"


def test_texts_of_all_scripts_stay_as_they_are() -> None:
    for text in ("김민수", "می‌خواهم", "Ωμέγα", "two\nlines", "👩‍🔬"):
        assert show_text(text) == text


def test_a_link_quotes_its_values() -> None:
    assert build_link("/consignment", id="A/B?&#") == "/consignment?id=A%2FB%3F%26%23"
    assert build_link("/", office=None, day="") == "/"
    assert format_amount(1e9) == "1,000,000,000"


def test_every_text_that_a_template_names_is_in_the_table() -> None:
    texts = load_page_texts("en")
    named = set(re.findall(r"\bt\('([a-z_]+\.[a-z_]+)'", SOURCES))
    assert len(named) > 80
    missing = [name for name in sorted(named) if name not in texts]
    assert missing == []


def test_every_code_has_a_name() -> None:
    texts = load_page_texts("en")
    missing = [
        f"{section}.{code}"
        for section, codes in CODES.items()
        for code in codes
        if f"{section}.{code}" not in texts
    ]
    assert missing == []


def test_a_language_without_a_table_is_english() -> None:
    assert load_page_texts("xx")("nav.list") == "Inspection list"
