"""Pages: hostile texts are escaped, and hidden characters are shown."""

from pathlib import Path

import jinja2
import pytest

from models.page_templates import create_page_environment, show_text


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
