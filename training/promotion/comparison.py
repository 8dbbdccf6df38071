"""Paired comparison of two versions: the same consignments, the same known finds, the same resampled days.

Each version scores every consignment of the period by a fit that learnt nothing of it. If the installed features are not
those of a version, its scores come from the service's decisions, from the stored scores of its training run, or from its
recipe fitted again on the features of today; the comparison says which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

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
from models.formats import format_count
from training.config import LABEL_DELAY_DAYS, EvaluationConfig
from training.data.data_hash import TableHash, hash_tables
from training.data.splits import ALL_ARRIVALS, ArrivalWindow, compute_settled_end
from training.data.table_features import read_kept_rows
from training.data.training_set import (
    Labels,
    TrafficSample,
    compute_inverse_propensity,
    find_last_visible_time,
    get_labels_as_of,
    get_true_labels,
    sample_traffic,
    select_counted_consignments,
)
from training.evaluation.metrics import PRIMARY_MEASURE, PairedEvaluation
from training.evaluation.stored_scores import PROBABILITY, RANK, StoredScores
from training.evaluation.traffic import SLICES, extract_texts
from training.fitting.rolling_origin import compute_shares_above
from training.promotion.disagreements import list_disagreements
from training.promotion.logged_scores import LoggedScores

OTHER_RANK = "baseline_a"
"""Column of the stored scores with the ranks of version `a`; `rank` is version `b`."""
COMPARED = (
    PRIMARY_MEASURE,
    "recall_at_capacity",
    "precision_at_1pct",
    "precision_at_capacity",
    "average_precision",
    "roc_auc",
)
"""Compared metrics, the deciding one first."""
VERDICTS = {1: "better", 0: "no difference", -1: "worse"}
TOO_FEW = "too few results"
"""Verdict if no estimate of the deciding metric may be shown."""
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Result of the comparison of two versions; version `b` may replace version `a`.

    Attributes
    ----------
    stored : StoredScores
        Every compared consignment: `rank` is that of `b`, `baseline_a` that of `a`.
    settings : EvaluationConfig
    target : str
    begins : datetime
        Earliest arrival that was compared.
    consignments : int
        Compared consignments, which the stored rows stand for.
    sources : pair of str
        Where the scores of `a` and of `b` come from, in words.
    data_sha256 : str
        SHA-256 of the given tables.
    inputs : dict
        Name of each table to its rows.
    disagreements : list of dict
        With `DISAGREEMENT_COLUMNS`.
    notes : tuple of str
        What was left out, and on what the figures rest.
    """

    stored: StoredScores
    settings: EvaluationConfig
    target: Target
    begins: datetime
    consignments: int
    sources: tuple[str, str]
    data_sha256: str = ""
    inputs: Mapping[str, int] = field(default_factory=dict)
    disagreements: list[dict[str, float | str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @cached_property
    def pair(self) -> PairedEvaluation:
        """Both versions by inspection results, which decide."""
        return self.stored.compare(self.settings, base=OTHER_RANK)

    @cached_property
    def truth(self) -> PairedEvaluation | None:
        """Both versions by the truth of a simulated world, which decides nothing; None without a truth."""
        return (
            self.stored.compare(self.settings, base=OTHER_RANK, by_truth=True)
            if self.stored.has_truth
            else None
        )

    @property
    def labelled(self) -> int:
        """Known results of the compared consignments."""
        return int(self.stored.frame["labelled"].sum())

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `no difference` or `too few results`: how `b` compares with `a` in the deciding metric."""
        gain = self.pair.gains[PRIMARY_MEASURE]
        return VERDICTS[gain.sign] if gain.is_shown else TOO_FEW

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics of the run: `difference/…`, `a/…`, `b/…` and `compared/…`; what is not shown is absent."""
        named = _flatten_differences(self.pair, "difference")
        for name, side in (("a", self.pair.a), ("b", self.pair.b)):
            flat = side.flatten_metrics(name)
            named |= {metric: value for metric, value in flat.items() if metric.count("/") == 1}
        if self.truth is not None:
            named |= _flatten_differences(self.truth, "difference/truth")
        counts = {
            "consignments": self.consignments,
            "results": self.labelled,
            "finds": self.pair.b.counts.known,
        }
        return named | {f"compared/{name}": float(count) for name, count in counts.items()}


def _flatten_differences(pair: PairedEvaluation, prefix: str) -> dict[str, float]:
    shown = {name: pair.gains[name] for name in COMPARED if pair.gains[name].is_shown}
    return {
        f"{prefix}/{name}{end}": value
        for name, gain in shown.items()
        for end, value in (("", gain.value), ("_low", gain.low), ("_high", gain.high))
    }


@dataclass(frozen=True)
class ComparedTraffic:
    """Consignments on which two versions are compared, with their outcomes.

    Attributes
    ----------
    tables : Tables or FeatureInputs
        Consignments (all of them join the history), outcomes and alerts.
    truth : DataFrame, optional
        Of a simulated world. It decides nothing, and its figures are shown apart.
    window : ArrivalWindow
        Arrivals that are compared. Default: from the time on which neither model was trained, until `compute_settled_end` of the
        outcomes.
    """

    tables: Tables | FeatureInputs
    truth: pd.DataFrame | None = None
    window: ArrivalWindow = ALL_ARRIVALS


def compare(
    a: Bundle | LoggedScores,
    b: Bundle,
    compared: ComparedTraffic,
    config: EvaluationConfig | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two versions on the same consignments.

    Parameters
    ----------
    a : Bundle or LoggedScores
        A fit of the first version, or what the service decided with it.
    b : Bundle
        A fit of the version that may replace it, with the same target.
    compared : ComparedTraffic
    config : EvaluationConfig, optional
    progress : callable, optional

    Raises
    ------
    BadInput
        If the targets differ, the bundles are equal, a model was trained on the period, or no result of the period is known.
    """
    _require_two_models(a, b)
    config = config or EvaluationConfig()
    inputs = FeatureInputs.to_repeatable(compared.tables)
    outcomes = _require_outcomes(inputs.outcomes)
    order = inputs.consignments.take_order()
    window = ArrivalWindow(
        _resolve_begin(a, b, compared.window.begins),
        compared.window.ends or compute_settled_end(find_last_visible_time(outcomes)),
    )
    inside = _select_period(order, outcomes, window)
    if isinstance(a, LoggedScores):
        inside &= np.isfinite(a.get_scores(order["consignment_id"]))
    labels = get_labels_as_of(
        order["consignment_id"], outcomes, find_last_visible_time(outcomes), b.card.target
    )
    if not (labels.known & inside).any():
        raise BadInput(
            "no result of any consignment of the period is known",
            where=f"{int(inside.sum())} consignments",
            todo="choose another period with --from and --until",
        )
    truth = (
        None
        if compared.truth is None
        else get_true_labels(order["consignment_id"], compared.truth, b.card.target)
    )
    always = inside & (labels.chosen if truth is None else labels.chosen | truth.positive)
    sample = sample_traffic(order["consignment_id"], always, [inside], config.traffic_rows, seed=1)
    scores = [_compute_scores(each, inputs, order["consignment_id"], sample, progress) for each in (a, b)]
    table = TableHash()
    rows = read_kept_rows(inputs.consignments, b.config, sample.rows, table)
    named = {"outcomes": outcomes, "alerts": inputs.alerts, "truth": compared.truth}
    labels = labels.select_rows(sample.rows)
    begins = window.begins
    assert begins is not None
    stored = _build_stored_scores(rows, scores, labels, sample, f"{begins:%Y-%m-%d}")
    if truth is not None:
        stored.frame["true_positive"] = pd.array(truth.positive[sample.rows], dtype="boolean")
    return Comparison(
        stored=stored,
        settings=config,
        target=b.card.target,
        begins=begins,
        consignments=int(inside.sum()),
        sources=(_describe_source(a), _describe_source(b)),
        data_sha256=hash_tables({"consignments": table, **named}),
        inputs={"consignments": table.rows}
        | {name: len(each) for name, each in named.items() if each is not None},
        disagreements=list_disagreements((a, b), inputs, sample, rows, scores, labels),
        notes=(
            *([] if compared.window.ends is not None else _describe_young(order, window)),
            *_describe_weights(labels),
        ),
    )


def compare_stored(
    a: StoredScores, b: StoredScores, target: Target, source: str, config: EvaluationConfig | None = None
) -> Comparison:
    """Compare the deployed fits of two training runs on the weeks that both have stored.

    Parameters
    ----------
    a, b : StoredScores
        Out-of-time scores of both runs.
    target : str
    source : str
        Where the scores of `a` come from, in words.
    config : EvaluationConfig, optional

    Raises
    ------
    BadInput
        If no consignment with a result is in both.
    """
    config = config or EvaluationConfig()
    other = a.frame[["consignment_id", "window", "stands_for", RANK]]
    both = b.frame.merge(other, on="consignment_id", suffixes=("", "_a"))
    if not both["labelled"].any():
        raise BadInput(
            "the training runs of both versions have no tested weeks in common",
            where="stored scores",
            got=f"weeks from {a.frame['window'].min()} and from {b.frame['window'].min()}",
            expected="consignments with a result that the deployed fits of both have scored",
            todo="provide --decisions of the service, or train both versions with the same --as-of",
        )
    both["window"] = both[["window", "window_a"]].max(axis=1)
    both["stands_for"] = both[["stands_for", "stands_for_a"]].max(axis=1)
    for name, rank in ((RANK, RANK), (OTHER_RANK, f"{RANK}_a")):
        both[name] = _rank_in_windows(both, both[rank].to_numpy(np.float64))
    columns = [name for name in b.frame.columns if not str(name).startswith("baseline_")]
    stored = StoredScores(both[[*columns, OTHER_RANK]])
    return Comparison(
        stored=stored,
        settings=config,
        target=target,
        begins=pd.Timestamp(int(both["day"].min()), unit="D", tz="UTC").to_pydatetime(),
        consignments=round(float(both["stands_for"].sum())),
        sources=(source, "the stored scores of its training run"),
    )


def _rank_in_windows(frame: pd.DataFrame, score: Floats) -> Floats:
    """Return the rank of each score in its window, between 0 and 1; the riskiest has the highest."""
    rank, stands_for = np.empty(len(frame)), frame["stands_for"].to_numpy(np.float64)
    for rows in frame.reset_index(drop=True).groupby("window").indices.values():
        rank[rows] = 1.0 - compute_shares_above(score[rows], stands_for[rows])
    return rank


def _build_stored_scores(
    rows: pd.DataFrame, scores: Sequence[Floats], labels: Labels, sample: TrafficSample, window: str
) -> StoredScores:
    """Build the table of all compared consignments; all are ranked in one window."""
    probability = np.where(labels.known, compute_inverse_propensity(labels.probability), 0.0)
    frame = pd.DataFrame(
        {
            "consignment_id": rows["consignment_id"].astype(str).to_numpy(dtype=object),
            "window": window,
            "day": get_time_column_us(rows, "received_at") // US_PER_DAY,
            **{column: extract_texts(rows, column) for column in SLICES.values()},
            "stands_for": sample.stands_for,
            "labelled": labels.known,
            "positive": labels.positive,
            "chosen_by": labels.selected_by,
            "weight": probability * sample.stands_for,
            "guessed": labels.known & np.isnan(labels.probability),
            PROBABILITY: scores[1],
            "true_positive": pd.array([pd.NA] * len(rows), dtype="boolean"),
        }
    )
    other, own = (_rank_in_windows(frame, each) for each in scores)
    return StoredScores(frame.assign(**{RANK: own, OTHER_RANK: other}))


def _compute_scores(
    side: Bundle | LoggedScores,
    inputs: FeatureInputs,
    ids: "pd.Series",
    sample: TrafficSample,
    progress: Progress | None,
) -> Floats:
    """Return the scores of the kept consignments; with a fit, all others count for history."""
    if isinstance(side, LoggedScores):
        return side.get_scores(ids.iloc[sample.rows])
    wanted = np.zeros(sample.of, dtype=bool)
    wanted[sample.rows] = True
    options = ComputeOptions(progress=progress)
    chunks = score_chunks(side, inputs, Pseudonyms(BATCH_KEY), options=options, wanted=wanted)
    return np.concatenate([chunk["score"].to_numpy(np.float64) for chunk in chunks])


def _describe_source(side: Bundle | LoggedScores) -> str:
    if isinstance(side, LoggedScores):
        return "the decisions of the service"
    return f"its {side.card.fit} fit, which learnt from arrivals before {side.unseen_from:%Y-%m-%d}"


def _describe_young(order: pd.DataFrame, window: ArrivalWindow) -> list[str]:
    young = int(ArrivalWindow(window.ends).select(get_time_column_us(order, "received_at")).sum())
    if not young:
        return []
    return [
        f"{format_count(young, 'arrival')} from {window.ends:%Y-%m-%d} on were left out: most results of the last {LABEL_DELAY_DAYS} days "
        "before the last known one are not known yet, and the quick ones are mostly clear. --until includes them."
    ]


def _describe_weights(labels: Labels) -> list[str]:
    known, unlogged = int(labels.known.sum()), int((labels.known & np.isnan(labels.probability)).sum())
    if not unlogged:
        return []
    return [
        f"{unlogged:,} of {known:,} results have no logged probability of selection. Each counts once, for itself. A model that had "
        "selected them may look better than it is."
    ]


def _require_two_models(a: Bundle | LoggedScores, b: Bundle) -> None:
    """Refuse models of different targets, and a model that is compared with itself."""
    if isinstance(a, LoggedScores):
        return
    if a.card.target != b.card.target:
        raise BadInput(
            "models of different targets cannot be compared",
            got=f"{a.card.target} and {b.card.target}",
            expected="one target",
        )
    if a.sha256 == b.sha256:
        raise BadInput(
            "both versions hold the same model, byte for byte",
            got=f"bundle {a.sha256[:12]} twice",
            expected="two different models",
            todo="compare it with another version; what was decided on one of them holds for the other",
        )


def _resolve_begin(a: Bundle | LoggedScores, b: Bundle, begins: datetime | None) -> datetime:
    """Return the beginning of the period; raise `BadInput` if a model was trained on it."""
    first = a.begins if isinstance(a, LoggedScores) else a.unseen_from
    name, unseen = max((("a", first), ("b", b.unseen_from)), key=lambda each: each[1])
    if begins is not None and begins < unseen and not (isinstance(a, LoggedScores) and name == "a"):
        raise BadInput(
            f"model {name} was trained on consignments of this period, so its metrics would be too good",
            where="--from",
            got=f"{begins:%Y-%m-%d}",
            expected=f"{unseen:%Y-%m-%d} or later, on which it was not trained",
            todo="omit --from",
        )
    return unseen if begins is None else begins


def _select_period(frame: pd.DataFrame, outcomes: pd.DataFrame, window: ArrivalWindow) -> Bools:
    """Select one row of each consignment of the period, as training does."""
    received = get_time_column_us(frame, "received_at")
    inside = window.select(received) & select_counted_consignments(frame, outcomes, window.ends)
    if inside.any():
        return inside
    begins, ends = window
    if begins is not None and ends is not None and begins >= ends:
        raise BadInput(
            "no results are settled in the period",
            where=f"arrivals from {begins:%Y-%m-%d}",
            got=f"results of arrivals until {ends:%Y-%m-%d} only",
            expected=f"results of arrivals from {begins:%Y-%m-%d} on; most are known after {LABEL_DELAY_DAYS} days",
            todo="wait for later results, or choose an earlier --from or a later --until",
        )
    raise BadInput(
        "no consignment was received in the period",
        where=f"from {begins:%Y-%m-%d}" + (f" until {ends:%Y-%m-%d}" if ends else ""),
        expected="arrivals since the test periods of both models began",
        todo="provide later consignments and results, or choose another period with --from and --until",
    )


def _require_outcomes(outcomes: pd.DataFrame | None) -> pd.DataFrame:
    if outcomes is None or outcomes.empty:
        raise BadInput(
            "there are no results to compare with",
            where="--outcomes",
            got="no table" if outcomes is None else "an empty table",
            expected="a table of outcomes",
            todo="provide --outcomes",
        )
    return outcomes
