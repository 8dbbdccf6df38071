"""How numbers and texts are written for people, in pages, terminals and runs."""

import math
import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
from support.cases import read_cases

from models import formats
from models.formats import create_page_environment, show_text

TINY = (1e-267, 1.99e-9, 7.22e-6, 6.84e-8)


@pytest.mark.parametrize("kind", ["number", "percent", "score", "points", "rate"])
def test_no_number_is_written_with_an_exponent_and_what_is_unknown_is_a_dash(kind):
    write = getattr(formats, f"format_{kind}")
    for value in (*TINY, *(1 - each for each in TINY), 0.999999):
        assert not re.search(r"\de[+-]?\d", write(value))
    assert [write(None), write(math.nan)] == ["–", "–"]


@pytest.mark.parametrize("case", read_cases("formatted_values"))
def test_what_people_read(case):
    """Each line has a way of writing, what is given, and what is written."""
    assert getattr(formats, case["write"])(*case["given"]) == case["text"]


def test_numbers_of_arrays_are_written_as_others():
    assert [formats.format_cell(value) for value in (np.int64(3), np.nan)] == ["3", "–"]
    assert formats.format_figure(np.nan) == "–"


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\u200f", "\u200b", "\x00", "\x1b", "\ufeff", "\u2028"])
def test_characters_that_hide_or_turn_text_are_shown(char: str) -> None:
    assert show_text(f"a{char}b") == f"a[U+{ord(char):04X}]b"


def test_texts_of_all_scripts_stay_as_they_are() -> None:
    for text in ("김민수", "می‌خواهم", "Ωμέγα", "two\nlines", "👩‍🔬"):
        assert show_text(text) == text


def test_a_template_escapes_values_and_refuses_unknown_names(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>{{ text }}</p>{{ markup|safe }}")
    page = create_page_environment(tmp_path).get_template("page.html")
    assert (
        page.render(text="<b>\u202egnp", markup="<i>\u202e</i>") == "<p>&lt;b&gt;[U+202E]gnp</p><i>\u202e</i>"
    )
    with pytest.raises(jinja2.UndefinedError):
        page.render(text="")
