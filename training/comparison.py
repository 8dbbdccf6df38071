"""The paired comparison of two versions: same consignments, same history, same resampled days.

Each version scores every consignment of the period with its own features; the difference of a metric is taken within
each resample of whole days, so that what is hard about a day is hard for both.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Target
from consignments.visibility import US_PER_DAY, moment_of_us, time_column_us, to_us, visible_at_column
from features.batch import Progress, Tables
from features.pseudonyms import Pseudonyms
from models.bundle import Bundle
from models.registry import Version
from models.scoring import score_table
from training.artifacts import table_json
from training.config import EvaluationConfig
from training.datasets import inverse_propensity, labels_at, true_labels
from training.evaluation import Evaluation, Traffic, difference, evaluate
from training.intervals import Estimate
from training.reports import HEADLINE, environment
from training.retrain import texts_of
from training.tracking import RunRecord, log_run

COMPARED = (
    "precision_at_1pct",
    "recall_at_1pct",
    "precision_at_capacity",
    "recall_at_capacity",
    "average_precision",
    "roc_auc",
    "calibration_error",
)
"""What is compared, the deciding ones first."""
DECIDING = ("recall_at_1pct", "average_precision")
"""What the verdict goes by: the first of these that has an interval."""
TOP = 0.01
"""Share of the traffic within which the two lists are held against each other."""
MOST_EXAMPLES = 40


@dataclass(frozen=True)
class Comparison:
    """What the comparison of two versions says.

    Attributes
    ----------
    a, b : Evaluation
        Of the same traffic; `b` is the one that might replace `a`.
    gains : dict
        Metric to the difference `b` minus `a` with its 95 % interval.
    disagreements : list of dict
        Consignments that only one of the two puts into its best 1 %, those furthest apart first; no personal data.
    consignments, labelled, positive : int
    by_truth : bool
        Whether the labels are the truth of a simulated world.
    """

    a: Evaluation
    b: Evaluation
    gains: dict[str, Estimate]
    disagreements: list[dict[str, float | str]]
    consignments: int
    labelled: int
    positive: int
    by_truth: bool

    def verdict(self) -> str:
        """Say `better`, `worse` or `no difference` by recall at 1 % of the traffic, or average precision without it."""
        gain = next(
            (
                self.gains[name]
                for name in ("recall_at_1pct", "average_precision")
                if _known(self.gains[name])
            ),
            Estimate(np.nan, np.nan, np.nan),
        )
        if gain.low > 0:
            return "better"
        return "worse" if gain.high < 0 else "no difference"

    def flat(self) -> dict[str, float]:
        """Give the metrics of the run: `difference/…`, `a/…` and `b/…`, with `_low` and `_high`."""
        differences = {
            f"difference/{name}{end}": value
            for name, gain in self.gains.items()
            for end, value in (("", gain.value), ("_low", gain.low), ("_high", gain.high))
            if np.isfinite(value)
        }
        sides = {
            name: value
            for prefix, side in (("a", self.a), ("b", self.b))
            for name, value in side.flat(prefix).items()
            if name.count("/") == 1
        }
        return differences | sides


def compare(
    a: Bundle,
    b: Bundle,
    tables: Tables,
    pseudonyms: Pseudonyms,
    config: EvaluationConfig,
    *,
    begins: datetime | None = None,
    ends: datetime | None = None,
    truth: pd.DataFrame | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models on the same consignments.

    Parameters
    ----------
    a, b : Bundle
        Of one target; `b` is the one that might replace `a`.
    tables : Tables
        Consignments (all of them join the history), outcomes and alerts.
    pseudonyms : Pseudonyms
    config : EvaluationConfig
    begins, ends : datetime, optional
        Arrivals from `begins` until `ends` are compared; default: from the later of the two models' dates.
    truth : DataFrame, optional
        Of a simulated world, in place of the outcomes.

    Raises
    ------
    BadInput
        Where the targets differ, or the period holds nothing that is known.
    """
    if a.card.target != b.card.target:
        raise BadInput(
            "two models of different targets cannot be compared",
            got=f"{a.card.target} and {b.card.target}",
            expected="one target",
        )
    target: Target = a.card.target
    frame = tables.consignments
    inside = _period(frame, _later(a, b) if begins is None else begins, ends)
    rows = frame.loc[inside]
    labels = (
        true_labels(rows["consignment_id"], truth, target)
        if truth is not None
        else labels_at(rows["consignment_id"], _outcomes(tables), last_visible(_outcomes(tables)), target)
    )
    if not labels.known.any():
        raise BadInput(
            "no result of any consignment of the period is known",
            where=f"{int(inside.sum())} consignments",
            todo="choose another period with --from and --until",
        )
    given = Tables(rows, tables.outcomes, tables.alerts)
    scores = [
        score_table(bundle, given, pseudonyms, history=frame.loc[~inside], progress=progress)[
            "score"
        ].to_numpy(np.float64)
        for bundle in (a, b)
    ]
    traffic = Traffic(
        score=scores[0],
        day=time_column_us(rows, "received_at") // US_PER_DAY,
        office=texts_of(frame, "office", np.flatnonzero(inside)),
        labelled=labels.known,
        positive=labels.positive,
        weight=np.where(labels.known, inverse_propensity(labels.probability), 0.0),
    )
    one, other = evaluate(traffic, config), evaluate(traffic.scored(scores[1]), config)
    return Comparison(
        a=one,
        b=other,
        gains={name: difference(other, one, name) for name in COMPARED},
        disagreements=_disagreements(rows, scores[0], scores[1], labels.known, labels.positive),
        consignments=len(rows),
        labelled=int(labels.known.sum()),
        positive=int(labels.positive.sum()),
        by_truth=truth is not None,
    )


def _later(a: Bundle, b: Bundle) -> datetime:
    """Give the date before which one of the two may have been fitted: the comparison begins there."""
    return max(datetime.fromisoformat(bundle.card.as_of) for bundle in (a, b))


def _period(frame: pd.DataFrame, begins: datetime, ends: datetime | None) -> NDArray[np.bool_]:
    received = time_column_us(frame, "received_at")
    inside: NDArray[np.bool_] = received >= to_us(begins)
    if ends is not None:
        inside &= received < to_us(ends)
    if not inside.any():
        raise BadInput(
            "no consignment was received in the period",
            where=f"from {begins:%Y-%m-%d}" + (f" until {ends:%Y-%m-%d}" if ends else ""),
            expected="arrivals after both models were trained",
            todo="give later consignments, or choose another period with --from and --until",
        )
    return inside


def _outcomes(tables: Tables) -> pd.DataFrame:
    if tables.outcomes is None:
        raise BadInput("nothing to compare against", expected="--outcomes, or --truth on a simulated world")
    return tables.outcomes


def last_visible(outcomes: pd.DataFrame) -> datetime:
    """Give the moment when the last outcome became visible."""
    return moment_of_us(int(visible_at_column(outcomes).max()))


def _known(estimate: Estimate) -> bool:
    return bool(np.isfinite(estimate.low) and np.isfinite(estimate.high))


def _disagreements(
    rows: pd.DataFrame,
    score_a: NDArray[np.float64],
    score_b: NDArray[np.float64],
    known: NDArray[np.bool_],
    positive: NDArray[np.bool_],
) -> list[dict[str, float | str]]:
    """List what only one of the two would have put on top."""
    top = max(1, round(TOP * len(rows)))
    rank_a, rank_b = _ranks(score_a), _ranks(score_b)
    apart = np.flatnonzero((rank_a < top) != (rank_b < top))
    apart = apart[np.argsort(-np.abs(rank_a[apart] - rank_b[apart]), kind="stable")][:MOST_EXAMPLES]
    found = np.where(positive, "found", np.where(known, "not found", "not opened"))
    return [
        {
            "consignment_id": str(rows["consignment_id"].iloc[place]),
            "channel": str(rows["channel"].iloc[place]),
            "rank_a": int(rank_a[place]) + 1,
            "rank_b": int(rank_b[place]) + 1,
            "score_a": float(score_a[place]),
            "score_b": float(score_b[place]),
            "result": str(found[place]),
        }
        for place in apart
    ]


def _ranks(score: NDArray[np.float64]) -> NDArray[np.int64]:
    ranks = np.empty(len(score), dtype=np.int64)
    ranks[np.argsort(-score, kind="stable")] = np.arange(len(score))
    return ranks


def rows_of(found: Comparison) -> list[dict[str, float | str]]:
    """Give each compared metric with both sides, the difference and its interval."""
    return [
        {
            "metric": name,
            "title": HEADLINE[name],
            "a": found.a[name].value,
            "b": found.b[name].value,
            "difference": gain.value,
            "low": gain.low,
            "high": gain.high,
        }
        for name, gain in found.gains.items()
    ]


def sentence_of(found: Comparison, a: str, b: str) -> str:
    """Say what came out, in one sentence.

    Parameters
    ----------
    found : Comparison
    a, b : str
        What the two are called.
    """
    name = next((name for name in DECIDING if _known(found.gains[name])), DECIDING[-1])
    gain = found.gains[name]
    words = {
        "better": f"{b} is better than {a}",
        "worse": f"{b} is worse than {a}",
        "no difference": f"No difference between {b} and {a} can be told",
    }
    return (
        f"{words[found.verdict()]}: {HEADLINE[name].lower()} {gain.value:+.1%} "
        f"({gain.low:+.1%} to {gain.high:+.1%}), on {found.consignments:,} consignments with {found.positive:,} finds."
    )


def render(found: Comparison, a: Version, b: Version) -> str:
    """Write the page of a comparison: HTML that needs nothing else."""
    pages = environment()
    pages.filters["signed"] = lambda value: f"{value:+.4f}" if np.isfinite(value) else "–"
    template = pages.get_template("compare.html")
    return template.render(
        found=found, a=a, b=b, rows=rows_of(found), sentence=sentence_of(found, a.uri, b.uri)
    )


def log_comparison(found: Comparison, a: Version, b: Version, tracking_uri: str) -> str:
    """Log the comparison as a run of its own, found by the gate through its tags `a` and `b`.

    Returns
    -------
    str
        The run's identifier.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        (folder / "compare.html").write_text(render(found, a, b), encoding="utf-8")
        (folder / "tables" / "differences.json").write_text(table_json(list(rows_of(found))))
        (folder / "tables" / "disagreements.json").write_text(table_json(list(found.disagreements)))
        record = RunRecord(
            name=f"compare {a.number} and {b.number}, {a.target}",
            description=sentence_of(found, a.uri, b.uri),
            tags={
                "a": a.uri,
                "b": b.uri,
                "target": a.target,
                "kind": "comparison",
                "verdict": found.verdict(),
            },
            params={
                "judged_by": "truth" if found.by_truth else "outcomes",
                "consignments": found.consignments,
            },
            metrics=found.flat(),
            folder=folder,
        )
        return log_run(record, tracking_uri=tracking_uri)
