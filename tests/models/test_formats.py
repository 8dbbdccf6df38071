"""How numbers and texts are written for people, in pages, terminals and runs."""

import math
import re
from pathlib import Path

import jinja2
import numpy as np
import pytest

from models.formats import (
    create_page_environment,
    format_cell,
    format_count,
    format_figure,
    format_interval,
    format_number,
    format_percent,
    format_points,
    format_rate,
    format_score,
    show_text,
)

TINY = (1e-267, 1.99e-9, 7.22e-6, 6.84e-8)


@pytest.mark.parametrize("write", [format_number, format_percent, format_score, format_points, format_rate])
def test_no_number_is_written_with_an_exponent(write):
    for value in (*TINY, *(1 - each for each in TINY), 0.999999):
        assert not re.search(r"\de[+-]?\d", write(value))
    assert [format_number(value) for value in (1e9, 123456.7)] == ["1,000,000,000", "123,457"]


def test_what_is_unknown_is_a_dash():
    for write in (format_number, format_percent, format_score, format_points, format_rate):
        assert [write(None), write(math.nan)] == ["–", "–"]


@pytest.mark.parametrize(
    ("write", "values", "texts"),
    [
        (format_percent, (*TINY, 0.00099), ["< 0.1 %"] * 5),
        (format_percent, (0.001, 0.0, 1.0, 0.4531), ["0.100 %", "0 %", "100 %", "45.3 %"]),
        (format_number, (1e-267, -1e-9), ["< 0.0001", "> -0.0001"]),
        (lambda value: format_number(value, "+"), (0.456, -1e-9), ["+0.456", "0"]),
        (format_score, (0.391, 0.0004, 0.00001), ["39.1 %", "0.0400 %", "< 0.01 %"]),
        (format_rate, (1 / 12_000, 1 / 2_314, 0.0), ["1 in 12,000", "1 in 2,310", "none"]),
        (format_points, (0.0796, -0.709, 0.0), ["+7.96 points", "-70.9 points", "0 points"]),
        (
            lambda n: format_count(n, "country", "countries"),
            (1, 2, 1500),
            ["1 country", "2 countries", "1,500 countries"],
        ),
        (
            format_figure,
            (0.1234, 2e-306, 1234, np.nan, None, True),
            ["12.3 %", "< 0.1 %", "1,234", "–", "–", "yes"],
        ),
        (format_cell, (1234.56, 19.0, np.int64(3), "rules", np.nan), ["1,235", "19", "3", "rules", "–"]),
        (lambda ends: format_interval(*ends), (("1 %", "2 %"), ("–", "–")), ["1 % to 2 %", "–"]),
    ],
)
def test_what_people_read(write, values, texts):
    assert [write(value) for value in values] == texts


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
