"""Every statement about the product in the dossier is proven by a test that exists, or confirmed by one look at the product."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from support.described import REAL

from consignments.records import Consignment, get_fields
from models.registry import PREVIOUS
from npsrisk import MODULES, LazyVerbs
from serving.http.auth import SCOPES
from serving.process.settings import Settings, WithoutModel
from serving.scoring.scorer import DEFAULT_REASON_COUNTS
from training.dossier.dossier import list_fields, load_layout
from training.gate.rules import CHAMPION_RULES, RUN_RULES
from training.monitoring.drift_measures import DriftVerdict

ROOT = Path(__file__).parents[3]
TEXTS = {check: text for field in list_fields(load_layout()) for text, check in field.get("statements", ())}
PROOFS = csv.DictReader((ROOT / "tests" / "data" / "proven_statements.csv").read_text().splitlines())
PROVEN = {row["statement"]: row for row in PROOFS}
"""File and name of the test that proves a statement."""
OPTIONS = {
    "verb_score": ("score", {"--consignments", "--out"}),
    "training_tables": ("train", {"--consignments", "--outcomes", "--alerts"}),
    "invalid_rows": ("train", {"--rejects"}),
    "personal_export": ("export", {"--personal"}),
    "random_share": ("select", {"--explore"}),
    "previous_model": ("publish", {"--model"}),
}
"""Statements about an option of a verb."""
PAGES = ("officer", "inspection-system", "operator", "data-scientist", "reviewer")
SPECIAL = re.compile("ethnic|race|relig|health|gender|sex|nationality")
GRAPHICS = re.compile("gpu|cuda")
GROUPS = {"goods", "parties", "route", "value", "alerts", "history"}
LOOKS: dict[str, Callable[[], object]] = {
    "models_from_registry": lambda: Settings.model_fields["model"].default.startswith("models:/"),
    "documentation": lambda: all((ROOT / "docs" / f"{page}.md").exists() for page in PAGES),
    "no_special_columns": lambda: (
        not [field.name for field in get_fields(Consignment) if SPECIAL.search(field.name)]
    ),
    "scopes": lambda: all(scope in TEXTS["scopes"] for scope in SCOPES),
    "feature_groups": lambda: {feature.group for feature in REAL.features} >= GROUPS,
    "no_graphics_cards": lambda: (
        not [path for path in (ROOT / "models").rglob("*.py") if GRAPHICS.search(path.read_text())]
    ),
    "verb_parity": lambda: "parity" in MODULES,
    "no_limit_of_burden": lambda: not re.search("burden|fair", " ".join(RUN_RULES | CHAMPION_RULES)),
    "reasons_of_high_bands": lambda: min(DEFAULT_REASON_COUNTS[band] for band in ("high", "elevated")) > 0,
    "without_model": lambda: {*get_args(WithoutModel)} == {"rules", "refuse"} and PREVIOUS == "previous",
    "drift_verdicts": lambda: all(verdict in TEXTS["drift_verdicts"] for verdict in get_args(DriftVerdict)),
}
"""Statements that one look confirms."""


def test_every_statement_has_its_check_and_every_check_a_statement() -> None:
    assert sorted([*PROVEN, *OPTIONS, *LOOKS]) == sorted(TEXTS)


@pytest.mark.parametrize("name", PROVEN)
def test_a_test_proves_what_the_dossier_says(name: str) -> None:
    file = ROOT / "tests" / f"{PROVEN[name]['file']}.py"
    assert f"def test_{PROVEN[name]['test']}(" in file.read_text()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_verb_has_the_options_that_the_dossier_names(name: str) -> None:
    verb, options = OPTIONS[name]
    assert options <= {option for parameter in LazyVerbs()[verb].params for option in parameter.opts}


@pytest.mark.parametrize("name", LOOKS)
def test_one_look_confirms_what_the_dossier_says(name: str) -> None:
    assert LOOKS[name]()
