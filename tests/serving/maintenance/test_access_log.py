"""Who exports personal data is recorded before it is read; without the record nothing is exported."""

import json
from pathlib import Path

from support.serving_examples import publish, scored, serving, settings_in
from support.serving_past import run


def test_an_export_of_personal_data_is_recorded_and_another_is_not(tmp_path: Path, bundle: Path) -> None:
    state = tmp_path / "state"
    publish(state, bundle, "1")
    with serving(settings_in(state)) as client:
        scored(client, "RB1")
    record = state / "access.jsonl"
    assert run(state, "export", "--out", str(tmp_path / "plain"))[0] == 0
    assert not record.exists()
    for _ in range(2):
        assert run(state, "export", "--personal", "--out", str(tmp_path / "personal"))[0] == 0
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(line["command"], line["last_sequence"]) for line in lines] == [("export --personal", 1)] * 2
    assert lines[0]["out"] == str(tmp_path / "personal")
    assert lines[0]["user"]
    assert record.stat().st_mode & 0o777 == 0o600


def test_without_a_record_nothing_is_exported(tmp_path: Path, bundle: Path) -> None:
    state = tmp_path / "state"
    publish(state, bundle, "1")
    with serving(settings_in(state)) as client:
        scored(client, "RB1")
    (state / "access.jsonl").mkdir()
    code, output = run(state, "export", "--personal", "--out", str(tmp_path / "personal"))
    assert (code, "cannot be recorded" in output) == (2, True)
    assert not (tmp_path / "personal").exists()
