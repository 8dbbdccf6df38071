"""The commands of the page of postal formats do what it shows."""

from pathlib import Path

import pytest
from support.pages import FENCE, REPOSITORY, commands
from support.verbs import succeed

from consignments.records import Consignment
from consignments.tables import read_table, to_consignments

PAGE = (REPOSITORY / "docs" / "formats_post.md").read_text()
SHOWN = [(language, text) for language, text in FENCE.findall(PAGE)]


def test_each_command_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    for name in ("xml", "toml"):
        (text,) = (text for language, text in SHOWN if language == name)
        (tmp_path / f"own_feed.{name}").write_text(text)
    printed = [text for language, text in SHOWN if language == "text"]
    for command, lines in zip(commands(PAGE), printed, strict=True):
        done = succeed(command.removeprefix("npsrisk "))
        assert set(lines.splitlines()) <= set(done.output.splitlines()), command
    (row,) = to_consignments(read_table(tmp_path / "own.parquet", Consignment).frame, Consignment)
    assert (row.sender_name, row.carrier, row.nature) == ("Ann Smith", "Our Post", "sale")
    assert (row.gross_weight_kg, row.declared_value, row.currency) == (1.0, 6.0, "EUR")
    assert [item.net_weight_kg for item in row.items or ()] == [0.1]
