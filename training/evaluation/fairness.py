"""Who bears the inspections: how often each group is chosen, how often rightly, and how often for nothing.

At the daily capacity of each office, by departure country, channel and kind of consignee. A group that is chosen more
often and found in less often bears more than the others; which it may is not for a figure to say, so these are shown and
not judged. The groups are read from the declared data; nobody's name takes part.

A worked line: of 2,000 packets from one country 40 are chosen (selection rate 2 %), 4 of them hold it (hit rate 10 %), so
36 are opened for nothing: 18 for each 1,000 that came.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.spec import Spec
from training.config import EvaluationConfig
from training.evaluation.capacity import index_office_days, select_at_capacity
from training.evaluation.intervals import compute_interval, compute_share_interval
from training.evaluation.ranking import DailyRanking, draw_days
from training.evaluation.selected_labels import compute_effective_size, divide
from training.evaluation.traffic import ScoredPeriod

CONSIGNEE = "consignee"
KINDS = ("departure", "channel", CONSIGNEE)
"""Kinds of groups, as `ScoredPeriod.slices` names them."""
EVERYBODY, OTHERS = "all", "others"
MEASURES = ("selection_rate", "hit_rate", "false_opens_per_1000")
COLUMNS = (
    "judged_by",
    "kind",
    "value",
    "consignments",
    "chosen",
    "known",
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
)
"""Of the table, in every run."""
ADDRESS_KIND_FEATURES = {
    "post box": "parties.consignee_post_box",
    "virtual office": "parties.consignee_virtual_office",
}
BUSINESS_FEATURE = "parties.consignee_business"

Floats = NDArray[np.float64]
Row = dict[str, float | str]


def classify_consignee(X: NDArray[np.float32], spec: Spec) -> NDArray[np.object_]:
    """Tell what kind of consignee each row has, from its features: what the address is goes before who lives there.

    Parameters
    ----------
    X : float32 array, (n, features)
    spec : Spec

    Returns
    -------
    object array of str, (n,)
        `post box`, `virtual office`, `business`, `person`, or '' without a name and such an address.
    """
    business = X[:, spec.get_column(BUSINESS_FEATURE)]
    kind = np.select([business == 1.0, business == 0.0], ["business", "person"], "").astype(object)
    for name, feature in reversed(ADDRESS_KIND_FEATURES.items()):
        kind[X[:, spec.get_column(feature)] == 1.0] = name
    return kind


def compute_fairness_rows(
    traffic: ScoredPeriod, capacity: int, config: EvaluationConfig, judged_by: str
) -> list[Row]:
    """Give the burden of each group, everybody first, then the largest groups of each kind.

    Parameters
    ----------
    traffic : ScoredPeriod
        With slices of the three `KINDS`; one that is not there is left out.
    capacity : int
        Inspections for each office and UTC day.
    config : EvaluationConfig
        Resamples of days; how many groups of a kind, and the fewest consignments of one.
    judged_by : str
        Whose labels these are: `outcomes` or `truth`.

    Returns
    -------
    list of dict
        With `TABLE_COLUMNS`. Selection rate: chosen of all that came. Hit rate: finds among the chosen with a known result,
        each counting for as many as it stands for. False opens: chosen without a find, for each 1,000 that came. Each
        has its 95 % interval from whole days; unknown is NaN.
    """
    ranking = DailyRanking(traffic.score, traffic.day)
    # A single day tells nothing of its spread.
    draws = draw_days(len(ranking.days), config.resamples if len(ranking.days) > 1 else 0, config.seed)
    taken = select_at_capacity(ranking.group, index_office_days(traffic.office, traffic.day), capacity)
    values = {
        "consignments": np.ones(len(taken)),
        "chosen": taken,
        "known": taken * traffic.weights,
        "known_squares": taken * traffic.weights**2,
        "hits": taken * traffic.weights * traffic.positive,
        "results": taken * traffic.labelled,
    }
    rows = []
    for kind, value, mine in _iterate_groups(traffic, config):
        named: Row = {"judged_by": judged_by, "kind": kind, "value": value or "missing"}
        sums = {name: draws @ ranking.sum_by_day(each * mine) for name, each in values.items()}
        rows.append(named | _build_burden_row(sums, len(ranking.days)))
    return rows


def _iterate_groups(traffic: ScoredPeriod, config: EvaluationConfig) -> Iterator[tuple[str, str, Floats]]:
    """Give kind, value and members of each group; the small ones of a kind are one group."""
    yield EVERYBODY, EVERYBODY, np.ones(len(traffic.score))
    for kind in KINDS:
        if kind not in traffic.slices:
            continue
        codes, names = pd.factorize(traffic.slices[kind], sort=True)
        counts = np.bincount(codes, minlength=len(names))
        ranked = np.argsort(-counts, kind="stable")
        shown = [code for code in ranked[: config.largest_slices] if counts[code] >= config.smallest_slice]
        for code in shown:
            yield kind, str(names[code]), (codes == code).astype(np.float64)
        rest = ~np.isin(codes, shown)
        if rest.any():
            yield kind, OTHERS, rest.astype(np.float64)


def _build_burden_row(sums: dict[str, Floats], days: int) -> Row:
    """Turn sums over data and resamples into one row."""
    rate = divide(sums["chosen"], sums["consignments"])
    hit = divide(sums["hits"], sums["known"])
    # Where nobody is chosen nobody is opened for nothing.
    burden = np.where(sums["chosen"] > 0, 1000 * rate * (1 - hit), 0.0)
    row: Row = {
        "consignments": int(sums["consignments"][0]),
        "chosen": float(sums["chosen"][0]),
        "known": round(float(sums["results"][0])),
    }
    results = compute_effective_size(sums["known"], sums["known_squares"])
    estimates = (compute_interval(rate), compute_share_interval(hit, results, days), compute_interval(burden))
    for name, estimate in zip(MEASURES, estimates, strict=True):
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row
