"""The gate by its verb: a table or JSON of every rule, and an exit code; `tests/test_loop.py` gives it the tables of the training run."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.examples import day, make_consignment, make_outcome
from support.registered_model import register_small_model
from support.table_examples import write_records
from support.verbs import read_json, run_verb

from training.gate.rules import REFIT_RULE

Run = Callable[..., Result]


def open_office(folder: Path) -> Run:
    def run(words: str, code: int = 0) -> Result:
        state = {"NPSRISK_STATE_DIR": f"{folder}/state"}
        done = run_verb(words, MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}", **state)
        assert done.exit_code == code, done.output
        return done

    run("keys create --name 'a reviewer'")
    return run


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small model of the tests as versions 1 and 2, and another as 3; their runs measured nothing."""
    folder = tmp_path_factory.mktemp("office")
    register_small_model(folder, seeds=(1, 1, 2))
    return open_office(folder)


def test_the_gate_shows_each_rule_as_table_and_json_and_ends_with_1_if_one_does_not_hold(office: Run) -> None:
    lines = office("gate 1", 1).stdout.splitlines()
    assert lines[0].split() == ["rule", "result", "found", "expected"]
    held = {"checksums verified": True, "better than chance": False, REFIT_RULE: None}
    words = {True: "holds", False: "does not hold", None: "not checked"}
    for rule, is_held in held.items():
        (row,) = [line for line in lines if line.startswith(rule)]
        assert row.removeprefix(rule).strip().startswith(words[is_held])
    assert lines[-1] == "models:/nps-risk/1 does not pass the gate"
    assert any(line.startswith("Recommendation: refuse. The gate does not hold") for line in lines)
    assert any(line.endswith(f"not checked: {REFIT_RULE}, figures verified.") for line in lines)
    result = read_json(office("gate challenger --json", 1))
    assert (result["version"], result["passes"]) == ("3", False)
    assert {rule: result["rules"][rule]["held"] for rule in held} == held
    assert all({*rule} == {"held", "found", "expected"} for rule in result["rules"].values())
    assert result["recommendation"]["action"] == "refuse"
    assert result["recommendation"]["facts"][-2].startswith("3 of 14 rules hold; ")


def test_a_version_is_not_compared_with_its_equal(office: Run) -> None:
    refused = office("compare 1 2 --consignments none.csv --outcomes none.csv", 2).stderr
    assert "the two versions hold the same bundle, byte for byte" in refused
    assert "models:/nps-risk/1 and models:/nps-risk/2" in refused


def test_a_comparison_prints_the_address_of_its_run(office: Run, tmp_path: Path) -> None:
    arrived = [make_consignment(f"C{n:03d}", received_at=day(40 + n // 10)) for n in range(200)]
    known = {"inspected_at": day(80), "known_at": day(90)}
    results = [make_outcome(f"C{n:03d}", result="clear" if n % 9 else "nps", **known) for n in range(200)]
    write_records(tmp_path / "c.parquet", arrived)
    write_records(tmp_path / "o.parquet", results)
    told = office(f"compare 1 3 --consignments {tmp_path}/c.parquet --outcomes {tmp_path}/o.parquet").stdout
    (run_id,) = re.findall(r"^run (\w+)$", told, re.MULTILINE)
    address = rf"^run in MLflow: http://127.0.0.1:5000/#/experiments/\d+/runs/{run_id}$"
    assert re.search(address, told, re.MULTILINE)


def test_the_gate_replaces_what_was_written_by_hand_and_a_champion_passes_with_0(tmp_path: Path) -> None:
    registry, run = register_small_model(tmp_path), open_office(tmp_path)
    registry.client.update_model_version("nps-risk", "1", "**PROMOTE.** everything holds")
    run("gate 1", 1)
    page = registry.client.get_model_version("nps-risk", "1")
    assert (page.description[:11], page.tags["verdict"]) == ("**REFUSE.**", "refuse")
    promoted = run("promote 1 --approved-by 'a reviewer' --why 'to try the gate' --force").stdout
    assert "nps-risk version 1 is champion; record 1" in promoted
    forced = promoted.splitlines()[-1]
    assert forced.startswith("Forced: 3 of 14 rules hold; does not hold: no future data, ")
    assert forced.endswith(f"not checked: {REFIT_RULE}, figures verified.")
    passed = run("gate champion").stdout
    assert "Recommendation: promoted. It is champion" in passed
    assert passed.splitlines()[-1] == "models:/nps-risk/1 passes the gate"
