"""The gate by its verb: a table or JSON of every rule, an exit code, and the tables of the training run."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from support.examples import day, make_consignment, make_outcome
from support.registered_model import register_small_model
from support.table_examples import write_records
from support.verbs import read_json, run_verb

from models.registry import Registry
from models.signatures.key_holders import Approvers
from training.runs.evidence import fetch_evidence

REFIT_RULE = "training reproduced"
CONFIG = """
[columns]
numeric = ["shelf"]
[split]
validation_days = 10
test_days = 10
label_delay_days = 7
[model]
trees = 5
[evaluation]
name_rows = 30
smallest_slice = 10
origins = 0
"""
Run = Callable[..., Result]


def open_office(folder: Path) -> Run:
    """Return what runs verbs on the store of a folder, whose reviewer may approve."""

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Run:
    """A version that was trained by its verb, on tables with a further column, and judged by the truth too."""
    run = open_office(folder)
    run(f"simulate --out {folder} --prevalence operation --days 64 --per-day 50 --seed 8")
    path = folder / "consignments.parquet"
    frame = pd.read_parquet(path)
    frame.assign(shelf=[float(row % 7) for row in range(len(frame))]).to_parquet(path)
    pd.read_parquet(folder / "outcomes.parquet").iloc[:-1].to_parquet(folder / "fewer.parquet")
    (folder / "config.toml").write_text(CONFIG)
    more = f"--truth {folder}/truth.parquet --config {folder}/config.toml --key {folder}/state/approver.key"
    run(f"train {name_tables(folder)} {more} --target any_offence --jobs 1 --register")
    return run


def name_tables(folder: Path, outcomes: str = "outcomes") -> str:
    """Give the options that name the tables of the training run."""
    named = {"consignments": "consignments", "outcomes": outcomes, "alerts": "alerts"}
    return " ".join(f"--{option} {folder}/{name}.parquet" for option, name in named.items())


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
    assert result["recommendation"]["facts"][-1].startswith("3 of 14 rules hold; ")


ITSELF = "a version cannot be compared with itself"
EQUAL = "the two versions hold the same bundle, byte for byte"


@pytest.mark.parametrize(("other", "told"), [("1", ITSELF), ("models:/nps-risk/1", ITSELF), ("2", EQUAL)])
def test_a_version_is_not_compared_with_its_equal(office: Run, other: str, told: str) -> None:
    refused = office(f"compare 1 {other} --consignments none.csv --outcomes none.csv", 2).stderr
    assert told in refused
    assert f"models:/nps-risk/1 and models:/nps-risk/{other[-1]}" in refused


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


@pytest.mark.parametrize("verb", ["gate 1", "promote 1 --approved-by 'a reviewer' --why test"])
@pytest.mark.parametrize(
    ("given", "missing"),
    [("--consignments", "--outcomes"), ("--outcomes", "--consignments"), ("--alerts", "--outcomes")],
)
def test_some_of_the_tables_alone_are_refused(office: Run, verb: str, given: str, missing: str) -> None:
    refused = office(f"{verb} {given} t.parquet", 2).stderr
    assert f"only some tables of the training run are given; got {given}; expected" in refused
    assert missing in refused.split(": only some")[0]


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


def test_a_training_run_with_a_key_signs_its_tables_and_bundles(trained: Run, folder: Path) -> None:
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}")
    version = registry.resolve("challenger", target="any_offence")
    trusted = {"approvers": Approvers.read(folder / "state" / "approvers.toml"), "at": datetime.now(UTC)}
    about = {"bundle": registry.fetch_bundle(version).sha256}
    found = fetch_evidence(registry, version.run_id, about, kind="training", **trusted)
    assert (found.signer, found.doubt) == ("a reviewer", "")
    assert {"config.json", "tables/leaks.json"} <= found.files.keys()
    assert found.evidence is not None
    assert found.evidence.data_sha256 == version.tags["data_sha256"]


OTHER_TABLES = "the tables are not those it was trained on: hash "


@pytest.mark.parametrize(
    ("outcomes", "held", "found"), [("outcomes", True, ""), ("fewer", False, OTHER_TABLES)]
)
def test_the_tables_of_the_training_run_make_its_fits_again_and_others_are_told_by_their_hash(
    trained: Run, folder: Path, outcomes: str, held: bool, found: str
) -> None:
    done = trained(f"gate 1 --target any_offence {name_tables(folder, outcomes)} --jobs 1 --json", 1)
    rule = read_json(done)["rules"][REFIT_RULE]
    assert rule["held"] is held
    assert rule["found"].startswith(found)
