"""Paired comparison of two versions: same consignments, same history, same resampled days.

Each version scores every consignment of the period with its own features. The difference of a metric is computed within
each resample of whole days, so that a difficult day is difficult for both.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import BATCH_KEY, ComputeOptions, Progress, Tables
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import score_chunks
from models.bundle import Bundle
from training.config import LABEL_DELAY_DAYS, EvaluationConfig
from training.data.data_hash import TableHash, hash_tables
from training.data.splits import ALL_ARRIVALS, ArrivalWindow, compute_settled_end
from training.data.table_features import read_kept_rows
from training.data.traffic_sample import TrafficSample, sample_traffic
from training.data.training_set import (
    Labels,
    compute_inverse_propensity,
    find_last_visible_time,
    get_labels_as_of,
    get_true_labels,
    select_counted_consignments,
)
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import Evaluation, estimate_difference, evaluate, iterate_slices
from training.evaluation.traffic import ScoredPeriod, extract_slices, extract_texts
from training.evaluation.verdict import choose_deciding_metric
from training.promotion.disagreements import describe_disagreements, explain_rows, find_disagreements

COMPARED = (
    "recall_averaged",
    "precision_at_1pct",
    "recall_at_1pct",
    "precision_at_capacity",
    "recall_at_capacity",
    "average_precision",
    "roc_auc",
)
"""Compared metrics, the deciding ones first."""
Floats = NDArray[np.float64]
SLICE_COLUMNS = (
    "kind",
    "value",
    "consignments",
    "labelled",
    "positive",
    "a",
    "b",
    "difference",
    "low",
    "high",
)
"""Columns of the table of slices: counts, both areas under the ROC curve, and their difference with its interval."""


@dataclass(frozen=True)
class Comparison:
    """Result of the comparison of two versions.

    Attributes
    ----------
    a, b : Evaluation
        On the same traffic; `b` is the candidate to replace `a`.
    gains : dict
        Metric to the difference `b` minus `a` with its 95 % interval.
    disagreements : list of dict
        With `DISAGREEMENT_COLUMNS`: consignments that only one of the two ranks in its top 1 %, largest rank differences first, with
        goods and reasons; no personal data.
    slices : list of dict
        With `SLICE_COLUMNS`: the difference within each slice of the traffic.
    begins : datetime
        Earliest arrival that was compared.
    consignments, labelled, positive : int
    by_truth : bool
        True if the labels are the truth of a simulated world.
    data_sha256 : str
        SHA-256 of the given tables.
    inputs : dict
        Name of each table to its rows.
    fits : tuple of str
        Fit of `a` and of `b` that was compared, `final` or `evaluation`.
    notes : tuple of str
        What was left out, and on what the figures rest.
    """

    a: Evaluation
    b: Evaluation
    gains: dict[str, Estimate]
    disagreements: list[dict[str, float | str]]
    slices: list[dict[str, float | str]]
    begins: datetime
    consignments: int
    labelled: int
    positive: int
    by_truth: bool
    data_sha256: str
    inputs: dict[str, int]
    fits: tuple[str, str] = ("evaluation", "evaluation")
    notes: tuple[str, ...] = ()

    def find_deciding_metric(self) -> str:
        """Return the metric that decides the verdict, as for a training run: recall at 1 % of the traffic if it has an interval."""
        return choose_deciding_metric(self.gains)

    def verdict(self) -> str:
        """Return `better`, `worse` or `no difference` by the deciding metric."""
        return {1: "better", 0: "no difference", -1: "worse"}[self.gains[self.find_deciding_metric()].sign]

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics of the run: `difference/…`, `a/…` and `b/…`, with `_low` and `_high`."""
        differences = {
            f"difference/{name}{end}": value
            for name, gain in self.gains.items()
            for end, value in (("", gain.value), ("_low", gain.low), ("_high", gain.high))
            if np.isfinite(value)
        }
        sides = {
            name: value
            for prefix, side in (("a", self.a), ("b", self.b))
            for name, value in side.flatten_metrics(prefix).items()
            if name.count("/") == 1
        }
        counts = {"consignments": self.consignments, "results": self.labelled, "finds": self.positive}
        return differences | sides | {f"compared/{name}": float(count) for name, count in counts.items()}


@dataclass(frozen=True)
class ComparedTraffic:
    """Consignments on which two models are compared, with their outcomes or truth.

    Attributes
    ----------
    tables : Tables or FeatureInputs
        Consignments (all of them join the history), outcomes and alerts.
    truth : DataFrame, optional
        Of a simulated world, instead of the outcomes.
    window : ArrivalWindow
        Arrivals that are compared. Default: from the time on which neither model was trained, until `compute_settled_end` of the
        outcomes; by the truth until the last.
    """

    tables: Tables | FeatureInputs
    truth: pd.DataFrame | None = None
    window: ArrivalWindow = ALL_ARRIVALS


def compare(
    a: Bundle,
    b: Bundle,
    compared: ComparedTraffic,
    config: EvaluationConfig | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models on the same consignments.

    Parameters
    ----------
    a, b : Bundle
        With the same target; `b` is the candidate to replace `a`.
    compared : ComparedTraffic
    config : EvaluationConfig, optional
    progress : callable, optional

    Raises
    ------
    BadInput
        If the targets differ, a model was trained on the period, or no result of the period is known.
    """
    if a.card.target != b.card.target:
        raise BadInput(
            "models of different targets cannot be compared",
            got=f"{a.card.target} and {b.card.target}",
            expected="one target",
        )
    config, truth = config or EvaluationConfig(), compared.truth
    inputs = FeatureInputs.to_repeatable(compared.tables)
    order = inputs.consignments.take_order()
    begins = _resolve_begin(a, b, compared.window.begins)
    window = ArrivalWindow(begins, _resolve_end(compared, inputs.outcomes))
    inside = _select_period(order, inputs.outcomes, window)
    sample, labels = _sample_labels(order["consignment_id"], inside, inputs, truth, a.card.target, config)
    if not labels.known.any():
        raise BadInput(
            "no result of any consignment of the period is known",
            where=f"{int(inside.sum())} consignments",
            todo="choose another period with --from and --until",
        )
    wanted = np.zeros(len(order), dtype=bool)
    wanted[sample.rows] = True
    scores = [_compute_scores(bundle, inputs, wanted, progress) for bundle in (a, b)]
    table = TableHash()
    rows = read_kept_rows(inputs.consignments, a.config, sample.rows, table)
    named = {"outcomes": inputs.outcomes, "alerts": inputs.alerts, "truth": truth}
    traffic = _build_traffic(rows, scores[0], labels, sample)
    one, other = evaluate(traffic, config), evaluate(traffic.replace_score(scores[1]), config)
    return Comparison(
        a=one,
        b=other,
        gains={name: estimate_difference(other, one, name) for name in COMPARED},
        disagreements=_list_disagreements(
            (a, b), inputs, sample, rows, (scores[0], scores[1]), labels, by_truth=truth is not None
        ),
        slices=_compare_slices(traffic, scores[1], config),
        begins=begins,
        consignments=int(inside.sum()),
        labelled=round(float(sample.stands_for[labels.known].sum())),
        positive=int(labels.positive.sum()),
        by_truth=truth is not None,
        data_sha256=hash_tables({"consignments": table, **named}),
        inputs={"consignments": table.rows}
        | {name: len(each) for name, each in named.items() if each is not None},
        fits=(a.card.fit, b.card.fit),
        notes=(
            *([] if window.ends == compared.window.ends else _describe_young(order, window)),
            *_describe_weights(labels),
        ),
    )


def _resolve_end(compared: ComparedTraffic, outcomes: pd.DataFrame | None) -> datetime | None:
    """Return the end of the period; if none was given, arrivals whose results are not known yet are left out."""
    if compared.window.ends is not None or compared.truth is not None or outcomes is None or outcomes.empty:
        return compared.window.ends
    return compute_settled_end(find_last_visible_time(outcomes))


def _describe_young(order: pd.DataFrame, window: ArrivalWindow) -> list[str]:
    young = int(ArrivalWindow(window.ends).select(get_time_column_us(order, "received_at")).sum())
    if not young:
        return []
    return [
        f"{young:,} arrivals from {window.ends:%Y-%m-%d} on were left out: most results of the last {LABEL_DELAY_DAYS} days before the last "
        "known one are not known yet, and the quick ones are mostly clear. --until includes them."
    ]


def _build_traffic(rows: pd.DataFrame, score: Floats, labels: Labels, sample: TrafficSample) -> ScoredPeriod:
    return ScoredPeriod(
        score=score,
        day=get_time_column_us(rows, "received_at") // US_PER_DAY,
        office=extract_texts(rows, "office"),
        labelled=labels.known,
        positive=labels.positive,
        weight=_weigh_results(labels, sample),
        slices=extract_slices(rows),
        guessed=np.isnan(labels.probability),
        stands_for=sample.stands_for,
    )


def _weigh_results(labels: Labels, sample: TrafficSample) -> Floats:
    """Compute how many consignments each result stands for: the inverse of its logged probability, or 1, scaled to the traffic.

    Only the ratios of the weights count for a metric. Their sum is that of the traffic, so that the low end of an interval can let a
    result without a logged probability stand for itself alone.
    """
    weight = np.where(labels.known, compute_inverse_propensity(labels.probability), 0.0) * sample.stands_for
    return weight * max(1.0, float(sample.stands_for.sum() / weight.sum()))


def _describe_weights(labels: Labels) -> list[str]:
    known, unlogged = int(labels.known.sum()), int((labels.known & np.isnan(labels.probability)).sum())
    if not unlogged:
        return []
    return [
        f"{unlogged:,} of {known:,} results have no logged probability of selection. Each counts once, for itself: unlike in training, none is "
        "estimated. So the figures of a and b, their calibration too, describe the inspected consignments more than the traffic, and a "
        "model that had selected them may look better than it is. The low ends of precision and recall include this, those of the differences do not."
    ]


def _resolve_begin(a: Bundle, b: Bundle, begins: datetime | None) -> datetime:
    """Return the beginning of the period; raise `BadInput` if a model was trained on it."""
    name, unseen = max((("a", a.unseen_from), ("b", b.unseen_from)), key=lambda each: each[1])
    if begins is not None and begins < unseen:
        raise BadInput(
            f"model {name} was trained on consignments of this period, so its metrics would be too good",
            where="--from",
            got=f"{begins:%Y-%m-%d}",
            expected=f"{unseen:%Y-%m-%d} or later, on which it was not trained",
            todo="omit --from",
        )
    return unseen if begins is None else begins


def _select_period(
    frame: pd.DataFrame, outcomes: pd.DataFrame | None, window: ArrivalWindow
) -> NDArray[np.bool_]:
    """Select one row of each consignment of the period, as training does."""
    begins, ends = window
    inside = window.select(get_time_column_us(frame, "received_at"))
    inside &= select_counted_consignments(frame, outcomes, ends)
    if not inside.any():
        raise BadInput(
            "no consignment was received in the period",
            where=f"from {begins:%Y-%m-%d}" + (f" until {ends:%Y-%m-%d}" if ends else ""),
            expected="arrivals since the test periods of both models began",
            todo="provide later consignments and results, or choose another period with --from and --until",
        )
    return inside


def _sample_labels(
    consignment_id: "pd.Series",
    inside: NDArray[np.bool_],
    inputs: FeatureInputs,
    truth: pd.DataFrame | None,
    target: Target,
    config: EvaluationConfig,
) -> tuple[TrafficSample, Labels]:
    """Read the truth if given, else the latest outcomes, and select the rows that are compared, with their labels.

    All inspected ones are compared, or all positives by the truth, and at most `traffic_rows` others.
    """
    if truth is not None:
        labels = get_true_labels(consignment_id, truth, target)
    else:
        outcomes = _require_outcomes(inputs.outcomes)
        labels = get_labels_as_of(consignment_id, outcomes, find_last_visible_time(outcomes), target)
    always = inside & (labels.chosen if truth is None else labels.positive)
    sample = sample_traffic(consignment_id, always, [inside], config.traffic_rows, config.seed)
    return sample, labels.select_rows(sample.rows)


def _compute_scores(
    bundle: Bundle, inputs: FeatureInputs, wanted: NDArray[np.bool_], progress: Progress | None
) -> Floats:
    """Score some consignments; all others count for history."""
    options = ComputeOptions(progress=progress)
    chunks = score_chunks(bundle, inputs, Pseudonyms(BATCH_KEY), options=options, wanted=wanted)
    return np.concatenate([chunk["score"].to_numpy(np.float64) for chunk in chunks])


def _require_outcomes(outcomes: pd.DataFrame | None) -> pd.DataFrame:
    if outcomes is None:
        raise BadInput(
            "there are no results to compare with",
            where="--outcomes",
            got="no table",
            expected="a table of outcomes, or the truth of a simulated world",
            todo="provide --outcomes or --truth",
        )
    return outcomes


def _list_disagreements(
    bundles: tuple[Bundle, Bundle],
    inputs: FeatureInputs,
    sample: TrafficSample,
    rows: pd.DataFrame,
    scores: tuple[Floats, Floats],
    labels: Labels,
    *,
    by_truth: bool,
) -> list[dict[str, float | str]]:
    """List the consignments that only one of the two ranks in its top share, with the reasons of both."""
    apart = find_disagreements(*scores, sample.stands_for)
    chosen = np.zeros(sample.of, dtype=bool)
    chosen[sample.rows[apart]] = True
    # Reasons come in the order of the table, disagreements by their rank difference.
    order = np.argsort(np.argsort(apart))
    one, other = (explain_rows(bundle, inputs, chosen) for bundle in bundles)
    reasons = ([one[at] for at in order], [other[at] for at in order])
    return describe_disagreements(rows, scores, sample.stands_for, reasons, labels, by_truth=by_truth)


def _compare_slices(
    traffic: ScoredPeriod, other: Floats, config: EvaluationConfig
) -> list[dict[str, float | str]]:
    """Compare the area under the ROC curve within each slice."""
    found: list[dict[str, float | str]] = []
    for kind, value, rows in iterate_slices(traffic, config):
        mine = traffic.select_rows(rows)
        one, two = (evaluate(each, config) for each in (mine, mine.replace_score(other[rows])))
        gain = estimate_difference(two, one, "roc_auc")
        known = mine.traffic[mine.labelled].sum()
        counts = (round(float(mine.traffic.sum())), round(float(known)), int(mine.positive.sum()))
        areas = (one["roc_auc"].value, two["roc_auc"].value, gain.value, gain.low, gain.high)
        found.append(dict(zip(SLICE_COLUMNS, (kind, value or "missing", *counts, *areas), strict=True)))
    return found
