"""How numbers and texts are written for people, in pages, terminals and runs."""

from pathlib import Path

import jinja2
import numpy as np
import pytest
from support.cases import read_cases

from models import formats
from models.formats import create_page_environment


@pytest.mark.parametrize("case", read_cases("formatted_values"))
def test_what_people_read(case):
    """Each line has a way of writing, what is given, and what is written: never an exponent, a dash for what is unknown, no hidden character."""
    assert getattr(formats, case["write"])(*case["given"]) == case["text"]


def test_numbers_of_arrays_are_written_as_others():
    assert [formats.format_cell(value) for value in (np.int64(3), np.nan)] == ["3", "–"]
    assert formats.format_figure(np.nan) == "–"


def test_a_template_escapes_values_and_refuses_unknown_names(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>{{ text }}</p>{{ markup|safe }}")
    page = create_page_environment(tmp_path).get_template("page.html")
    shown = page.render(text="<b>\u202egnp", markup="<i>\u202e</i>")
    assert shown == "<p>&lt;b&gt;[U+202E]gnp</p><i>\u202e</i>"
    with pytest.raises(jinja2.UndefinedError):
        page.render(text="")
