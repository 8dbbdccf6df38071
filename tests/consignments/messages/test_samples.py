"""Every message of docs/samples is read field by field as `tests/messages/expected.json` says, whose values were compared by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from support.messages import BROKEN, MESSAGES, ROOT, read_messages

from consignments.messages.post.mapping import load_mapping
from npsrisk import main

EXPECTED = json.loads((BROKEN / "expected.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 3, 11, 6, tzinfo=UTC)
SAMPLES = sorted(path for path in MESSAGES.iterdir() if path.suffix != ".toml")


def describe(value: Any) -> Any:
    """Return plain values without those that are missing."""
    plain = json.loads(msgspec.json.encode(value))
    return json.loads(json.dumps(plain), object_hook=lambda d: {k: v for k, v in d.items() if v is not None})


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_read_field_by_field(path: Path) -> None:
    mapping = load_mapping(MESSAGES / "itmatt.toml")
    found = read_messages([path.read_bytes()], now=NOW, mappings=(mapping,))
    assert describe(found._asdict()) == EXPECTED[path.name]
    assert not found.rejects


def test_the_command_of_the_page_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [
        line[4:] for line in (ROOT / "docs" / "formats.md").read_text().splitlines() if line[:4] == " " * 4
    ]
    command, *printed = shown
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, command.split()[1:])
    assert done.exit_code == 0, done.output
    assert set(printed) <= set(done.output.splitlines())


def test_no_sample_is_missing() -> None:
    assert {path.name for path in SAMPLES} == EXPECTED.keys()
