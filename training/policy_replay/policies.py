"""Selection policies (selection strategies): each is one function from the arrivals of a day to choices.

To add a policy, write one more function. Its input contains what was known when a day's lists were made, and no reference to anything else. A policy
declares additional input: `legacy` for the choices of the previous operation, `truth` for the true results. Only reference policies use these.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, UnknownName
from consignments.records import Result
from features.spec import Spec
from models.arrays import Bools, Floats, Ints, Rows
from models.risk_model import RiskModel
from models.rules import Rules
from models.selection import SelectionRule, compute_selection_probabilities, select
from training.simulation.inspection_outcomes import InspectionChoice

Sight = Literal["nothing", "features", "model", "legacy", "truth"]
Chooser = Callable[..., list[InspectionChoice]]
INSPECTED_BEFORE = ".inspections_ever"  # ending of the names of features that count earlier inspections
RESULT_PRIORITY: dict[Result, float] = {"nps": 3.0, "controlled_drug": 2.0, "other_offence": 1.0}
"""Priority of results for the oracle."""


@dataclass(frozen=True)
class SelectionContext:
    """The arrivals of one day, as known when the lists of all offices are made; arrays are read-only."""

    consignment_ids: tuple[str, ...]
    offices: tuple[str, ...]
    day: int  # UTC days since the epoch
    capacity: int  # inspections for each office
    explore: float  # share of the capacity that an exploring policy spends on exploration, 0 to 1
    seed: int  # of all random selections
    X: Rows  # (n, features); empty for a policy without features
    spec: Spec
    scores: Floats  # of the model of the day; empty for a policy without a model
    model: RiskModel | None
    suspect: Bools  # with a suspicious X-ray image; False if none was taken

    def select_rows(self, rows: Ints) -> "SelectionContext":
        """Return the context restricted to some arrivals."""
        return replace(
            self,
            consignment_ids=tuple(self.consignment_ids[row] for row in rows.tolist()),
            offices=tuple(self.offices[row] for row in rows.tolist()),
            X=_copy_read_only(self.X[rows] if len(self.X) else self.X),
            scores=_copy_read_only(self.scores[rows] if len(self.scores) else self.scores),
            suspect=_copy_read_only(self.suspect[rows]),
        )


@dataclass(frozen=True)
class Policy:
    """A named selection policy: a function, its name, its first line, and its declared input."""

    name: str
    text: str
    sees: Sight  # `legacy` and `truth` are passed as a second argument, only to policies that declare them
    choose: Chooser


POLICIES: dict[str, Policy] = {}  # all policies, by name


def register_policy(sees: Sight) -> Callable[[Chooser], Chooser]:
    """Register a function as a policy, under its own name."""

    def enter(choose: Chooser) -> Chooser:
        text = (choose.__doc__ or "").splitlines()[0]
        POLICIES[choose.__name__] = Policy(choose.__name__, text, sees, choose)
        return choose

    return enter


def get_policy(name: str) -> Policy:
    """Return a policy by name."""
    if name not in POLICIES:
        raise UnknownName.from_candidates(name, POLICIES, kind="policy")
    return POLICIES[name]


@register_policy(sees="nothing")
def random(offer: SelectionContext) -> list[InspectionChoice]:
    """Select at random, all with the same probability."""
    nothing = np.zeros(len(offer.consignment_ids))
    return [pick._replace(selected_by="random") for pick in _select_by_score(offer, nothing)]


@register_policy(sees="features")
def rules(offer: SelectionContext) -> list[InspectionChoice]:
    """Select the highest scores of the fixed rules, which never learn but use earlier detections and alerts."""
    points = Rules(offer.spec).compute_scores(offer.X)
    return [pick._replace(selected_by="rule") for pick in _select_by_score(offer, points)]


@register_policy(sees="legacy")
def officer(offer: SelectionContext, legacy: list[InspectionChoice]) -> list[InspectionChoice]:  # noqa: ARG001
    """Select as the previous operation: rules with X-ray images, officers at their discretion, a few at random."""
    return legacy


@register_policy(sees="model")
def greedy(offer: SelectionContext) -> list[InspectionChoice]:
    """Select the highest scores of the model, without exploration."""
    return _select_by_score(offer, offer.scores)


@register_policy(sees="model")
def explore(offer: SelectionContext) -> list[InspectionChoice]:
    """Select the highest scores, and a random share of the rest with logged probability."""
    return _select_by_score(offer, offer.scores, explore=offer.explore)


@register_policy(sees="model")
def uncertain(offer: SelectionContext) -> list[InspectionChoice]:
    """Select the highest scores, and spend the exploration share on the largest disagreement between the model's trees."""
    assert offer.model is not None
    return _select_exploring(offer, offer.model.trees.compute_disagreement(offer.X))


@register_policy(sees="model")
def novel(offer: SelectionContext) -> list[InspectionChoice]:
    """Select the highest scores, and spend the exploration share on the least inspected parties, goods and routes."""
    places = [place for place, name in enumerate(offer.spec.names) if name.endswith(INSPECTED_BEFORE)]
    seen = np.log1p(offer.X[:, places].astype(np.float64))
    mean = np.nan_to_num(seen).sum(axis=1) / np.maximum((~np.isnan(seen)).sum(axis=1), 1)
    return _select_exploring(offer, -mean)


@register_policy(sees="truth")
def oracle(offer: SelectionContext, truth: Sequence[Result]) -> list[InspectionChoice]:
    """Select by the true results: NPS first, then other drugs, then other offences; no policy can be better."""
    worth = np.array([RESULT_PRIORITY.get(result, 0.0) for result in truth])
    return [pick._replace(selected_by="intelligence") for pick in _select_by_score(offer, worth)]


def check_choices(picks: Iterable[InspectionChoice], offer: SelectionContext, name: str) -> None:
    """Check that choices are in the context, distinct, within capacity, and have a probability in (0, 1]."""
    full: Counter[str] = Counter()
    seen: set[int] = set()
    for pick in picks:
        if not 0 <= pick.row < len(offer.offices) or pick.row in seen:
            fault = "a policy chose an unknown consignment, or one twice"
            raise BadInput(fault, where=name, got=f"row {pick.row}")
        office = offer.offices[pick.row]
        seen.add(pick.row)
        full[office] += 1
        if full[office] > offer.capacity:
            got, limit = f"{full[office]} at {office or 'the unnamed office'}", f"at most {offer.capacity}"
            fault = "a policy chose more than an office can inspect"
            raise BadInput(fault, where=name, got=got, expected=limit)
        if pick.probability is not None and not 0 < pick.probability <= 1:
            raise BadInput("a selection probability is out of range", where=name, got=repr(pick.probability))


def _copy_read_only(values: NDArray[Any]) -> NDArray[Any]:
    copied = values.copy()
    copied.flags.writeable = False
    return copied


def _select_by_score(
    offer: SelectionContext, scores: Floats, *, explore: float = 0.0
) -> list[InspectionChoice]:
    """Make the lists of all offices: suspicious images, then the highest scores with random ties, then a random share."""
    ranked = _rank_suspects_first(offer, scores)
    return _select_rows(offer, np.arange(len(scores)), ranked, offer.capacity, explore)


def _rank_suspects_first(offer: SelectionContext, scores: Floats) -> Floats:
    """Rank consignments with a suspicious image above all others, in the order of their scores."""
    return scores + offer.suspect * (1.0 + np.ptp(scores)) if len(scores) else scores


def _select_exploring(offer: SelectionContext, curiosity: Floats) -> list[InspectionChoice]:
    """Spend the exploration share, in whole inspections of each office, on the highest curiosity values."""
    places = min(max(1, round(offer.capacity * offer.explore)), offer.capacity)
    by_score, everything = offer.capacity - places, np.arange(len(curiosity))
    ranked = _rank_suspects_first(offer, offer.scores)
    first = _select_rows(offer, everything, ranked, by_score) if by_score else []
    left = np.setdiff1d(everything, [pick.row for pick in first])
    second = _select_rows(offer, left, curiosity[left], places)
    before, days = np.zeros(len(curiosity)), np.full(len(curiosity), offer.day)
    if by_score:
        before = compute_selection_probabilities(ranked, offer.offices, days, capacity=by_score, explore=0.0)
    for pick in second:
        chance = float(before[pick.row] + (1.0 - before[pick.row]) * (pick.probability or 0.0))
        first.append(pick._replace(probability=chance))
    return first


def _select_rows(
    offer: SelectionContext, rows: Ints, scores: Floats, capacity: int, explore: float = 0.0
) -> list[InspectionChoice]:
    chosen = select(
        [offer.consignment_ids[row] for row in rows.tolist()],
        scores,
        [offer.offices[row] for row in rows.tolist()],
        np.full(len(rows), offer.day),
        SelectionRule(capacity, explore, offer.seed),
    )
    picked = ((int(rows[one.place]), one.selected_by, one.selection_probability) for one in chosen)
    return [InspectionChoice(*one) for one in picked]
