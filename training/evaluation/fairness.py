"""Inspection burden by group: selection rate, hit rate, and unsuccessful inspections per 1,000 consignments, without a limit."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from features.spec import Spec
from models.arrays import Bools, Row, Rows, Texts
from training.config import EvaluationConfig
from training.evaluation.estimate import Estimate
from training.evaluation.estimators import KnownFinds, RankedTraffic
from training.evaluation.traffic import AT_CAPACITY, ScoredPeriod, compute_daily_capacity

CONSIGNEE = "consignee"
KINDS = ("departure", "channel", CONSIGNEE)
EVERYBODY, OTHERS = "all", "others"
ADDRESS_KINDS = ("post box", "virtual office")  # kinds of address that a feature marks
BUSINESS_FEATURE = "parties.consignee_business"


def classify_consignee(X: Rows, spec: Spec) -> Texts:
    """Classify the consignee of each row by its features; the type of address comes before the type of person."""
    business = X[:, spec.get_column(BUSINESS_FEATURE)]
    kind = np.select([business == 1.0, business == 0.0], ["business", "person"], "").astype(object)
    for name in reversed(ADDRESS_KINDS):
        kind[X[:, spec.get_column(f"parties.consignee_{name.replace(' ', '_')}")] == 1.0] = name
    return kind


def compute_fairness_rows(traffic: ScoredPeriod, config: EvaluationConfig) -> list[Row]:
    """Compute the inspection burden of each group: all traffic first, then the largest groups of each kind."""
    ranked = RankedTraffic(traffic)
    within = ranked.select_at_capacities(compute_daily_capacity(traffic, config))
    rows: list[Row] = []
    for kind, value, mine in _iterate_groups(traffic, config):
        finds, taken = KnownFinds.locate(ranked, within, mine), within[AT_CAPACITY] * mine
        arrived, chosen = float(mine @ traffic.traffic), finds.reach[AT_CAPACITY]
        rate = chosen / arrived
        hit = finds.estimate_precision(finds.within[AT_CAPACITY], chosen)
        # If nobody is chosen, there is no unsuccessful inspection.
        burdens = [1000 * rate * (1 - share) if chosen else 0.0 for share in (hit.value, hit.high, hit.low)]
        row: Row = {"kind": kind, "value": value or "missing", "consignments": round(arrived)}
        row |= {"chosen": chosen, "known": round(float(taken @ traffic.labelled))}
        # Both are left out if the hit rate rests on too few finds.
        burden = Estimate(*burdens, is_share=False) if hit.is_shown or not chosen else Estimate()
        row |= Estimate(rate, rate, rate).to_columns("selection_rate") | hit.to_columns("hit_rate")
        rows.append(row | burden.to_columns("false_opens_per_1000"))
    return rows


def _iterate_groups(traffic: ScoredPeriod, config: EvaluationConfig) -> Iterator[tuple[str, str, Bools]]:
    """Yield kind, value and members of each group; the small ones of a kind form one group."""
    yield EVERYBODY, EVERYBODY, np.ones(len(traffic.score), dtype=bool)
    for kind in KINDS:
        if kind not in traffic.slices:
            continue
        codes, names = pd.factorize(traffic.slices[kind], sort=True)
        counts = np.bincount(codes, traffic.traffic, len(names))
        ranked = np.argsort(-counts, kind="stable")
        shown = [code for code in ranked[: config.largest_slices] if counts[code] >= config.smallest_slice]
        for code in shown:
            yield kind, str(names[code]), codes == code
        rest = ~np.isin(codes, shown)
        if rest.any():
            yield kind, OTHERS, rest
