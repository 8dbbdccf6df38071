"""The truth of a simulated world is for those who judge: nothing that trains or scores can read it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from support.examples import make_consignment

import npsrisk
from consignments.records import Consignment, Truth
from consignments.tables import build_frame

REPOSITORY = Path(__file__).resolve().parent.parent
JUDGES = {"train", "compare", "replay", "debrief"}
"""Verbs that may be given the truth, to judge by it."""
CONFIG = "[split]\nvalidation_days = 15\ntest_days = 15\nlabel_delay_days = 10\n[model]\ntrees = 10\n[evaluation]\norigins = 0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world, and a truth beside it that is no truth."""
    made = tmp_path_factory.mktemp("world")
    simulated = ("simulate", "--out", ".", "--days", "90", "--per-day", "100", "--prevalence", "operation")
    assert run(made, *simulated) == ""
    (made / "config.toml").write_text(CONFIG)
    (made / "truth.parquet").write_text("this is not to be opened")
    return made


def run(folder: Path, *words: str) -> str:
    """Run a verb; give what it says where it fails."""
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", "from npsrisk import main; main()", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | own)
    return done.stderr[-2000:] if done.returncode else ""


TABLES = tuple(f"--{name}={name}.parquet" for name in ("consignments", "outcomes", "alerts"))
TRAIN = ("train", *TABLES, "--target", "any_offence", "--config", "config.toml", "--register")


@pytest.mark.slow
def test_no_step_from_features_to_scores_stumbles_over_what_lies_in_the_place_of_the_truth(
    folder: Path,
) -> None:
    model = "--model=models:/nps-risk-any_offence/1"
    scored = ("score", *TABLES, "--without-history", model, "--out", "scores.parquet")
    for step in (("features", *TABLES, "--out", "features.parquet"), TRAIN, scored):
        assert run(folder, *step) == ""
    assert "truth.parquet" in run(folder, *TRAIN, "--truth", "truth.parquet"), "who opens it, stumbles"


def test_a_truth_given_in_place_of_outcomes_is_refused(tmp_path: Path) -> None:
    build_frame([make_consignment("A")], Consignment).to_parquet(tmp_path / "consignments.parquet")
    truth = pd.DataFrame({"consignment_id": ["A"], "result": ["nps"], "network": ["webshop"]})
    truth.to_parquet(tmp_path / "posing.parquet")
    tables = [f"--consignments={tmp_path}/consignments.parquet", f"--outcomes={tmp_path}/posing.parquet"]
    refused = CliRunner().invoke(npsrisk.main, ["train", *tables])
    assert refused.exit_code == 2
    assert "selected_by" in refused.output


def test_only_verbs_that_judge_can_be_given_the_truth() -> None:
    taking = {
        name
        for name, verb in npsrisk.main.commands.items()
        if any("--truth" in option.opts for option in verb.params if isinstance(option, click.Option))
    }
    assert {"train", "compare"} <= taking <= JUDGES


@pytest.mark.parametrize("package", ["consignments", "features", "models", "serving"])
def test_what_scores_knows_no_truth(package: str) -> None:
    """Its columns are named nowhere there but in the record and the check of tables; the world is not imported."""
    own = {"consignments/records.py", "consignments/validation.py"}
    for path in (REPOSITORY / package).rglob("*.py"):
        if str(path.relative_to(REPOSITORY)) not in own:
            named = {each.id for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Name)}
            assert Truth.__name__ not in named | {alias.name for alias in list_imports(path)}, path


def list_imports(path: Path) -> list[ast.alias]:
    tree = ast.parse(path.read_text())
    return [alias for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) for alias in each.names]


def test_in_training_only_what_simulates_or_judges_knows_the_world() -> None:
    for name in ("runs/task", "runs/train", "data/training_set", "data/propensity", "data/splits", "config"):
        tree = ast.parse((REPOSITORY / "training" / f"{name}.py").read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert not [module for module in modules if module.startswith("training.simulation")], name
