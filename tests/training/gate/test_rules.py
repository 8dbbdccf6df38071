"""The gate: each rule refuses what it is there for, and says what it found."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.serving_examples import make_bundle

from features.config import FeatureConfig
from models.bundle import Bundle, load_bundle
from training.evaluation.leakage import BOUNDS, EARLY_RESULTS, FILLED_COLUMN, LATER_CHANGES, PREDICTIVE_COLUMN
from training.gate.rules import (
    MIN_SLICE_POSITIVES,
    NON_INFERIORITY_MARGIN,
    REFIT_RULE,
    ChampionComparison,
    GateEvidence,
    RefitResult,
    run_gate,
)

GOOD = {
    "deployed/roc_auc_low": 0.8,
    "deployed/average_precision": 0.2,
    "deployed/baseline/rules/average_precision": 0.05,
    "deployed/calibration_ratio": 1.1,
    "deployed/calibration_ratio_low": 0.8,
    "deployed/calibration_ratio_high": 1.4,
    "test/name_swap_95pct": 0.0,
}
KEPT = {
    f"difference/{metric}{end}": 0.0
    for metric in ("precision_at_1pct", "recall_at_1pct", "precision_at_capacity", "recall_at_capacity")
    for end in ("", "_low")
} | {"compared/finds": 30.0}
NO_LEAK = {look: {"found": 0.0, "rows": 900, "where": ""} for look in BOUNDS}
SLICE = {
    "kind": "channel",
    "value": "postal",
    "positive": MIN_SLICE_POSITIVES,
    "roc_auc": 0.7,
    "roc_auc_high": 0.8,
}
BEGINS = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("gate")
    return load_bundle(make_bundle(folder / "bundle", FeatureConfig(), 1))


@pytest.fixture(scope="module")
def good(bundle: Bundle) -> GateEvidence:
    return GateEvidence(bundle, "", bundle.sha256, GOOD, NO_LEAK, [SLICE])


def broken(evidence: GateEvidence) -> dict[str, str]:
    """Give the rules that do not hold, and what they found."""
    return {name: finding.found for name, finding in run_gate(evidence).items() if finding.held is False}


def with_metrics(evidence: GateEvidence, **metrics: float) -> GateEvidence:
    changed = {
        f"{'test' if name == 'name_swap_95pct' else 'deployed'}/{name}": value
        for name, value in metrics.items()
    }
    return replace(evidence, metrics=GOOD | changed)


def compared(evidence: GateEvidence, begins: datetime = BEGINS, **metrics: float) -> GateEvidence:
    changed = {f"difference/{name}": value for name, value in metrics.items()}
    return replace(
        evidence,
        champion="1",
        comparison=ChampionComparison("run", KEPT | changed, begins, [SLICE | {"difference": 0.0}]),
    )


def test_a_good_model_passes_with_and_without_a_champion(good: GateEvidence) -> None:
    assert broken(good) == broken(compared(good)) == {}


def test_without_the_training_tables_a_good_model_passes_and_the_refit_is_not_checked(
    good: GateEvidence,
) -> None:
    assert [name for name, rule in run_gate(good).items() if rule.held is not True] == [REFIT_RULE]
    differs = RefitResult(False, "bundle/trees.txt differs")
    assert broken(replace(good, refit=differs)) == {REFIT_RULE: "bundle/trees.txt differs"}
    assert REFIT_RULE not in run_gate(replace(good, refit=differs, goes_back=True))


def test_of_an_altered_bundle_only_that_is_said(good: GateEvidence) -> None:
    found = broken(replace(good, bundle=None, refusal="trees.txt: the file was altered"))
    assert found == {"checksums verified": "trees.txt: the file was altered"}


def test_a_bundle_that_was_exchanged_as_a_whole_is_refused(good: GateEvidence) -> None:
    found = broken(replace(good, registered_sha256="ab" * 32))
    assert list(found) == ["checksums verified"]
    assert found["checksums verified"].startswith("another bundle")


@pytest.mark.parametrize(
    ("metrics", "rule"),
    [
        ({"roc_auc_low": 0.5}, "better than chance"),
        ({"roc_auc_low": float("nan")}, "better than chance"),
        ({"average_precision": 0.05}, "better than rules"),
        ({"calibration_ratio_low": 3.1, "calibration_ratio_high": 9.0}, "calibrated"),
        ({"calibration_ratio_low": 0.1, "calibration_ratio_high": 0.3}, "calibrated"),
        ({"name_swap_95pct": 0.011}, "names have no effect"),
        ({"name_swap_95pct": float("nan")}, "names have no effect"),
    ],
)
def test_each_figure_beyond_its_bound_or_unknown_is_refused_by_its_rule(
    good: GateEvidence, metrics: dict[str, float], rule: str
) -> None:
    assert list(broken(with_metrics(good, **metrics))) == [rule]


@pytest.mark.parametrize(
    ("look", "rule"),
    [
        (LATER_CHANGES, "no future data"),
        (EARLY_RESULTS, "results after arrivals"),
        (PREDICTIVE_COLUMN, "no column is the result"),
        (FILLED_COLUMN, "no column reveals inspection"),
    ],
)
@pytest.mark.parametrize("found", [1.0, None])
def test_a_leak_that_was_seen_or_not_looked_for_is_refused(
    good: GateEvidence, look: str, rule: str, found: float | None
) -> None:
    seen = NO_LEAK | {look: {"found": found, "rows": 900, "where": "value.tax"}}
    assert list(broken(replace(good, looks=seen))) == [rule]
    within = NO_LEAK | {look: {"found": BOUNDS[look], "rows": 900, "where": ""}}
    assert broken(replace(good, looks=within)) == {}
    assert list(broken(replace(good, looks={k: v for k, v in NO_LEAK.items() if k != look}))) == [rule]


def test_a_check_with_too_few_positives_is_undecided_and_one_that_was_not_made_is_not(
    good: GateEvidence,
) -> None:
    rule = "no column is the result"
    few = {"found": None, "rows": 900, "where": "3 positives"}
    result = run_gate(replace(good, looks=NO_LEAK | {PREDICTIVE_COLUMN: few}))[rule]
    assert (result.held, result.undecided, result.found) == (False, True, "no figure: 3 positives")
    missing = {look: row for look, row in NO_LEAK.items() if look != PREDICTIVE_COLUMN}
    result = run_gate(replace(good, looks=missing))[rule]
    assert (result.held, result.undecided) == (False, False)


def test_a_channel_in_which_the_scores_promise_far_too_much_is_refused_by_name(good: GateEvidence) -> None:
    wrong = SLICE | {
        "calibration_ratio": 5.0,
        "calibration_ratio_low": 3.5,
        "calibration_ratio_high": 8.0,
    }
    said = broken(replace(good, slices=[wrong]))["calibrated"]
    assert "predicted positives are 5 times the observed ones (3.5 to 8) in channel postal" in said
    few = wrong | {"positive": MIN_SLICE_POSITIVES - 1}
    assert broken(replace(good, slices=[few])) == {}


def test_a_slice_that_collapsed_is_refused_by_name(good: GateEvidence) -> None:
    fallen = SLICE | {"kind": "office", "value": "Busan", "roc_auc": 0.5, "roc_auc_high": 0.55}
    assert broken(replace(good, slices=[fallen]))["no slice collapsed"].startswith("office Busan: area 0.500")
    assert broken(replace(good, slices=[fallen | {"positive": MIN_SLICE_POSITIVES - 1}])) == {}


@pytest.mark.parametrize(
    "metric", ["precision_at_1pct", "recall_at_1pct", "precision_at_capacity", "recall_at_capacity"]
)
def test_losing_more_than_the_margin_to_the_champion_is_refused(good: GateEvidence, metric: str) -> None:
    assert broken(compared(good, **{f"{metric}_low": -NON_INFERIORITY_MARGIN})) == {}
    assert len(broken(compared(good, **{f"{metric}_low": -NON_INFERIORITY_MARGIN - 1e-6}))) == 1
    assert len(broken(compared(good, **{f"{metric}_low": float("nan")}))) == 1


def test_a_slice_lost_to_the_champion_is_refused_by_name(good: GateEvidence) -> None:
    lost = SLICE | {"difference": -0.2, "low": -0.3, "high": -0.1}
    evidence = replace(good, champion="1", comparison=ChampionComparison("run", KEPT, BEGINS, [lost]))
    assert broken(evidence)["no slice lost"].startswith("channel postal: area -0.200 (-0.300 to -0.100)")


def test_without_a_comparison_with_the_champion_nothing_is_said_of_it(good: GateEvidence) -> None:
    found = broken(replace(good, champion="1"))
    assert found == {"compared with the champion": "no comparison with version 1, the champion"}


def test_too_few_finds_tell_nothing_of_a_difference(good: GateEvidence) -> None:
    few = replace(
        good, champion="1", comparison=ChampionComparison("run", KEPT | {"compared/finds": 9.0}, BEGINS)
    )
    assert broken(few) == {"enough positives": "positives compared: 9"}


def test_a_comparison_on_what_the_model_has_learnt_from_is_refused(good: GateEvidence) -> None:
    assert good.bundle is not None
    early = compared(good, begins=datetime(2024, 3, 31, tzinfo=UTC))
    assert list(broken(early)) == ["compared on unseen data"]
    assert broken(compared(good, begins=good.bundle.unseen_from)) == {}
