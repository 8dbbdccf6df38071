"""Evidence written by hand into MLflow promotes nothing: not as metrics, and not as tables, unless an approver or evaluator signed them."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.approval import APPROVAL
from support.examples import make_consignment
from support.registered_model import register_small_model
from support.serving_examples import make_bundle
from support.signing import REVIEWER, SECOND, STRANGER, append_signed_record

from consignments.errors import PromotionRefused
from consignments.records import Consignment
from consignments.tables import build_frame
from features.config import FeatureConfig
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey
from training.config import CONFIG_FILE, TrainConfig
from training.evaluation.leakage import BOUNDS
from training.evaluation.stored_scores import StoredScores
from training.gate.rules import VERIFIED_RULE, find_obstacles
from training.promotion.evidence import COMPARED_SCORES, EvidenceOptions, review_version
from training.promotion.promote import Promotion, promote
from training.reporting.tables import RunTable
from training.runs.artifacts import STORED_SCORES
from training.runs.evidence import Evidence, hash_files

NAME = "nps-risk"
DAYS, ROWS_A_DAY, FINDS_A_DAY = 40, 100, 4
BEGINS = datetime(2030, 1, 1, tzinfo=UTC)
APPROVERS = Approvers(
    [
        Approver("a reviewer", REVIEWER.public.text),
        Approver("an evaluator", SECOND.public.text, role="evaluator"),
    ]
)
RETIRED = Approvers(
    [
        Approver("a reviewer", REVIEWER.public.text),
        Approver("an evaluator", SECOND.public.text, datetime(2025, 1, 1, tzinfo=UTC), "evaluator"),
    ]
)
PERFECT = {
    f"{kind}/{name}{end}": value
    for kind in ("deployed", "test", "difference", "b")
    for name in ("roc_auc", "average_precision", "precision_at_1pct", "recall_at_1pct", "recall_at_capacity")
    for end, value in (("", 0.9), ("_low", 0.8), ("_high", 0.95))
} | {"compared/finds": 200.0, "deployed/calibration_ratio": 1.0, "test/name_swap_95pct": 0.0}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which version 1 is champion, and nobody approved version 2, another model."""
    folder = tmp_path_factory.mktemp("store")
    registry = register_small_model(folder)
    champion = registry.resolve("1")
    append_signed_record(registry, champion, champion.tags["bundle_sha256"])
    registry.register(
        create_run(registry),
        make_bundle(folder / "bundle-2", FeatureConfig(), seed=2),
        example=build_frame([make_consignment("E1")], Consignment),
        description="A model of the tests.",
        tags={"target": "nps"},
    )
    return folder


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Registry:
    shutil.copy(template / "mlflow.db", tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")


def create_run(registry: Registry, **tags: str) -> str:
    experiment = registry.client.get_experiment_by_name(NAME)
    assert experiment is not None
    run_id: str = registry.client.create_run(experiment.experiment_id, tags=tags).info.run_id
    return run_id


def create_comparison(registry: Registry) -> str:
    one, other = (registry.resolve(number) for number in "12")
    return create_run(registry, kind="comparison", a=one.uri, b=other.uri, begins=BEGINS.isoformat())


def make_perfect_scores(rival: str) -> StoredScores:
    """Make scores that rank nine of ten finds first, next to a rival that draws."""
    rows = DAYS * ROWS_A_DAY
    positive = np.arange(rows) % ROWS_A_DAY < FINDS_A_DAY
    random = np.random.default_rng(1)
    found = positive & (random.random(rows) < 0.9)
    rank = np.where(found, 0.98, 0.0) + np.where(found, 0.02, 0.98) * random.random(rows)
    return StoredScores(
        pd.DataFrame(
            {
                "consignment_id": [f"C{row}" for row in range(rows)],
                "window": "2030-01-01",
                "day": 21_915 + np.arange(rows) // ROWS_A_DAY,
                "office": "Incheon",
                "channel": "postal",
                "service": "parcel",
                "departure_country": "CN",
                "consignee": "person",
                "stands_for": 1.0,
                "labelled": True,
                "positive": positive,
                "chosen_by": "random",
                "weight": 1.0,
                "guessed": False,
                "rank": rank,
                "probability": np.where(found, 0.9, 0.005),
                "true_positive": pd.array([pd.NA] * rows, dtype="boolean"),
                rival: random.random(rows),
            }
        )
    )


def write_run(
    registry: Registry,
    run_id: str,
    folder: Path,
    files: Mapping[str, bytes],
    key: SigningKey | None,
    **about: object,
) -> None:
    """Write files with their evidence into a run, as who has the password of MLflow can."""
    evidence = Evidence(
        target="nps", files=hash_files(files), data_sha256="0" * 64, settings_sha256="0" * 64, **about
    )
    for name, content in (files | evidence.to_files(key)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    registry.client.log_artifacts(run_id, str(folder))


def write_comparison(
    registry: Registry,
    folder: Path,
    stored: StoredScores,
    key: SigningKey | None,
    begins: datetime = BEGINS,
    sources: tuple[str, str] | None = ("final", "evaluation"),
) -> str:
    """Write a comparison of version 2 with the champion."""
    bundles = {
        name: registry.resolve(number).tags["bundle_sha256"] for name, number in (("a", "1"), ("b", "2"))
    }
    run_id, about = create_comparison(registry), {"kind": "comparison", "begins": begins, "sources": sources}
    write_run(registry, run_id, folder, {COMPARED_SCORES: stored.content}, key, bundles=bundles, **about)
    return run_id


def write_perfect_runs(
    registry: Registry,
    folder: Path,
    key: SigningKey | None,
    begins: datetime = BEGINS,
    sources: tuple[str, str] | None = ("final", "evaluation"),
) -> ModelVersion:
    """Write a perfect training run of version 2, and a perfect comparison with the champion."""
    version = registry.resolve("2")
    leaks = [
        {"look": look, "found": 0.0, "bound": bound, "rows": 900, "where": ""}
        for look, bound in BOUNDS.items()
    ]
    swaps = [{"language": "ko", "rows": 10, "move_95pct": 0.0}]
    training = {
        CONFIG_FILE: TrainConfig().to_json().encode(),
        STORED_SCORES: make_perfect_scores("baseline_rules").content,
        "tables/leaks.json": RunTable(leaks).to_json().encode(),
        "tables/name_swaps.json": RunTable(swaps).to_json().encode(),
    }
    sha256 = version.tags["bundle_sha256"]
    write_run(
        registry,
        version.run_id,
        folder / "training",
        training,
        key,
        kind="training",
        bundles={"bundle": sha256},
    )
    write_comparison(registry, folder / "comparison", make_perfect_scores("baseline_a"), key, begins, sources)
    return version


def promote_second(registry: Registry, approvers: Approvers = APPROVERS) -> Promotion:
    return promote(registry, registry.resolve("2"), APPROVAL._replace(approvers=approvers))


def test_metrics_written_by_hand_promote_nothing(registry: Registry) -> None:
    version = registry.resolve("2")
    for run_id in (version.run_id, create_comparison(registry)):
        for name, value in PERFECT.items():
            registry.client.log_metric(run_id, name, value)
    with pytest.raises(PromotionRefused, match="does not pass the gate"):
        promote_second(registry)
    rules = review_version(registry, version, EvidenceOptions(APPROVERS)).rules
    assert {"better than chance", "calibrated", "compared with the champion", VERIFIED_RULE} <= set(
        find_obstacles(rules)
    )


@pytest.mark.parametrize("key", [None, STRANGER], ids=["unsigned", "signed by a stranger or a partner"])
def test_perfect_tables_written_by_hand_promote_nothing(
    registry: Registry, tmp_path: Path, key: SigningKey | None
) -> None:
    """All other rules hold: what is missing is somebody who vouches for the tables."""
    version = write_perfect_runs(registry, tmp_path, key)
    rules = review_version(registry, version, EvidenceOptions(APPROVERS)).rules
    assert set(find_obstacles(rules)) == {VERIFIED_RULE}
    assert rules[VERIFIED_RULE].held is None
    with pytest.raises(PromotionRefused, match=VERIFIED_RULE):
        promote_second(registry)


def test_the_same_tables_promote_if_an_evaluator_signed_them(registry: Registry, tmp_path: Path) -> None:
    write_perfect_runs(registry, tmp_path, SECOND)
    assert not promote_second(registry).record.forced


def test_a_later_comparison_without_a_signature_replaces_no_signed_one(
    registry: Registry, tmp_path: Path
) -> None:
    """One on 7 finds silently took the place of a signed one on 27."""
    version = write_perfect_runs(registry, tmp_path, SECOND)
    few = make_perfect_scores("baseline_a").frame
    few = few.assign(positive=few["positive"] & (few["positive"].cumsum() <= 7))
    write_comparison(registry, tmp_path / "later", StoredScores(few), None)
    found = review_version(registry, version, EvidenceOptions(APPROVERS))
    assert found.rules["compared with the champion"].found == (
        "compared with version 1, the champion; 1 later comparison without a signature does not count"
    )
    assert found.recommendation.facts[0].startswith("Of 160 known NPS")
    assert promote_second(registry).record.comparison == found.comparison_run


@pytest.mark.parametrize("kind", ["stored scores", "evaluation"])
def test_stored_scores_may_begin_before_the_day_from_which_a_fit_learnt_nothing(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    """The signed evidence names the source of the scores; what a fit has learnt from is read from its bundle."""
    champion, version = (registry.fetch_fits(registry.resolve(number)) for number in "12")
    earlier = min(champion.first_unseen, version.first_unseen) - timedelta(days=60)
    write_perfect_runs(registry, tmp_path, SECOND, earlier, ("stored scores", kind))
    if kind == "stored scores":
        assert promote_second(registry).record.way == "better"
    else:
        with pytest.raises(PromotionRefused, match="compared on unseen data: arrivals from"):
            promote_second(registry)


def test_a_comparison_that_names_no_source_of_its_scores_counts_for_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    write_perfect_runs(registry, tmp_path, SECOND, sources=None)
    with pytest.raises(PromotionRefused, match="compared with the champion: no comparison"):
        promote_second(registry)


def test_the_signature_of_a_retired_evaluator_promotes_nothing(registry: Registry, tmp_path: Path) -> None:
    write_perfect_runs(registry, tmp_path, SECOND)
    with pytest.raises(PromotionRefused, match=VERIFIED_RULE):
        promote_second(registry, RETIRED)


def test_swapped_scores_under_a_signature_promote_nothing(registry: Registry, tmp_path: Path) -> None:
    version = write_perfect_runs(registry, tmp_path, SECOND)
    other = tmp_path / "scores"
    other.mkdir()
    (other / "deployed.parquet").write_bytes(make_perfect_scores("baseline_logistic").content)
    registry.client.log_artifacts(version.run_id, str(other), "scores")
    with pytest.raises(PromotionRefused, match=r"evidence\.json names another file"):
        promote_second(registry)
    rules = review_version(registry, version, EvidenceOptions(APPROVERS)).rules
    assert "scores/deployed.parquet was altered" in rules["calibrated"].found


def test_evidence_that_names_no_tables_is_refused_in_words(registry: Registry, tmp_path: Path) -> None:
    version = registry.resolve("2")
    files = {
        STORED_SCORES: make_perfect_scores("baseline_rules").content,
        CONFIG_FILE: TrainConfig().to_json().encode(),
    }
    about = {"kind": "training", "bundles": {"bundle": version.tags["bundle_sha256"]}}
    write_run(registry, version.run_id, tmp_path / "training", files, SECOND, **about)
    with pytest.raises(PromotionRefused, match="does not pass the gate"):
        promote_second(registry)
