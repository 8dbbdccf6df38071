"""The commands of docs/operation.md run as they stand there, one after the other."""

import shlex
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import serving, settings_in
from support.table_examples import write_records
from support.verbs import succeed

from consignments.records import Alert

PAGE = Path(__file__).parents[3] / "docs" / "operation.md"
MODEL = ["--model", "models:/nps-risk@champion"]
"""Left out here: it needs a registered model."""


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_in(tmp_path)
    with serving(settings):
        pass  # feedback reads the log of a service
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("NPSRISK_DATABASE_URL", settings.database_url)
    rows = [make_consignment("RB123456785GB"), make_consignment("RB2", received_at=day(2))]
    found = [make_outcome("RB123456785GB", result="nps", inspected_at=day(1), known_at=day(1.5))]
    alert = Alert("XA/S-7", day(0), hs_code=rows[0].hs_code)
    for name, records in (("c", rows), ("o", found), ("alerts", [alert])):
        write_records(tmp_path / f"{name}.parquet", records)
    commands = [shlex.split(line) for line in PAGE.read_text().splitlines() if line.startswith("    ")]
    assert len(commands) == 10
    for words in commands:
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
            continue
        succeed(*(word for word in words[1:] if word not in MODEL))
    assert len(list((settings.exchange_dir / "outbox").iterdir())) == 2


def test_the_script_of_the_page_uses_what_exists() -> None:
    """`make operation` runs it, which takes too long here."""
    found = spec_from_file_location("operation_example", PAGE.with_suffix(".py"))
    script = module_from_spec(found)
    found.loader.exec_module(script)
    assert callable(script.main)
