"""Paired comparison of two versions, on consignments of which neither side learnt anything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import BATCH_KEY, Progress, Tables
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.arrays import Floats, Ints
from models.batch_scoring import ScoreColumns, describe_consignments, score_features, score_table
from models.bundle import Bundle
from models.formats import format_count
from models.registry import ModelVersion
from training.config import LABEL_DELAY_DAYS, EvaluationConfig
from training.data.data_hash import TableHash, hash_tables
from training.data.propensity import estimate_result_weights, select_weighing_columns
from training.data.splits import ALL_ARRIVALS, ArrivalWindow
from training.data.table_features import read_kept_rows
from training.data.training_set import (
    Labels,
    TrafficSample,
    find_last_visible_time,
    find_settled_end,
    get_labels_as_of,
    get_true_labels,
    sample_traffic,
    select_counted_consignments,
)
from training.evaluation.difference import Verdict, judge_difference
from training.evaluation.fairness import CONSIGNEE, classify_consignee
from training.evaluation.metrics import CALIBRATION_RATIO, PRIMARY_MEASURE, PairedEvaluation
from training.evaluation.stored_scores import PROBABILITY, RANK, StoredScores, build_stored_frame
from training.fitting.rolling_origin import compute_shares_above
from training.gate.rules import ScoreKind, ScoreSource

MAX_REASONS = 3


@dataclass(frozen=True)
class FitScores:
    """Scores of a fit; what is not scored counts for history."""

    fit: Bundle

    @property
    def source(self) -> ScoreSource:
        """The kind of fit, and the time from which it learnt nothing."""
        return ScoreSource.from_fit(self.fit)

    def compute(
        self, inputs: FeatureInputs, sample: TrafficSample, progress: Progress | None = None
    ) -> Floats:
        """Compute the scores of the kept consignments."""
        return score_features(self.fit, inputs, sample.mark(sample.rows), progress).score

    def list_reasons(self, inputs: FeatureInputs, sample: TrafficSample, at: Ints) -> list[str]:
        """List the reasons of some of the kept consignments, as JSON."""
        columns = ScoreColumns(reasons=MAX_REASONS, lowering=True)
        wanted = sample.mark(sample.rows[at])
        scored = score_table(self.fit, inputs, Pseudonyms(BATCH_KEY), columns=columns, wanted=wanted)
        texts: list[str] = scored["reasons"].tolist()
        return [texts[place] for place in np.argsort(np.argsort(at))]


class LoggedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table `decisions` of an export."""

    consignment_id: str
    sequence: int
    received_at: datetime
    score: float
    model: str
    model_version: str
    reasons: str | None = None


@dataclass(frozen=True)
class LoggedScores:
    """Scores that the service gave while a version decided, from the table `decisions` of an export."""

    frame: pd.DataFrame
    source = ScoreSource("decisions")

    @classmethod
    def from_decisions(cls, decisions: pd.DataFrame, version: ModelVersion) -> "LoggedScores":
        """Select the last decision of a version on each consignment."""
        numbers = decisions["model_version"].astype(str)
        own = decisions[(decisions["model"] == version.name) & (numbers == version.number)]
        last = own.sort_values("sequence").drop_duplicates("consignment_id", keep="last")
        if last.empty:
            raise BadInput(
                "the service made no decision with this version",
                where="--decisions",
                got=f"{len(decisions):,} decisions of other versions",
                expected=f"decisions of {version.name}, {version.title}",
                todo="export the log of the service that used it, or leave --decisions out",
            )
        return cls(last.set_index("consignment_id"))

    @property
    def begins(self) -> datetime:
        """The earliest arrival that the version decided on."""
        first: datetime = self.frame["received_at"].min().to_pydatetime()
        return first

    def compute(self, inputs: FeatureInputs, sample: TrafficSample, _: Progress | None = None) -> Floats:
        """Return the scores of the kept consignments."""
        return self.frame["score"].reindex(_get_ids(inputs, sample)).to_numpy(np.float64)

    def list_reasons(self, inputs: FeatureInputs, sample: TrafficSample, at: Ints) -> list[str]:
        """List the logged reasons of some of the kept consignments, as JSON."""
        mine = self.frame["reasons"].reindex(_get_ids(inputs, sample).iloc[at])
        return mine.fillna("[]").astype(str).tolist()


def _get_ids(inputs: FeatureInputs, sample: TrafficSample) -> pd.Series:
    return inputs.consignments.take_order()["consignment_id"].iloc[sample.rows]


TOP_SHARE = 0.01  # share of the traffic within which the two rankings are compared
MAX_EXAMPLES = 40
REASON_SEPARATOR = "\n"  # between reasons; a reason itself may hold semicolons
DISAGREEMENT_COLUMNS = (
    *("consignment_id", "channel", "goods", "route", "weight", "value"),
    *("rank_a", "rank_b", "score_a", "score_b", "reasons_a", "reasons_b", "result"),
)
RESULT_ORDER = ("positive", "negative", "not inspected")


def list_disagreements(
    sides: Sequence[FitScores | LoggedScores],
    inputs: FeatureInputs,
    sample: TrafficSample,
    rows: pd.DataFrame,
    scores: Sequence[Floats],
    labels: Labels,
) -> list[dict[str, Any]]:
    """List the consignments of a sample that only one of two versions ranks in its top share, positives first, without personal data."""
    ranks = np.empty((2, len(rows)), dtype=np.int64)
    for place, score in enumerate(scores):
        best = np.argsort(-score, kind="stable")
        ranks[place, best] = np.round(np.cumsum(sample.stands_for[best]) - sample.stands_for[best])
    rank_a, rank_b = ranks
    result = np.where(labels.positive, 0, np.where(labels.known, 1, 2))
    top = max(1, round(TOP_SHARE * float(sample.stands_for.sum())))
    apart = np.flatnonzero((rank_a < top) != (rank_b < top))
    order = np.lexsort((-np.abs(rank_a[apart] - rank_b[apart]), result[apart]))
    at = apart[order][:MAX_EXAMPLES]
    if not len(at):
        return []
    chosen = rows.iloc[at]
    columns = (
        *(chosen[name].astype(str) for name in ("consignment_id", "channel")),
        *zip(*describe_consignments(chosen), strict=True),
        *((rank[at] + 1).tolist() for rank in (rank_a, rank_b)),
        *(score[at].tolist() for score in scores),
        *(map(_join_reasons, side.list_reasons(inputs, sample, at)) for side in sides),
        [RESULT_ORDER[row] for row in result[at]],
    )
    return [dict(zip(DISAGREEMENT_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


def _join_reasons(text: str) -> str:
    reasons = [each for each in msgspec.json.decode(text)[:MAX_REASONS] if each["facts"]]
    return REASON_SEPARATOR.join(f"{reason['text']} ({reason['direction']} the score)" for reason in reasons)


OTHER_RANK = "baseline_a"  # column of the stored scores with the ranks of version `a`; `rank` is version `b`
COMPARED = (
    *(PRIMARY_MEASURE, "recall_at_1pct", "recall_at_capacity", "precision_at_1pct"),
    *("precision_at_capacity", "average_precision", "roc_auc"),
)


@dataclass(frozen=True)
class Comparison:
    """Result of the comparison of two versions; `b` may replace `a`, and `sources` are in this order."""

    stored: StoredScores  # every compared consignment: `rank` is that of `b`, `baseline_a` that of `a`
    settings: EvaluationConfig
    target: Target
    begins: datetime  # of the arrivals
    consignments: int  # for which the rows stand
    sources: tuple[ScoreSource, ScoreSource]
    data_sha256: str = ""
    inputs: Mapping[str, int] = field(default_factory=dict)
    disagreements: list[dict[str, float | str]] = field(default_factory=list)
    deployed: PairedEvaluation | None = None  # as in `ChampionComparison`, like the next
    level: str = ""
    notes: tuple[str, ...] = ()  # what was left out, and on what the figures rest
    compared_at: datetime = field(default_factory=partial(datetime.now, UTC))

    @cached_property
    def pair(self) -> PairedEvaluation:
        """Both versions by inspection results, which decide."""
        return self.stored.compare(self.settings, base=OTHER_RANK)

    @cached_property
    def truth(self) -> PairedEvaluation | None:
        """Both versions by the truth of a simulated world, which decides nothing; None without a truth."""
        found = self.stored
        return found.compare(self.settings, base=OTHER_RANK, by_truth=True) if found.has_truth else None

    @property
    def labelled(self) -> int:
        """Known results of the compared consignments."""
        return int(self.stored.frame["labelled"].sum())

    @property
    def verdict(self) -> Verdict:
        """Word for the difference of `b` from `a` in the deciding metric."""
        return judge_difference(self.pair.gains[PRIMARY_MEASURE])

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics of the run without what is not shown, and without calibration, which is that of the recipe as deployed."""
        sides = (self.pair.a.list_metrics("a") | self.pair.b.list_metrics("b")).items()
        named = {name: each for name, each in sides if each is not None and CALIBRATION_RATIO not in name}
        truth = {} if self.truth is None else {"difference/truth": self.truth}
        for prefix, pair in {"difference": self.pair, **truth}.items():
            for name in COMPARED:
                if (gain := pair.gains[name]).is_shown:
                    named |= {f"{prefix}/{name}{end}": value for end, value in gain.list_ends()}
        counts = {"consignments": self.consignments, "results": self.labelled}
        counts |= {"finds": self.pair.b.counts.known}
        return named | {f"compared/{name}": float(count) for name, count in counts.items()}


@dataclass(frozen=True)
class ComparedTraffic:
    """Consignments of which those that arrived in `window` are compared, by default the settled ones that neither version learnt from."""

    tables: Tables | FeatureInputs
    truth: pd.DataFrame | None = None
    window: ArrivalWindow = ALL_ARRIVALS


def compare(
    a: FitScores | LoggedScores,
    b: FitScores,
    compared: ComparedTraffic,
    config: EvaluationConfig | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two versions, of which `b` may replace `a`; `BadInput` if a model learnt from the period, or no result of it is known."""
    config, target = config or take_capacity(EvaluationConfig(), b.fit), b.fit.card.target
    inputs = FeatureInputs.to_repeatable(compared.tables)
    outcomes = inputs.outcomes
    if outcomes is None or outcomes.empty:
        raise BadInput(
            "there are no results to compare with",
            where="--outcomes",
            got="no table" if outcomes is None else "an empty table",
            expected="a table of outcomes",
            todo="provide --outcomes",
        )
    order, known_by = inputs.consignments.take_order(), find_last_visible_time(outcomes)
    begins = _resolve_begin(a, b, compared.window.begins)
    ends = compared.window.ends or find_settled_end(outcomes)
    ids, received = order["consignment_id"], get_time_column_us(order, "received_at")
    young = 0 if compared.window.ends else int(ArrivalWindow(ends).select(received).sum())
    inside = ArrivalWindow(begins, ends).select(received)
    if isinstance(a, LoggedScores):
        inside &= a.frame["score"].reindex(ids).notna().to_numpy(bool)
    inside &= select_counted_consignments(order, outcomes, ends)
    labels = get_labels_as_of(ids, outcomes, known_by, target)
    if not (labels.known & inside).any():
        raise BadInput(
            "no result of any consignment of the period is known",
            where=ArrivalWindow(begins, ends).describe(),
            got=f"{int(inside.sum())} consignments",
            expected=f"arrivals on which neither version was trained, with results; most are known after {LABEL_DELAY_DAYS} days",
            todo="provide later consignments and results, or choose another period with --from and --until",
        )
    truth = None if compared.truth is None else get_true_labels(ids, compared.truth, target)
    always = inside & (labels.chosen if truth is None else labels.chosen | truth.positive)
    sample = sample_traffic(ids, always, [inside], config.traffic_rows, seed=1)
    other_score = a.compute(inputs, sample, progress)
    X, spec, score = score_features(b.fit, inputs, sample.mark(sample.rows), progress)
    scores = [other_score, score]
    table = TableHash()
    rows = read_kept_rows(inputs.consignments, b.fit.config, sample.rows, table)
    labels, arrived = labels.select_rows(sample.rows), sample.stands_for
    day = get_time_column_us(rows, "received_at") // US_PER_DAY
    weight = estimate_result_weights(X[:, select_weighing_columns(spec)], labels, arrived, day, seed=1)
    rows = rows.assign(**{CONSIGNEE: classify_consignee(X, spec)})
    true = [pd.NA] * len(rows) if truth is None else truth.positive[sample.rows]
    ranks: dict[str, Any] = {
        name: 1.0 - compute_shares_above(each, arrived)
        for name, each in zip((OTHER_RANK, RANK), scores, strict=True)
    }
    ranks |= {PROBABILITY: score, "true_positive": pd.array(true, dtype="boolean")}
    named = {"outcomes": outcomes, "alerts": inputs.alerts, "truth": compared.truth}
    return Comparison(
        # All are ranked in one window.
        stored=StoredScores(build_stored_frame(rows, labels, f"{begins:%Y-%m-%d}", arrived, weight, ranks)),
        settings=config,
        target=target,
        begins=begins,
        consignments=int(inside.sum()),
        sources=(a.source, b.source),
        data_sha256=hash_tables({"consignments": table, **named}),
        inputs={"consignments": table.rows}
        | {name: len(each) for name, each in named.items() if each is not None},
        disagreements=list_disagreements((a, b), inputs, sample, rows, scores, labels),
        notes=tuple(_list_notes(young, ends, labels)),
    )


def take_capacity(config: EvaluationConfig, fit: Bundle) -> EvaluationConfig:
    """Return settings with the daily capacity of the training run of a fit, so that its comparisons have it too."""
    reference = fit.reference
    return config if reference is None else msgspec.structs.replace(config, capacity=reference.capacity)


def compare_stored(
    a: StoredScores,
    b: StoredScores,
    target: Target,
    kind: ScoreKind = "stored scores",
    config: EvaluationConfig | None = None,
) -> Comparison:
    """Compare the stored scores of two training runs on their common weeks; `BadInput` if no consignment with a result is in both."""
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
    for name, score in ((OTHER_RANK, both[f"{RANK}_a"].to_numpy()), (RANK, both[RANK].to_numpy())):
        both[name] = np.nan
        for rows in both.groupby("window").indices.values():
            traffic = both["stands_for"].to_numpy()[rows]
            both.loc[rows, name] = 1.0 - compute_shares_above(score[rows], traffic)
    columns = [name for name in b.frame.columns if not str(name).startswith("baseline_")]
    return Comparison(
        stored=StoredScores(both[[*columns, OTHER_RANK]]),
        settings=config or EvaluationConfig(),
        target=target,
        begins=pd.Timestamp(int(both["day"].min()), unit="D", tz="UTC").to_pydatetime(),
        consignments=round(float(both["stands_for"].sum())),
        sources=(ScoreSource(kind), ScoreSource("stored scores")),
    )


def _list_notes(young: int, ends: datetime, labels: Labels) -> Iterator[str]:
    if young:
        yield (
            f"{format_count(young, 'arrival')} from {ends:%Y-%m-%d} on were left out: most results of the last {LABEL_DELAY_DAYS} days "
            "before the last known one are not known yet, and the quick ones are mostly clear. --until includes them."
        )
    if unlogged := int((labels.known & np.isnan(labels.probability)).sum()):
        yield (
            f"{unlogged:,} of {int(labels.known.sum()):,} results have no logged probability of selection. It is estimated from the "
            "declarations, as for the report of a training run."
        )


def _resolve_begin(a: FitScores | LoggedScores, b: FitScores, begins: datetime | None) -> datetime:
    fits = {name: side.fit.unseen_from for name, side in (("a", a), ("b", b)) if isinstance(side, FitScores)}
    name = max(fits, key=fits.__getitem__)
    if begins is not None and begins < fits[name]:
        raise BadInput(
            f"model {name} was trained on consignments of this period, so its metrics would be too good",
            where="--from",
            got=f"{begins:%Y-%m-%d}",
            expected=f"{fits[name]:%Y-%m-%d} or later, on which it was not trained",
            todo="omit --from",
        )
    return begins or max([*fits.values(), *([a.begins] if isinstance(a, LoggedScores) else [])])
