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
    "forgotten_in_copies": "tests/serving/maintenance/test_forgotten_list.py::test_a_backup_from_before_is_restored_without_what_was_forgotten_since",
    "deletion": "tests/serving/maintenance/test_retention.py::test_content_is_gone_also_from_the_files_and_what_history_needs_is_left",
    "later_knowledge": "tests/features/history/test_ordering.py::test_as_of_hides_what_became_visible_later",
    "names_without_effect": "tests/features/test_plain_groups.py::test_no_feature_tells_one_persons_name_from_anothers",
    "other_features_refused": "tests/models/test_bundle.py::test_hostile_content_is_refused_even_with_right_sums",
    "signed_bundles": "tests/serving/deployment/test_publisher.py::test_what_nobody_approved_is_not_published_to_decide",
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
        answer: dict[str, Any] = self.client.post(
            "/v1/scores?reasons=3", make_consignment(name, **changes)
        ).json()
        return answer

    def list_paths(self) -> set[str]:
        """List methods and paths of the service with its pages."""
        service, door = self.client.service, self.client.app.door
        routes = [*list_routes(service, door), *list_page_routes(service, door)]
        return {f"{route.method} {route.path}" for route in routes}

    def read_trees(self) -> str:
        """Return the trees of the approved model as LightGBM's text."""
        folder = self.approved.registry.download_fits(self.approved.version).served
        return next(folder.rglob("trees.txt")).read_text()


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


def list_options(verb: str) -> set[str]:
    return {option for parameter in LazyVerbs()[verb].params for option in parameter.opts}


def check_bundle_without_code(product: Product) -> None:
    assert {path.suffix for path in product.bundle.rglob("*") if path.is_file()} <= {".json", ".txt", ".npy"}


def check_http_calls(product: Product) -> None:
    assert 0 <= product.score("CALLS")["score"] <= 1
    assert product.client.post("/v1/outcomes", make_outcome("CALLS")).status_code == 200


def check_models_from_registry(product: Product) -> None:
    assert Settings.model_fields["model"].default.startswith("models:/")


def check_verb_score(product: Product) -> None:
    assert {"--consignments", "--out"} <= list_options("score")


def check_officer_pages(product: Product) -> None:
    pages = {"/", "/consignment", "/alerts", "/model", "/login"}
    assert {f"GET {page}" for page in pages} | {"POST /consignment"} <= product.list_paths()
    assert "no screen" not in str(STATEMENTS)


def check_answer_of_a_score(product: Product) -> None:
    texts = ("cotton shirts", "research chemical, 10 g powder", "analytical standard")
    answers = [product.score(f"ANSWER{text}"[:12], description=text) for text in texts]
    assert {answer["band"] for answer in answers} <= {"high", "elevated", "routine"}
    reasons = [reason for answer in answers for reason in answer["reasons"]]
    assert {"text", "value", "usual", "contribution"} <= set(reasons[0])


def check_documentation(product: Product) -> None:
    for page in ("officer", "inspection-system", "operator", "data-scientist", "reviewer"):
        assert (ROOT / "docs" / f"{page}.md").exists()


def check_training_tables(product: Product) -> None:
    assert {"--consignments", "--outcomes", "--alerts"} <= list_options("train")


def check_bundle_without_consignments(product: Product) -> None:
    folder = product.approved.registry.download_fits(product.approved.version).served
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    frame = product.approved.world.consignments
    for column in ("consignment_id", "sender_phone", "consignee_phone", "consignee_address"):
        values = frame[column].dropna().unique()[:200]
        assert not [value for value in values if len(value) >= 8 and value.encode() in content], column


def check_periods_in_order(product: Product) -> None:
    evidence = product.approved.evidence
    assert evidence.config is not None
    rows = {row["period"]: row for row in evidence.tables["split"]}
    delay = f"{evidence.config.split.label_delay_days}"
    assert int(delay) > 0
    order = [rows[name] for name in ("training", "validation", "test")]
    for earlier, later in pairwise(order):
        assert earlier["arrivals_before"] < later["arrivals_from"]


def check_labels_when_visible(product: Product) -> None:
    outcome = make_outcome("SEEN", result="nps", inspected_at=day(2), known_at=day(9))
    frame = build_frame([make_consignment("SEEN")], Consignment)
    known = [
        bool(
            get_labels_as_of(frame["consignment_id"], build_frame([outcome], Outcome), day(at), "nps").known[
                0
            ]
        )
        for at in (5, 10)
    ]
    assert known == [False, True]


def check_no_special_columns(product: Product) -> None:
    names = " ".join(field.name for field in get_fields(Consignment))
    assert not re.search("ethnic|race|relig|health|gender|sex|nationality", names)


def check_name_swaps_recorded(product: Product) -> None:
    assert len(product.approved.evidence.tables["name_swaps"]) > 3


def check_labels_are_final(product: Product) -> None:
    frame = build_frame([make_consignment(name) for name in ("A", "B", "C")], Consignment)
    missed = make_outcome("B", status="missed", result=None, known_at=None, inspected_at=day(1))
    outcomes = [make_outcome("A", result="pending", known_at=None), missed, make_outcome("C", result="clear")]
    labels = get_labels_as_of(frame["consignment_id"], build_frame(outcomes, Outcome), day(300), "nps")
    assert labels.known.tolist() == [False, False, True]


def check_weak_negatives(product: Product) -> None:
    evidence = product.approved.evidence
    assert any(row.get("background") for row in evidence.tables["data"])


def check_inverse_weights(product: Product) -> None:
    assert compute_inverse_propensity(np.array([0.1, 0.5])).tolist() == [10, 2]
    assert weigh_finds(np.array([1.0, 4.0, 4.0, 400.0])).round(1).tolist() == [1.0, 2.0, 2.0, 5.0]


def check_anchored_level(product: Product) -> None:
    level = product.approved.evidence.served.card.level
    assert level is not None
    assert level.to_sentence()


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


def check_scopes(product: Product) -> None:
    assert all(scope in TEXTS["scopes"] for scope in SCOPES)


def check_personal_export(product: Product) -> None:
    assert "--personal" in list_options("export")


def check_feature_groups(product: Product) -> None:
    groups = {feature.group for feature in load_bundle(product.bundle).spec}
    assert {"goods", "parties", "route", "value", "alerts", "history"} <= groups


def check_parts_of_the_score(product: Product) -> None:
    """The trees hold all parts: rules and linear model are written as trees of one feature each."""
    config = product.approved.evidence.config
    assert config is not None
    assert product.read_trees().count("Tree=") > config.model.trees
    assert config.model.linear_share > 0
    calibration = product.approved.evidence.served.model.calibration
    assert set(calibration.channels) <= {"postal", "air_cargo"}
    low, high = calibration.calibrate(np.array([-20.0, 20.0]), ["postal", "air_cargo"])
    assert 0 < low < high < 1


def check_loss_of_the_trees(product: Product) -> None:
    config = product.approved.evidence.config
    assert config is not None
    text = product.read_trees()
    assert "objective=binary" in text
    grown = [block for block in text.split("Tree=")[1:] if len(set(read_list(block, "split_feature"))) > 1]
    assert len(grown) >= config.model.trees


def check_no_graphics_cards(product: Product) -> None:
    assert not re.search("gpu|cuda", "".join(path.read_text() for path in (ROOT / "models").glob("*.py")))


def check_verb_parity(product: Product) -> None:
    assert "parity" in MODULES


def check_logged_decision(product: Product) -> None:
    answer = product.score("LOGGED")
    record = product.client.get("/v1/consignments/LOGGED").json()
    assert answer["decision_id"] in str(record)
    assert "verify-log" in MODULES


def check_names_of_metrics(product: Product) -> None:
    recipe = product.approved.evidence.recipe
    assert recipe is not None
    for name in (
        "precision_at_1pct",
        "recall_at_capacity",
        "roc_auc",
        "average_precision",
        "calibration_ratio",
    ):
        assert name in recipe.model.metrics


def check_no_limit_of_burden(product: Product) -> None:
    assert not [rule for rule in product.approved.evidence.gate.rules if "burden" in rule or "fair" in rule]


def check_officer_decides(product: Product) -> None:
    assert {"inspect", "release", "request_information", "do_not_load"} <= set(get_args(ActionKind))
    action = {"consignment_id": "ACTED", "action": "release", "by": "an officer", "reason": "known sender"}
    product.score("ACTED")
    assert product.client.post("/v1/actions", action).status_code == 200
    assert "known sender" in product.client.get("/v1/consignments/ACTED").text


def check_random_share(product: Product) -> None:
    assert "--explore" in list_options("select")


def check_reasons_of_high_bands(product: Product) -> None:
    assert DEFAULT_REASON_COUNTS["high"] > 0
    assert DEFAULT_REASON_COUNTS["elevated"] > 0


def check_outcome_names_selection(product: Product) -> None:
    (field,) = (field for field in get_fields(Outcome) if field.name == "selected_by")
    assert field.required
    assert {"officer", "random", "model", "rule"} <= set(field.choices)


def check_without_model(product: Product) -> None:
    assert set(get_args(WithoutModel)) == {"rules", "refuse"}


def check_previous_model(product: Product) -> None:
    assert PREVIOUS == "previous"
    assert "--model" in list_options("publish")


def check_encrypted_columns(product: Product) -> None:
    product.score("SEALED", sender_name="Zanzibar Unlikely Traders")
    product.client.portal.call(product.client.service.poll)
    content = b"".join(path.read_bytes() for path in product.folder.rglob("*") if path.is_file())
    assert b"SEALED" in content
    assert b"Zanzibar" not in content
    assert (product.folder / "data.key").is_file()


def check_limited_bodies(product: Product) -> None:
    assert product.client.post("/v1/scores", b" " * 200_000).status_code == 413


def check_gate_or_force(product: Product) -> None:
    assert {"compare", "gate", "promote", "keys"} <= set(MODULES)
    made = build_dossier(product.approved.evidence, day(0).date() + timedelta(days=1))
    fields = {field["key"]: field for section in made["sections"] for field in section["fields"]}
    rows = fields["approval"]["known"]["approval"]["rows"]
    assert {"name": "forced against the gate", "value": "yes"} in rows


def check_drift_verdicts(product: Product) -> None:
    assert all(verdict in TEXTS["drift_verdicts"] for verdict in get_args(DriftVerdict))
    assert "drift" in MODULES


CHECKS: dict[str, Callable[[Product], None]] = {
    name.removeprefix("check_"): check
    for name, check in globals().items()
    if name.startswith("check_") and name != "check_frame"
}


def test_every_statement_has_its_check_and_every_check_a_statement() -> None:
    assert {check for _, check in STATEMENTS} == {*CHECKS, *NAMED_ELSEWHERE}
    assert not set(CHECKS) & set(NAMED_ELSEWHERE)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_product_is_as_the_dossier_says(name: str, product: Product) -> None:
    CHECKS[name](product)


@pytest.mark.parametrize("name", sorted(NAMED_ELSEWHERE))
def test_a_test_proves_what_the_dossier_says(name: str) -> None:
    path, _, test = NAMED_ELSEWHERE[name].partition("::")
    assert f"def {test}(" in (ROOT / path).read_text()
