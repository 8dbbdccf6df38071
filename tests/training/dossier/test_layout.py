"""The layout: every name in its files exists, every section of every form is answered, and wrong answers are refused."""

import inspect

from training.dossier import tables
from training.dossier.dossier import list_fields, load_layout
from training.dossier.tables import RUN_TABLES
from training.reporting.html import create_environment

LAYOUT = load_layout()
FIELDS = list_fields(LAYOUT)
ANNEX_IV = {"1(a)", "1(h)", "2(a)", "2(h)", "3", "4", "5", "6", "7", "8", "9"}
FIELD_KEYS = {"key", "title", "tables", "statements", "text", "ask", "by", "cites"}
TABLE_KEYS = {"text", "title", "columns", "pairs", "of", "run_table", "only", "note", "if_empty"}


def test_every_section_of_every_form_is_answered_by_a_field() -> None:
    assert set(LAYOUT["forms"]) == {"annex_iv", "aia", "atrs", "model_card"}
    assert set(LAYOUT["forms"]["annex_iv"]["sections"]) >= ANNEX_IV
    for form, content in LAYOUT["forms"].items():
        cited = {section for field in FIELDS for section in field["cites"].get(form, ())}
        assert cited == set(content["sections"]), form


def test_every_field_has_content_a_role_and_a_form() -> None:
    keys = [field["key"] for field in FIELDS]
    assert len(set(keys)) == len(keys)
    for field in FIELDS:
        assert set(field) <= FIELD_KEYS, field["key"]
        assert field["by"] in LAYOUT["roles"], field["key"]
        assert set(field) & {"tables", "statements", "text", "ask"}, field["key"]
        assert set(field["cites"]) <= set(LAYOUT["forms"]), field["key"]


def test_every_table_is_used_and_can_be_filled_and_formatted() -> None:
    computed = {name.removeprefix("list_") for name, _ in inspect.getmembers(tables, inspect.isfunction)}
    formats = {*create_environment().filters, "text", "words"}
    assert {name for field in FIELDS for name in field.get("tables", ())} == set(LAYOUT["table"])
    for name, table in LAYOUT["table"].items():
        assert set(table) <= TABLE_KEYS, name
        assert {"pairs", "of"} & set(table) or name in computed or table["run_table"] in RUN_TABLES, name
        for _, _, *form in [*table.get("columns", ()), *table.get("pairs", ())]:
            assert set(form) <= formats, name
