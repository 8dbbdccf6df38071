"""Selection policies (selection strategies): each is one function from the arrivals of a day to choices.

To add a policy, write one more function. Its input contains what was known when a day's lists were made, and no
reference to anything else. A policy declares additional input: `legacy` for the choices of the previous operation,
`truth` for the true results. Only reference policies use these.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, UnknownName
from consignments.records import Result, Selector
from features.spec import Spec
from models.risk_model import RiskModel
from models.rules import Rules
from models.selection.selection import SelectionRule, compute_selection_probabilities, select

Floats = NDArray[np.float64]
Sight = Literal["nothing", "features", "model", "legacy", "truth"]
INSPECTED_BEFORE = ".inspections_ever"
"""Features that count earlier inspections of the party, address, product or route of a consignment."""
RESULT_PRIORITY: dict[Result, float] = {"nps": 3.0, "controlled_drug": 2.0, "other_offence": 1.0}
"""Priority of results for the oracle."""


class BadChoice(BadInput):
    """A choice that a policy may not make."""


@dataclass(frozen=True)
class SelectionContext:
    """The arrivals of one day, as known when the lists of all offices are made.

    Attributes
    ----------
    consignment_ids, offices : tuple of str, (n,)
    day : int
        UTC days since the epoch.
    capacity : int
        Inspections for each office.
    explore : float
        Share of the capacity that an exploring policy spends on exploration, 0 to 1.
    seed : int
        Seed of all random selections.
    X : float32 array, (n, features)
        Read-only; empty for a policy without features.
    spec : Spec
        Specification of the columns.
    scores : float64 array, (n,)
        Scores of the model of the day; empty for a policy without a model.
    model : RiskModel or None
    suspect : bool array, (n,)
        Consignments with a suspicious X-ray image; False if none was taken.
    """

    consignment_ids: tuple[str, ...]
    offices: tuple[str, ...]
    day: int
    capacity: int
    explore: float
    seed: int
    X: NDArray[np.float32]
    spec: Spec
    scores: Floats
    model: RiskModel | None
    suspect: NDArray[np.bool_]

    def select_rows(self, rows: NDArray[np.int64]) -> "SelectionContext":
        """Return the context restricted to some arrivals."""
        return replace(
            self,
            consignment_ids=tuple(self.consignment_ids[row] for row in rows.tolist()),
            offices=tuple(self.offices[row] for row in rows.tolist()),
            X=_copy_read_only(self.X[rows] if len(self.X) else self.X),
            scores=_copy_read_only(self.scores[rows] if len(self.scores) else self.scores),
            suspect=_copy_read_only(self.suspect[rows]),
        )


class PolicyChoice(NamedTuple):
    """A choice of a policy.

    Attributes
    ----------
    row : int
        Its position in the context.
    selected_by : Selector
    probability : float or None
        Probability of being chosen under the whole policy, in (0, 1]; None if unknown.
    """

    row: int
    selected_by: Selector
    probability: float | None


@dataclass(frozen=True)
class Policy:
    """A named selection policy.

    Attributes
    ----------
    name, text : str
        The name and the first line of the function.
    sees : {"nothing", "features", "model", "legacy", "truth"}
        Declared input. `legacy` and `truth` are passed as a second argument, only to policies that declare them.
    choose : callable
    """

    name: str
    text: str
    sees: Sight
    choose: Callable[..., list[PolicyChoice]]

    @property
    def learns(self) -> bool:
        """True if a model is trained for it."""
        return self.sees == "model"


POLICIES: dict[str, Policy] = {}
"""All policies, by name."""


def register_policy(
    sees: Sight,
) -> Callable[[Callable[..., list[PolicyChoice]]], Callable[..., list[PolicyChoice]]]:
    """Register a function as a policy, under its own name."""

    def enter(choose: Callable[..., list[PolicyChoice]]) -> Callable[..., list[PolicyChoice]]:
        text = (choose.__doc__ or "").splitlines()[0]
        POLICIES[choose.__name__] = Policy(choose.__name__, text, sees, choose)
        return choose

    return enter


def get_policy(name: str) -> Policy:
    """Return a policy by name.

    Raises
    ------
    UnknownName
    """
    if name not in POLICIES:
        raise UnknownName.from_candidates(name, POLICIES, kind="policy")
    return POLICIES[name]


@register_policy(sees="nothing")
def random(offer: SelectionContext) -> list[PolicyChoice]:
    """Select at random, all with the same probability."""
    nothing = np.zeros(len(offer.consignment_ids))
    return [pick._replace(selected_by="random") for pick in _select_by_score(offer, nothing)]


@register_policy(sees="features")
def rules(offer: SelectionContext) -> list[PolicyChoice]:
    """Select the highest scores of the fixed rules, which never learn but use earlier detections and alerts."""
    points = Rules(offer.spec).compute_scores(offer.X)
    return [pick._replace(selected_by="rule") for pick in _select_by_score(offer, points)]


@register_policy(sees="legacy")
def officer(offer: SelectionContext, legacy: Callable[[], list[PolicyChoice]]) -> list[PolicyChoice]:  # noqa: ARG001
    """Select as the previous operation: rules with X-ray images, officers at their discretion, a few at random."""
    return legacy()


@register_policy(sees="model")
def greedy(offer: SelectionContext) -> list[PolicyChoice]:
    """Select the highest scores of the model, without exploration."""
    return _select_by_score(offer, offer.scores)


@register_policy(sees="model")
def explore(offer: SelectionContext) -> list[PolicyChoice]:
    """Select the highest scores, and a random share of the rest with logged probability."""
    return _select_by_score(offer, offer.scores, explore=offer.explore)


@register_policy(sees="model")
def uncertain(offer: SelectionContext) -> list[PolicyChoice]:
    """Select the highest scores, and spend the exploration share on the largest disagreement between the model's trees."""
    assert offer.model is not None
    return _select_exploring(offer, offer.model.trees.compute_disagreement(offer.X))


@register_policy(sees="model")
def novel(offer: SelectionContext) -> list[PolicyChoice]:
    """Select the highest scores, and spend the exploration share on the least inspected parties, goods and routes."""
    places = [place for place, name in enumerate(offer.spec.names) if name.endswith(INSPECTED_BEFORE)]
    seen = np.log1p(offer.X[:, places].astype(np.float64))
    given = ~np.isnan(seen)
    mean = np.where(given, seen, 0.0).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    return _select_exploring(offer, -mean)


@register_policy(sees="truth")
def oracle(offer: SelectionContext, truth: Sequence[Result]) -> list[PolicyChoice]:
    """Select by the true results: NPS first, then other drugs, then other offences; no policy can be better."""
    worth = np.array([RESULT_PRIORITY.get(result, 0.0) for result in truth])
    return [pick._replace(selected_by="intelligence") for pick in _select_by_score(offer, worth)]


def check_choices(picks: Iterable[PolicyChoice], offer: SelectionContext, name: str) -> None:
    """Check that choices are in the context, distinct, within capacity, and have a probability in (0, 1].

    Raises
    ------
    BadChoice
    """
    full: dict[str, int] = {}
    seen: set[int] = set()
    for pick in picks:
        if not 0 <= pick.row < len(offer.offices) or pick.row in seen:
            raise BadChoice(
                "a policy chose an unknown consignment, or one twice", where=name, got=f"row {pick.row}"
            )
        seen.add(pick.row)
        office = offer.offices[pick.row]
        full[office] = full.get(office, 0) + 1
        if full[office] > offer.capacity:
            raise BadChoice(
                "a policy chose more than an office can inspect",
                where=name,
                got=f"{full[office]} at {office or 'the unnamed office'}",
                expected=f"at most {offer.capacity}",
            )
        if pick.probability is not None and not 0 < pick.probability <= 1:
            raise BadChoice("a selection probability is out of range", where=name, got=repr(pick.probability))


def _copy_read_only(values: NDArray[Any]) -> NDArray[Any]:
    copied = values.copy()
    copied.flags.writeable = False
    return copied


def _select_by_score(offer: SelectionContext, scores: Floats, *, explore: float = 0.0) -> list[PolicyChoice]:
    """Make the lists of all offices: suspicious images, then the highest scores with random ties, then a random share."""
    every = np.arange(len(scores))
    return _select_rows(offer, every, _suspects_first(offer, scores), offer.capacity, explore)


def _suspects_first(offer: SelectionContext, scores: Floats) -> Floats:
    """Rank consignments with a suspicious image above all others, in the order of their scores."""
    return scores + offer.suspect * (1.0 + np.ptp(scores)) if len(scores) else scores


def _select_exploring(offer: SelectionContext, curiosity: Floats) -> list[PolicyChoice]:
    """Spend the exploration share, in whole inspections of each office, on the highest curiosity values."""
    places = min(max(1, round(offer.capacity * offer.explore)), offer.capacity)
    by_score, everything = offer.capacity - places, np.arange(len(curiosity))
    ranked = _suspects_first(offer, offer.scores)
    first = _select_rows(offer, everything, ranked, by_score) if by_score else []
    left = np.setdiff1d(everything, [pick.row for pick in first])
    second = _select_rows(offer, left, curiosity[left], places)
    if not by_score:
        return second
    before = compute_selection_probabilities(
        ranked, offer.offices, _days(offer, len(curiosity)), capacity=by_score, explore=0.0
    )
    return first + [
        pick._replace(
            probability=float(before[pick.row] + (1.0 - before[pick.row]) * (pick.probability or 0.0))
        )
        for pick in second
    ]


def _select_rows(
    offer: SelectionContext, rows: NDArray[np.int64], scores: Floats, capacity: int, explore: float = 0.0
) -> list[PolicyChoice]:
    chosen = select(
        [offer.consignment_ids[row] for row in rows.tolist()],
        scores,
        [offer.offices[row] for row in rows.tolist()],
        _days(offer, len(rows)),
        SelectionRule(capacity, explore, offer.seed),
    )
    return [PolicyChoice(int(rows[one.place]), one.selected_by, one.selection_probability) for one in chosen]


def _days(offer: SelectionContext, count: int) -> NDArray[np.int64]:
    return np.full(count, offer.day, dtype=np.int64)
