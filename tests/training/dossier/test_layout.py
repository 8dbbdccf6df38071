"""The layout: every section of every form is answered, and a wrong name in the files is refused with the right one."""

from pathlib import Path

import msgspec
import pytest

from consignments.errors import BadSetting, FileFault, UnknownName
from training.dossier.fact_list import FACTS
from training.dossier.layout import FieldLayout, Layout, load_layout, read_answers

LAYOUT = load_layout()
ANNEX_IV = ["1(a)", "1(h)", "2(a)", "2(h)", "3", "4", "5", "6", "7", "8", "9"]


def change_field(key: str, /, **changes: object) -> Layout:
    """Return the layout with one field changed."""
    sections = [
        msgspec.structs.replace(
            section,
            field=tuple(
                msgspec.structs.replace(field, **changes) if field.key == key else field
                for field in section.field
            ),
        )
        for section in LAYOUT.sections
    ]
    return msgspec.structs.replace(LAYOUT, sections=tuple(sections))


def test_every_section_of_every_form_is_answered_by_a_field() -> None:
    LAYOUT.check(FACTS)
    assert set(LAYOUT.forms) == {"annex_iv", "aia", "atrs", "model_card"}
    assert set(ANNEX_IV) <= set(LAYOUT.forms["annex_iv"].sections)


def test_every_fact_is_in_a_field_and_every_field_cites_a_form() -> None:
    fields = LAYOUT.list_fields()
    assert {name for field in fields for name in field.facts} == set(FACTS)
    assert [field.key for field in fields if not field.cites] == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"by": "owners"}, "owner"),
        ({"facts": ("metric",)}, "metrics"),
        ({"cites": {"annex_iv": ("2(z)",)}}, "2("),
        ({"cites": {"annex_v": ("1",)}}, "annex_iv"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(changes: dict[str, object], named: str) -> None:
    with pytest.raises(UnknownName, match="field metrics") as refused:
        change_field("metrics", **changes).check(FACTS)
    assert named in str(refused.value)


def test_a_section_that_no_field_answers_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"annex_iv: .* got 8;"):
        change_field("declaration", cites={"annex_iv": ("7",)}).check(FACTS)


def test_a_field_without_content_and_a_repeated_field_are_refused() -> None:
    with pytest.raises(BadSetting, match="field standards"):
        change_field("standards", ask="").check(FACTS)
    with pytest.raises(BadSetting, match="field standards"):
        change_field("declaration", key="standards").check(FACTS)


def test_answers_are_read_and_empty_ones_left_out(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text('[answers]\nprovider = " The customs office. "\nsuppliers = ""\n')
    assert read_answers(file, LAYOUT) == {"provider": "The customs office."}


def test_an_answer_to_an_unknown_field_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text('[answers]\nprovidor = "The customs office."\n')
    with pytest.raises(UnknownName, match="provider"):
        read_answers(file, LAYOUT)


@pytest.mark.parametrize("text", ["[answers", "[answers]\nprovider = 3\n"])
def test_a_file_of_answers_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(text)
    with pytest.raises(FileFault, match=r"answers\.toml"):
        read_answers(file, LAYOUT)


def test_a_field_needs_a_role() -> None:
    with pytest.raises(msgspec.ValidationError, match="by"):
        msgspec.convert({"key": "a", "title": "A", "cites": {}}, FieldLayout)
