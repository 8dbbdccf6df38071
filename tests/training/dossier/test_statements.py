"""Every statement about the product in the dossier is looked up in the product.

A statement of `fields.toml` names its check: a function here, or an existing test that proves more than a look can.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from support.approved_model import Approved
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, make_bundle, publish, serving, settings_in

from consignments.records import Consignment, Outcome, get_fields
from consignments.tables import build_frame, check_frame
from features.config import FeatureConfig
from models.bundle import load_bundle
from models.registry import PREVIOUS
from npsrisk import MODULES, LazyVerbs
from operation.desk.routes import list_page_routes
from serving.event_log.event_codec import ActionKind
from serving.http.app import list_routes
from serving.http.auth import SCOPES
from serving.process.settings import Settings, WithoutModel
from serving.scoring.scorer import DEFAULT_REASON_COUNTS
from training.data.training_set import compute_inverse_propensity, get_labels_as_of
from training.dossier.dossier import build_dossier, list_fields, load_layout
from training.evaluation.finds import weigh_finds
from training.monitoring.drift_measures import DriftVerdict

ROOT = Path(__file__).parents[3]
STATEMENTS = [
    (text, check) for field in list_fields(load_layout()) for text, check in field.get("statements", ())
]
TEXTS = {check: text for text, check in STATEMENTS}
NAMED_ELSEWHERE = {
    "forgotten_in_copies": "tests/serving/maintenance/test_forgetting.py::test_an_older_backup_is_restored_without_what_was_forgotten",
    "deletion": "tests/serving/maintenance/test_forgetting.py::test_content_is_gone_from_the_files_too_and_history_is_left",
    "later_knowledge": "tests/features/history/test_ordering.py::test_as_of_hides_what_became_visible_later",
    "names_without_effect": "tests/features/test_plain_groups.py::test_no_feature_tells_one_persons_name_from_anothers",
    "other_features_refused": "tests/models/test_bundle.py::test_hostile_content_is_refused_even_with_right_sums",
    "signed_bundles": "tests/serving/deployment/test_publisher.py::test_what_nobody_approved_or_lightgbm_scores_otherwise_is_not_published_to_decide",
    "figures_from_stored_scores": "tests/training/dossier/test_dossier.py::test_the_stored_scores_of_the_run_are_what_is_evaluated",
    "too_few_results": "tests/training/dossier/test_dossier.py::test_too_few_results_are_no_figure_and_no_complete_field",
}
"""Checks that are tests of their own."""


@dataclass(frozen=True)
class Product:
    """A service with a model in a folder, and a model that was trained and approved."""

    client: Client
    folder: Path
    bundle: Path
    approved: Approved

    def score(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return the answer to a consignment."""
        posted = self.client.post("/v1/scores?reasons=3", make_consignment(name, **changes))
        answer: dict[str, Any] = posted.json()
        return answer

    def list_paths(self) -> set[str]:
        """List methods and paths of the service with its pages."""
        service, door = self.client.service, self.client.app.door
        routes = [*list_routes(service, door), *list_page_routes(service, door)]
        return {f"{route.method} {route.path}" for route in routes}

    @property
    def evidence(self) -> Any:
        return self.approved.evidence

    def download_served(self) -> Path:
        return self.approved.registry.download_fits(self.approved.version).served

    def list_files(self, folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file()]

    def read_trees(self) -> str:
        """Return the trees of the approved model as LightGBM's text."""
        return next(self.download_served().rglob("trees.txt")).read_text()


DATA_FILES = {".json", ".txt", ".npy"}
GROUPS = {"goods", "parties", "route", "value", "alerts", "history"}


def read_models() -> list[str]:
    return [path.read_text() for path in (ROOT / "models").glob("*.py")]


def read_list(block: str, name: str) -> list[str]:
    """Return the values of a line of a tree."""
    return next(line for line in block.splitlines() if line.startswith(f"{name}=")).partition("=")[2].split()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, approved: Approved) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    bundle = make_bundle(folder / "made", FeatureConfig(), seed=1)
    publish(folder / "state", bundle, "1")
    with serving(settings_in(folder / "state", NPSRISK_MAX_BODY_BYTES=100_000)) as client:
        yield Product(client, folder / "state", bundle, approved)


OPTIONS = {
    "verb_score": ("score", {"--consignments", "--out"}),
    "training_tables": ("train", {"--consignments", "--outcomes", "--alerts"}),
    "personal_export": ("export", {"--personal"}),
    "random_share": ("select", {"--explore"}),
}
"""Statements about an option of a verb."""


def list_options(verb: str) -> set[str]:
    return {option for parameter in LazyVerbs()[verb].params for option in parameter.opts}


def read_fields(record: type) -> dict[str, Any]:
    return {field.name: field for field in get_fields(record)}


PAGES = ("officer", "inspection-system", "operator", "data-scientist", "reviewer")
SCREENS = {"/", "/consignment", "/alerts", "/model", "/login"}
METRICS = {
    *("precision_at_1pct", "recall_at_capacity", "roc_auc", "average_precision", "calibration_ratio"),
}
SPECIAL = re.compile("ethnic|race|relig|health|gender|sex|nationality")
GRAPHICS = re.compile("gpu|cuda")
LOOKS: dict[str, Callable[[Product], object]] = {
    "bundle_without_code": lambda p: {each.suffix for each in p.list_files(p.bundle)} <= DATA_FILES,
    "models_from_registry": lambda _: Settings.model_fields["model"].default.startswith("models:/"),
    "documentation": lambda _: all((ROOT / "docs" / f"{page}.md").exists() for page in PAGES),
    "no_special_columns": lambda _: not SPECIAL.search(" ".join(read_fields(Consignment))),
    "name_swaps_recorded": lambda p: len(p.evidence.tables["name_swaps"]) > 3,
    "weak_negatives": lambda p: any(row.get("background") for row in p.evidence.tables["data"]),
    "anchored_level": lambda p: p.evidence.served.card.level.to_sentence(),
    "scopes": lambda _: all(scope in TEXTS["scopes"] for scope in SCOPES),
    "feature_groups": lambda p: {feature.group for feature in load_bundle(p.bundle).spec} >= GROUPS,
    "no_graphics_cards": lambda _: not any(map(GRAPHICS.search, read_models())),
    "verb_parity": lambda _: "parity" in MODULES,
    "names_of_metrics": lambda p: p.evidence.recipe.model.metrics.keys() >= METRICS,
    "no_limit_of_burden": lambda p: (
        not [rule for rule in p.evidence.gate.rules if "burden" in rule or "fair" in rule]
    ),
    "reasons_of_high_bands": lambda _: min(DEFAULT_REASON_COUNTS[band] for band in ("high", "elevated")) > 0,
    "without_model": lambda _: set(get_args(WithoutModel)) == {"rules", "refuse"},
    "previous_model": lambda _: PREVIOUS == "previous" and "--model" in list_options("publish"),
    "limited_bodies": lambda p: p.client.post("/v1/scores", b" " * 200_000).status_code == 413,
    "drift_verdicts": lambda _: (
        "drift" in MODULES and all(verdict in TEXTS["drift_verdicts"] for verdict in get_args(DriftVerdict))
    ),
}
"""Statements that one look confirms."""


def check_inverse_weights(product: Product) -> None:
    assert compute_inverse_propensity(np.array([0.1, 0.5])).tolist() == [10, 2]
    assert weigh_finds(np.array([1.0, 4.0, 4.0, 400.0])).round(1).tolist() == [1.0, 2.0, 2.0, 5.0]


def check_http_calls(product: Product) -> None:
    assert 0 <= product.score("CALLS")["score"] <= 1
    assert product.client.post("/v1/outcomes", make_outcome("CALLS")).status_code == 200


def check_officer_pages(product: Product) -> None:
    assert {f"GET {page}" for page in SCREENS} | {"POST /consignment"} <= product.list_paths()
    assert "no screen" not in str(STATEMENTS)


def check_answer_of_a_score(product: Product) -> None:
    texts = ("cotton shirts", "research chemical, 10 g powder", "analytical standard")
    answers = [product.score(f"ANSWER{text}"[:12], description=text) for text in texts]
    assert {answer["band"] for answer in answers} <= {"high", "elevated", "routine"}
    reasons = [reason for answer in answers for reason in answer["reasons"]]
    assert {"text", "value", "usual", "contribution"} <= set(reasons[0])


def check_bundle_without_consignments(product: Product) -> None:
    content = b"".join(path.read_bytes() for path in product.list_files(product.download_served()))
    frame = product.approved.world.consignments
    for column in ("consignment_id", "sender_phone", "consignee_phone", "consignee_address"):
        values = frame[column].dropna().unique()[:200]
        assert not [value for value in values if len(value) >= 8 and value.encode() in content], column


def check_periods_in_order(product: Product) -> None:
    assert product.evidence.config.split.label_delay_days > 0
    rows = {row["period"]: row for row in product.evidence.tables["split"]}
    for earlier, later in pairwise(rows[name] for name in ("training", "validation", "test")):
        assert earlier["arrivals_before"] < later["arrivals_from"]


def find_known(names: list[str], outcomes: list[Outcome], at: float) -> list[bool]:
    """Say of which consignments a result is known on a day."""
    frame = build_frame([make_consignment(name) for name in names], Consignment)
    labels = get_labels_as_of(frame["consignment_id"], build_frame(outcomes, Outcome), day(at), "nps")
    known: list[bool] = labels.known.tolist()
    return known


def check_labels_when_visible(product: Product) -> None:
    outcome = make_outcome("SEEN", result="nps", inspected_at=day(2), known_at=day(9))
    assert [find_known(["SEEN"], [outcome], at) for at in (5, 10)] == [[False], [True]]


def check_labels_are_final(product: Product) -> None:
    missed = make_outcome("B", status="missed", result=None, known_at=None, inspected_at=day(1))
    outcomes = [make_outcome("A", result="pending", known_at=None), missed, make_outcome("C", result="clear")]
    assert find_known(["A", "B", "C"], outcomes, 300) == [False, False, True]


def check_invalid_rows(product: Product) -> None:
    both = build_frame([make_consignment(name) for name in ("GOOD", "BAD")], Consignment)
    both["channel"] = ["postal", "ship"]
    assert check_frame(both, Consignment).frame["consignment_id"].tolist() == ["GOOD"]
    assert "--rejects" in list_options("train")


def check_normal_forms(product: Product) -> None:
    product.score("FORM0")
    product.score("FORM1", sender_name="ORCHID  trading ltd", consignee_phone="+82 10 5550 1234")
    log = product.client.service.log
    keys = [log.read_consignment_events(name)[0].keys for name in ("FORM0", "FORM1")]
    assert keys[0] == keys[1]


def check_parts_of_the_score(product: Product) -> None:
    """The trees hold all parts: rules and linear model are written as trees of one feature each."""
    model = product.evidence.config.model
    assert product.read_trees().count("Tree=") > model.trees
    assert model.linear_share > 0
    calibration = product.evidence.served.model.calibration
    assert set(calibration.channels) <= {"postal", "air_cargo"}
    low, high = calibration.calibrate(np.array([-20.0, 20.0]), ["postal", "air_cargo"])
    assert 0 < low < high < 1


def check_loss_of_the_trees(product: Product) -> None:
    text = product.read_trees()
    assert "objective=binary" in text
    grown = [block for block in text.split("Tree=")[1:] if len(set(read_list(block, "split_feature"))) > 1]
    assert len(grown) >= product.evidence.config.model.trees


def check_logged_decision(product: Product) -> None:
    answer = product.score("LOGGED")
    record = product.client.get("/v1/consignments/LOGGED").json()
    assert answer["decision_id"] in str(record)
    assert "verify-log" in MODULES


def check_officer_decides(product: Product) -> None:
    assert {"inspect", "release", "request_information", "do_not_load"} <= set(get_args(ActionKind))
    action = {"consignment_id": "ACTED", "action": "release", "by": "an officer", "reason": "known sender"}
    product.score("ACTED")
    assert product.client.post("/v1/actions", action).status_code == 200
    assert "known sender" in product.client.get("/v1/consignments/ACTED").text


def check_outcome_names_selection(product: Product) -> None:
    field = read_fields(Outcome)["selected_by"]
    assert field.required
    assert {"officer", "random", "model", "rule"} <= set(field.choices)


def check_encrypted_columns(product: Product) -> None:
    product.score("SEALED", sender_name="Zanzibar Unlikely Traders")
    product.client.portal.call(product.client.service.poll)
    content = b"".join(path.read_bytes() for path in product.list_files(product.folder))
    assert b"SEALED" in content
    assert b"Zanzibar" not in content
    assert (product.folder / "data.key").is_file()


def check_gate_or_force(product: Product) -> None:
    assert {"compare", "gate", "promote", "keys"} <= set(MODULES)
    made = build_dossier(product.evidence, day(0).date() + timedelta(days=1))
    fields = {field["key"]: field for section in made["sections"] for field in section["fields"]}
    rows = fields["approval"]["known"]["approval"]["rows"]
    assert {"name": "forced against the gate", "value": "yes"} in rows


CHECKS: dict[str, Callable[[Product], None]] = {
    name.removeprefix("check_"): check
    for name, check in globals().items()
    if name.startswith("check_") and name != "check_frame"
}


def test_every_statement_has_its_check_and_every_check_a_statement() -> None:
    named = [*OPTIONS, *LOOKS, *CHECKS, *NAMED_ELSEWHERE]
    assert sorted(named) == sorted({check for _, check in STATEMENTS})


@pytest.mark.parametrize("name", OPTIONS)
def test_a_verb_has_the_options_that_the_dossier_names(name: str) -> None:
    verb, options = OPTIONS[name]
    assert options <= list_options(verb)


@pytest.mark.parametrize("name", LOOKS)
def test_one_look_confirms_what_the_dossier_says(name: str, product: Product) -> None:
    assert LOOKS[name](product)


@pytest.mark.parametrize("name", CHECKS)
def test_the_product_is_as_the_dossier_says(name: str, product: Product) -> None:
    CHECKS[name](product)


@pytest.mark.parametrize("name", NAMED_ELSEWHERE)
def test_a_test_proves_what_the_dossier_says(name: str) -> None:
    path, _, test = NAMED_ELSEWHERE[name].partition("::")
    assert f"def {test}(" in (ROOT / path).read_text()
