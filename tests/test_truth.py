"""The truth of a simulated world is for those who judge: nothing that trains or scores can read it."""

import ast
from pathlib import Path

import pytest

import npsrisk
from consignments.records import Truth

REPOSITORY = Path(__file__).resolve().parent.parent
JUDGES = {"train", "compare", "replay", "debrief"}
"""Verbs that may be given the truth, to judge by it."""


def test_only_verbs_that_judge_can_be_given_the_truth() -> None:
    verbs = npsrisk.main.commands.items()
    taking = {name for name, verb in verbs if any("--truth" in each.opts for each in verb.params)}
    assert {"train", "compare"} <= taking <= JUDGES


@pytest.mark.parametrize("package", ["consignments", "features", "models", "serving"])
def test_what_scores_knows_no_truth(package: str) -> None:
    """Its columns are named nowhere there but in the record and the check of tables; the world is not imported."""
    own = {"consignments/records.py", "consignments/validation.py"}
    for path in (REPOSITORY / package).rglob("*.py"):
        if str(path.relative_to(REPOSITORY)) not in own and Truth.__name__ in path.read_text():
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
