"""Every message of docs/samples, and of tests/messages that is sound, is read field by field as `expected.json` says, whose values were compared by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.messages import BROKEN, MESSAGES, ROOT, read_messages
from support.verbs import succeed

from consignments.messages.kinds import detect_kind, list_kinds
from consignments.messages.post.mapping import load_mapping

EXPECTED = json.loads((BROKEN / "expected.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 3, 11, 6, tzinfo=UTC)
SAMPLES = sorted(path for path in MESSAGES.iterdir() if path.suffix != ".toml")
OTHERS = [BROKEN / name for name in EXPECTED if (BROKEN / name).exists()]


def describe(value: Any) -> Any:
    """Return plain values without those that are missing."""
    plain = json.loads(msgspec.json.encode(value))
    return json.loads(json.dumps(plain), object_hook=lambda d: {k: v for k, v in d.items() if v is not None})


@pytest.mark.parametrize("path", SAMPLES + OTHERS, ids=lambda path: path.name)
def test_a_sample_is_read_field_by_field(path: Path) -> None:
    mapping = load_mapping(MESSAGES / "itmatt.toml")
    found = read_messages([path.read_bytes()], now=NOW, mappings=(mapping,))
    assert describe(found._asdict()) == EXPECTED[path.name]
    assert not found.rejects


def test_there_is_a_sample_of_each_kind_that_is_read_and_each_kind_names_its_page() -> None:
    assert {path.name for path in SAMPLES + OTHERS} == EXPECTED.keys()
    read = {kind.name for kind in list_kinds() if kind.page} - {"WCO DM", "PER", "FSN", "FER"}
    assert {detect_kind(path.read_bytes()).name for path in SAMPLES} == read
    for kind in list_kinds():
        assert bool(kind.page) == bool(kind.reader or kind.goods), kind
        assert not kind.page or kind.name in (ROOT / "docs" / kind.page).read_text(), kind


def test_the_command_of_the_page_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (ROOT / "docs" / "formats.md").read_text().splitlines()
    command, *printed = [line[4:] for line in lines if line[:4] == " " * 4]
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    assert set(printed) <= set(succeed(command.removeprefix("npsrisk ")).output.splitlines())
