"""The gate by its verb: a table or JSON of every rule, an exit code, and the tables of the training run."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.examples import day, make_consignment, make_outcome
from support.registered_model import register_small_model

from consignments.files.table_writers import write_table
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, check_frame
from models.registry import Registry
from models.signatures.key_holders import Approvers
from npsrisk import main
from training.runs.evidence import fetch_evidence

APPROVAL = ("--approved-by", "a reviewer", "--why", "to try the gate")
TARGET = ("--target", "any_offence")
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


@dataclass(frozen=True)
class Office:
    """A folder with a store, in which verbs are run."""

    folder: Path

    def run(self, *words: str) -> Result:
        address = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}",
            "NPSRISK_STATE_DIR": str(self.folder / "state"),
        }
        return CliRunner(env=address).invoke(main, words)

    def tables(self, outcomes: str = "outcomes") -> tuple[str, ...]:
        """Give the options that name the tables of the training run."""
        named = {"consignments": "consignments", "outcomes": outcomes, "alerts": "alerts"}
        return tuple(
            word
            for option, name in named.items()
            for word in (f"--{option}", f"{self.folder / name}.parquet")
        )


def read_result(done: Result) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """The small model of the tests as version 1, whose run measured nothing, and which no test promotes."""
    folder = tmp_path_factory.mktemp("office")
    register_small_model(folder)
    return create_key(Office(folder))


def create_key(office: Office) -> Office:
    """Let the reviewer of the tests approve."""
    created = office.run("keys", "create", "--name", "a reviewer")
    assert created.exit_code == 0, created.output
    return office


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A version that was trained by its verb, on tables with a further column, and judged by the truth too."""
    made = create_key(Office(tmp_path_factory.mktemp("trained")))
    world = ("simulate", "--out", str(made.folder), "--prevalence", "operation", "--days", "64")
    assert made.run(*world, "--per-day", "50", "--seed", "8").exit_code == 0
    path = made.folder / "consignments.parquet"
    frame = pd.read_parquet(path)
    frame.assign(shelf=[float(row % 7) for row in range(len(frame))]).to_parquet(path)
    pd.read_parquet(made.folder / "outcomes.parquet").iloc[:-1].to_parquet(made.folder / "fewer.parquet")
    (made.folder / "config.toml").write_text(CONFIG)
    options = ("--truth", str(made.folder / "truth.parquet"), "--config", str(made.folder / "config.toml"))
    options += ("--key", str(made.folder / "state" / "approver.key"))
    done = made.run("train", *made.tables(), *options, *TARGET, "--jobs", "1", "--register")
    assert done.exit_code == 0, done.output
    return made


def test_the_gate_shows_each_rule_in_a_table_and_ends_with_1_if_one_does_not_hold(office: Office) -> None:
    done = office.run("gate", "1")
    assert done.exit_code == 1, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["rule", "result", "found", "expected"]
    for rule, result in {
        "checksums verified": "holds",
        "better than chance": "does not hold",
        REFIT_RULE: "not checked",
    }.items():
        (row,) = [line for line in lines if line.startswith(rule)]
        assert row.removeprefix(rule).strip().startswith(result)
    assert lines[-1] == "models:/nps-risk/1 does not pass the gate"
    assert any(line.startswith("Recommendation: refuse. The gate does not hold") for line in lines)
    assert any(line.endswith(f"not checked: {REFIT_RULE}, figures verified.") for line in lines)


def test_the_gate_as_json_names_what_was_found_and_expected(office: Office) -> None:
    done = office.run("gate", "challenger", "--json")
    assert done.exit_code == 1, done.output
    result = read_result(done)
    assert (result["version"], result["passes"]) == ("1", False)
    assert result["rules"][REFIT_RULE]["held"] is None
    assert result["rules"]["checksums verified"]["held"] is True
    assert result["rules"]["better than chance"]["held"] is False
    assert {frozenset(rule) for rule in result["rules"].values()} == {
        frozenset({"held", "found", "expected"})
    }
    assert result["recommendation"]["action"] == "refuse"
    assert result["recommendation"]["facts"][-1].startswith("3 of 14 rules hold; ")


def test_a_version_is_not_compared_with_itself_under_another_name(office: Office) -> None:
    for other in ("1", "challenger", "models:/nps-risk/1"):
        done = office.run("compare", "1", other, "--consignments", "none.csv", "--outcomes", "none.csv")
        assert done.exit_code == 2
        assert "a version cannot be compared with itself" in done.stderr
        assert "models:/nps-risk/1 and models:/nps-risk/1" in done.stderr


def test_two_versions_with_the_same_bundle_are_not_compared(tmp_path: Path) -> None:
    register_small_model(tmp_path, seeds=(1, 1))
    done = Office(tmp_path).run("compare", "1", "2", "--consignments", "none.csv", "--outcomes", "none.csv")
    assert done.exit_code == 2
    assert "the two versions hold the same bundle, byte for byte" in done.stderr
    assert "models:/nps-risk/1 and models:/nps-risk/2" in done.stderr


def test_a_comparison_prints_the_address_of_its_run(tmp_path: Path) -> None:
    register_small_model(tmp_path, seeds=(1, 2))
    arrived = [make_consignment(f"C{n:03d}", received_at=day(40 + n // 10)) for n in range(200)]
    results = [
        make_outcome(f"C{n:03d}", result="clear" if n % 9 else "nps", inspected_at=day(80), known_at=day(90))
        for n in range(200)
    ]
    options: list[str] = []
    for option, records, kind in (("consignments", arrived, Consignment), ("outcomes", results, Outcome)):
        path = tmp_path / f"{option}.parquet"
        write_table(check_frame(build_frame(records, kind), kind).frame, path)
        options += [f"--{option}", str(path)]
    done = Office(tmp_path).run("compare", "1", "2", *options)
    assert done.exit_code == 0, done.output
    (run_id,) = re.findall(r"^run (\w+)$", done.stdout, re.MULTILINE)
    assert re.search(
        rf"^run in MLflow: http://127.0.0.1:5000/#/experiments/\d+/runs/{run_id}$", done.stdout, re.MULTILINE
    )


def test_a_training_run_with_a_key_signs_its_tables_and_bundles(trained: Office) -> None:
    registry = Registry(f"sqlite:///{trained.folder / 'mlflow.db'}")
    version = registry.resolve("challenger", target="any_offence")
    approvers = Approvers.read(trained.folder / "state" / "approvers.toml")
    about = {"bundle": registry.fetch_bundle(version).sha256}
    found = fetch_evidence(
        registry, version.run_id, about, kind="training", approvers=approvers, at=datetime.now(UTC)
    )
    assert (found.signer, found.doubt) == ("a reviewer", "")
    assert {"config.json", "tables/leaks.json"} <= found.files.keys()
    assert found.evidence is not None
    assert found.evidence.data_sha256 == version.tags["data_sha256"]


def test_a_version_that_passes_ends_with_0(tmp_path: Path) -> None:
    register_small_model(tmp_path)
    office = create_key(Office(tmp_path))
    promoted = office.run("promote", "1", *APPROVAL, "--force")
    assert promoted.exit_code == 0, promoted.output
    assert "nps-risk version 1 is champion; record 1" in promoted.stdout
    forced = promoted.stdout.splitlines()[-1]
    assert forced.startswith("Forced: 3 of 14 rules hold; does not hold: no future data, ")
    assert forced.endswith(f"not checked: {REFIT_RULE}, figures verified.")
    done = office.run("gate", "champion")
    assert done.exit_code == 0, done.output
    assert "Recommendation: promote. It was champion before" in done.stdout
    assert done.stdout.splitlines()[-1] == "models:/nps-risk/1 passes the gate"


@pytest.mark.parametrize("verb", [("gate", "1"), ("promote", "1", *APPROVAL)], ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("given", "missing"),
    [("--consignments", "--outcomes"), ("--outcomes", "--consignments"), ("--alerts", "--outcomes")],
)
def test_some_of_the_tables_alone_are_refused(
    office: Office, verb: tuple[str, ...], given: str, missing: str
) -> None:
    done = office.run(*verb, given, "t.parquet")
    assert done.exit_code == 2
    assert f"only some tables of the training run are given; got {given}; expected" in done.stderr
    assert missing in done.stderr.split(": only some")[0]


def test_the_tables_of_the_training_run_make_its_fits_again(trained: Office) -> None:
    done = trained.run("gate", "1", *TARGET, *trained.tables(), "--jobs", "1", "--json")
    rule = read_result(done)["rules"][REFIT_RULE]
    assert rule["held"] is True, rule["found"]


def test_other_tables_are_told_by_their_hash(trained: Office) -> None:
    done = trained.run("gate", "1", *TARGET, *trained.tables(outcomes="fewer"), "--jobs", "1", "--json")
    assert done.exit_code == 1
    rule = read_result(done)["rules"][REFIT_RULE]
    assert rule["held"] is False
    assert rule["found"].startswith("the tables are not those it was trained on: hash ")
