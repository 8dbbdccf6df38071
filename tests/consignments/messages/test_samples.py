"""Every message of docs/samples, and of tests/messages that is sound, is read field by field as `expected.json` says, whose values
were compared by hand; so are changed ones, and the pages show what the commands print."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import msgspec
import pytest
from hypothesis import given as given_some
from hypothesis import strategies as some
from support.cases import read_cases
from support.messages import BROKEN, MESSAGES, ROOT, changed, given, load, read_messages
from support.pages import FENCE, commands
from support.verbs import succeed

from consignments.messages.entries import Version
from consignments.messages.kinds import detect_kind, list_kinds
from consignments.messages.post.mapping import load_mapping
from consignments.messages.reading import read_entries
from consignments.records import Consignment
from consignments.tables import read_table, to_records

EXPECTED = json.loads((BROKEN / "expected.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 3, 11, 6, tzinfo=UTC)
LATER = datetime(2026, 3, 20, 12, tzinfo=UTC)
SAMPLES = sorted(path for path in MESSAGES.iterdir() if path.suffix != ".toml")
OTHERS = [BROKEN / name for name in EXPECTED if (BROKEN / name).exists()]
MAPPINGS = (load_mapping(MESSAGES / "itmatt.toml"),)


def describe(value: Any) -> Any:
    """Return plain values without those that are missing."""
    plain = json.loads(msgspec.json.encode(value))
    return json.loads(json.dumps(plain), object_hook=lambda d: {k: v for k, v in d.items() if v is not None})


@pytest.mark.parametrize("path", SAMPLES + OTHERS, ids=lambda path: path.name)
def test_a_sample_is_read_field_by_field(path: Path) -> None:
    found = read_messages([path.read_bytes()], now=NOW, mappings=MAPPINGS)
    assert describe(found._asdict()) == EXPECTED[path.name]
    assert not found.rejects


def read(content: bytes) -> tuple[list[dict[str, Any]], set[tuple[str, str]], set[str]]:
    """Read a message; return its rows, what it warns of, and its notes."""
    found = read_entries(content, LATER, MAPPINGS)
    assert found.rejects == ()
    versions = [each for each in found.entries if isinstance(each, Version)]
    rows = [given(msgspec.json.decode(msgspec.json.encode(each.record))) for each in versions]
    return rows, {(each.code, each.field) for row in versions for each in row.warnings}, set(found.notes)


@pytest.mark.parametrize("case", read_cases("message_changes"))
def test_a_changed_sample_is_read_as_its_line_says_and_in_all_else_as_before(case: dict[str, Any]) -> None:
    """Each line has a sample, replacements, and what is new then: fields of each row, null if missing, warnings and notes."""
    content = load(case["sample"])
    rows, warnings, notes = read(content)
    new_rows, new_warnings, new_notes = read(changed(content, *case["change"]))
    changes = case.get("rows", [{}] * len(rows))
    assert new_rows == [given(row | new) for row, new in zip(rows, changes, strict=True)]
    assert new_warnings - warnings == set(map(tuple, case.get("warnings", ())))
    assert new_notes - notes == set(case.get("notes", ()))


LETTERS = "aZ9éßŁ김민ЖΩابहि漢 \u00a0\u3000.,;:-_&<>\"'/\\()#%@*!?{}[]"
NAMES = {
    "xfzb_house.xml": "PARK JI HO",
    "flat_itmatt.xml": "J. de Vries",
    "one_record_house.json": "Park Ji-ho",
}


@given_some(sample=some.sampled_from(sorted(NAMES)), name=some.text(some.sampled_from(LETTERS), min_size=1))
def test_a_name_in_any_letters_is_read_as_it_was_sent(sample: str, name: str) -> None:
    written = json.dumps(name)[1:-1] if sample.endswith("json") else escape(name)
    content = load(sample)
    assert content.count(NAMES[sample].encode()) == 1
    ((row, *_), _, _) = read(content.replace(NAMES[sample].encode(), written.encode()))
    assert row.get("consignee_name", "").split() == name.split()


def test_there_is_a_sample_of_each_kind_that_is_read_and_each_kind_names_its_page() -> None:
    assert {path.name for path in SAMPLES + OTHERS} == EXPECTED.keys()
    read = {kind.name for kind in list_kinds() if kind.page} - {"WCO DM", "PER", "FSN", "FER"}
    assert {detect_kind(path.read_bytes()).name for path in SAMPLES} == read
    for kind in list_kinds():
        assert bool(kind.page) == bool(kind.reader or kind.goods), kind
        assert not kind.page or kind.name in (ROOT / "docs" / kind.page).read_text(), kind


def test_the_commands_of_the_pages_print_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    lines = (ROOT / "docs" / "formats.md").read_text().splitlines()
    command, *printed = [line[4:] for line in lines if line[:4] == " " * 4]
    shown = [(command, printed)]
    page = (ROOT / "docs" / "formats_post.md").read_text()
    blocks = {language: text for language, text in FENCE.findall(page) if language != "text"}
    for name in ("xml", "toml"):
        (tmp_path / f"own_feed.{name}").write_text(blocks[name])
    printed = [text.splitlines() for language, text in FENCE.findall(page) if language == "text"]
    for command, lines in [*shown, *zip(commands(page), printed, strict=True)]:
        assert set(lines) <= set(succeed(command.removeprefix("npsrisk ")).output.splitlines()), command
    (row,) = to_records(read_table(tmp_path / "own.parquet", Consignment).frame, Consignment)
    assert (row.sender_name, row.carrier, row.nature) == ("Ann Smith", "Our Post", "sale")
    assert (row.gross_weight_kg, row.declared_value, row.currency) == (1.0, 6.0, "EUR")
    assert [item.net_weight_kg for item in row.items or ()] == [0.1]
