"""The gate: each rule refuses what it is there for, and says what it found."""

from pathlib import Path

import pytest
from serving_examples import make_bundle

from features.config import FeatureConfig
from models.bundle import Bundle, load_bundle
from training.gate import MARGIN, Evidence, rate_of_finds, run_gate

GOOD = {
    "test/roc_auc_low": 0.8,
    "test/average_precision": 0.2,
    "baseline/rules/average_precision": 0.05,
    "test/calibration_error_low": 0.0004,
    "test/precision_at_10pct": 0.01,
    "test/recall_at_10pct": 0.5,
    "test/name_swap_95pct": 0.0,
}
KEPT = {
    f"difference/{metric}{end}": 0.0
    for metric in ("precision_at_1pct", "recall_at_1pct", "precision_at_capacity", "recall_at_capacity")
    for end in ("", "_low")
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("gate")
    return load_bundle(make_bundle(folder / "bundle", FeatureConfig(), 1))


def broken(bundle: Bundle | None, gains: dict[str, float] | None = None, **metrics: float) -> set[str]:
    changed = GOOD | {name.replace("__", "/"): value for name, value in metrics.items()}
    findings = run_gate(Evidence(bundle, "" if bundle else "sums differ", changed, gains))
    return {name for name, finding in findings.items() if not finding.held}


def test_a_good_first_model_passes(bundle: Bundle) -> None:
    assert broken(bundle) == set()


def test_an_altered_bundle_is_refused() -> None:
    assert broken(None) == {"sums verified", "self-test passed", "reasons present"}


def test_a_model_no_better_than_chance_is_refused(bundle: Bundle) -> None:
    assert broken(bundle, test__roc_auc_low=0.5) == {"better than chance"}


def test_a_model_no_better_than_the_rules_is_refused(bundle: Bundle) -> None:
    assert broken(bundle, test__average_precision=0.05) == {"better than rules"}


def test_a_model_whose_scores_are_wrong_by_more_than_they_say_is_refused(bundle: Bundle) -> None:
    assert rate_of_finds(GOOD) == pytest.approx(0.002)
    assert broken(bundle, test__calibration_error_low=0.0021) == {"calibrated"}


def test_a_model_that_minds_the_language_of_names_is_refused(bundle: Bundle) -> None:
    assert broken(bundle, test__name_swap_95pct=0.011) == {"names do not matter"}
    assert broken(bundle, test__name_swap_95pct=float("nan")) == {"names do not matter"}


def test_a_missing_figure_is_no_pass(bundle: Bundle) -> None:
    assert broken(bundle, test__roc_auc_low=float("nan")) == {"better than chance"}


@pytest.mark.parametrize("metric", ["precision_at_1pct", "recall_at_1pct"])
def test_losing_more_than_the_margin_to_the_champion_is_refused(bundle: Bundle, metric: str) -> None:
    within = KEPT | {f"difference/{metric}_low": -MARGIN}
    beyond = KEPT | {f"difference/{metric}_low": -MARGIN - 1e-6}
    assert broken(bundle, within) == set()
    assert len(broken(bundle, beyond)) == 1
