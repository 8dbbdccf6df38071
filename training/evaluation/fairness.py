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
from training.evaluation.intervals import interval_of, share_of
from training.evaluation.metrics import Traffic, office_days, taken_at_capacity
from training.evaluation.ranking import Ranking, draw_days
from training.evaluation.selected_labels import effective, ratio

CONSIGNEE = "consignee"
KINDS = ("departure", "channel", CONSIGNEE)
"""Kinds of groups, as `Traffic.slices` names them."""
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
ADDRESS_SIGNS = {
    "post box": "parties.consignee_post_box",
    "virtual office": "parties.consignee_virtual_office",
}
BUSINESS = "parties.consignee_business"

Floats = NDArray[np.float64]
Row = dict[str, float | str]


def consignee_kind(X: NDArray[np.float32], spec: Spec) -> NDArray[np.object_]:
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
    business = X[:, spec.place(BUSINESS)]
    kind = np.select([business == 1.0, business == 0.0], ["business", "person"], "").astype(object)
    for name, feature in reversed(ADDRESS_SIGNS.items()):
        kind[X[:, spec.place(feature)] == 1.0] = name
    return kind


def fairness_rows(traffic: Traffic, capacity: int, config: EvaluationConfig, judged_by: str) -> list[Row]:
    """Give the burden of each group, everybody first, then the largest groups of each kind.

    Parameters
    ----------
    traffic : Traffic
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
        With `COLUMNS`. Selection rate: chosen of all that came. Hit rate: finds among the chosen with a known result,
        each counting for as many as it stands for. False opens: chosen without a find, for each 1,000 that came. Each
        has its 95 % interval from whole days; unknown is NaN.
    """
    ranking = Ranking(traffic.score, traffic.day)
    # A single day tells nothing of its spread.
    draws = draw_days(len(ranking.days), config.resamples if len(ranking.days) > 1 else 0, config.seed)
    taken = taken_at_capacity(ranking.group, office_days(traffic.office, traffic.day), capacity)
    values = {
        "consignments": np.ones(len(taken)),
        "chosen": taken,
        "known": taken * traffic.weights,
        "known_squares": taken * traffic.weights**2,
        "hits": taken * traffic.weights * traffic.positive,
        "results": taken * traffic.labelled,
    }
    rows = []
    for kind, value, mine in _groups(traffic, config):
        named: Row = {"judged_by": judged_by, "kind": kind, "value": value or "missing"}
        sums = {name: draws @ ranking.by_day(each * mine) for name, each in values.items()}
        rows.append(named | _burden(sums, len(ranking.days)))
    return rows


def _groups(traffic: Traffic, config: EvaluationConfig) -> Iterator[tuple[str, str, Floats]]:
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


def _burden(sums: dict[str, Floats], days: int) -> Row:
    """Turn sums over data and resamples into one row."""
    rate = ratio(sums["chosen"], sums["consignments"])
    hit = ratio(sums["hits"], sums["known"])
    # Where nobody is chosen nobody is opened for nothing.
    burden = np.where(sums["chosen"] > 0, 1000 * rate * (1 - hit), 0.0)
    row: Row = {
        "consignments": int(sums["consignments"][0]),
        "chosen": float(sums["chosen"][0]),
        "known": round(float(sums["results"][0])),
    }
    results = effective(sums["known"], sums["known_squares"])
    estimates = (interval_of(rate), share_of(hit, results, days), interval_of(burden))
    for name, estimate in zip(MEASURES, estimates, strict=True):
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row
