"""Policies: who is inspected. Each is one function from an offer to choices; to add one, write one more.

An offer holds what was known when a day's lists were drawn up, and no reference that leads to anything else. What a
policy may see besides, it declares: `legacy` the choices of the operation as it was, `truth` what is inside. Only the
yardsticks do.
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
from models.selection import SelectionRule, compute_selection_probabilities, select
from models.stratified_selection import ScoredArrivals, StratifiedRule, select_stratified

Floats = NDArray[np.float64]
Sight = Literal["nothing", "features", "model", "legacy", "truth"]
INSPECTED_BEFORE = ".inspections_ever"
"""Readings that tell how often the party, address, product or route of a consignment was inspected."""
RESULT_PRIORITY: dict[Result, float] = {"nps": 3.0, "controlled_drug": 2.0, "other_offence": 1.0}
"""What the oracle opens first."""
WIDTH_DAYS = 28
"""Days over which the estimate of recall is pooled that `stratified` draws for."""


class BadChoice(BadInput):
    """A policy chose what it may not choose."""


@dataclass(frozen=True)
class SelectionContext:
    """The arrivals of one day, as they are known when the lists of all offices are drawn up.

    Attributes
    ----------
    consignment_ids, offices : tuple of str, (n,)
    day : int
        UTC days since the epoch.
    capacity : int
        Inspections for each office.
    explore : float
        Share of the capacity that a policy which explores spends on it, 0 to 1.
    width : float
        Half-width of the interval of recall, pooled over `WIDTH_DAYS`, that a policy which draws for it aims at.
    seed : int
        Of all lots.
    X : float32 array, (n, features)
        Read-only; empty for a policy that sees no features.
    spec : Spec
        What the columns are.
    scores : float64 array, (n,)
        Of the model of the day; empty for a policy that sees none.
    model : RiskModel or None
    suspect : bool array, (n,)
        Whose X-ray picture looked wrong; False where none was taken.
    """

    consignment_ids: tuple[str, ...]
    offices: tuple[str, ...]
    day: int
    capacity: int
    explore: float
    width: float
    seed: int
    X: NDArray[np.float32]
    spec: Spec
    scores: Floats
    model: RiskModel | None
    suspect: NDArray[np.bool_]

    def select_rows(self, rows: NDArray[np.int64]) -> "SelectionContext":
        """Give the offer of some arrivals alone."""
        return replace(
            self,
            consignment_ids=tuple(self.consignment_ids[row] for row in rows.tolist()),
            offices=tuple(self.offices[row] for row in rows.tolist()),
            X=_copy_read_only(self.X[rows] if len(self.X) else self.X),
            scores=_copy_read_only(self.scores[rows] if len(self.scores) else self.scores),
            suspect=_copy_read_only(self.suspect[rows]),
        )


class PolicyChoice(NamedTuple):
    """One choice.

    Attributes
    ----------
    row : int
        Its place in the offer.
    selected_by : Selector
    probability : float or None
        Of being chosen under the whole policy, in (0, 1]; None where nobody can tell.
    """

    row: int
    selected_by: Selector
    probability: float | None


@dataclass(frozen=True)
class Policy:
    """A named way to choose.

    Attributes
    ----------
    name, text : str
        The name and the first line of the function.
    sees : {"nothing", "features", "model", "legacy", "truth"}
        Its declared sight. `legacy` and `truth` come as a second argument, to nobody else.
    choose : callable
    """

    name: str
    text: str
    sees: Sight
    choose: Callable[..., list[PolicyChoice]]

    @property
    def learns(self) -> bool:
        """Whether a model is trained for it."""
        return self.sees == "model"


POLICIES: dict[str, Policy] = {}
"""All policies, by name."""


def register_policy(
    sees: Sight,
) -> Callable[[Callable[..., list[PolicyChoice]]], Callable[..., list[PolicyChoice]]]:
    """Make a function a policy, under its own name."""

    def enter(choose: Callable[..., list[PolicyChoice]]) -> Callable[..., list[PolicyChoice]]:
        text = (choose.__doc__ or "").splitlines()[0]
        POLICIES[choose.__name__] = Policy(choose.__name__, text, sees, choose)
        return choose

    return enter


def get_policy(name: str) -> Policy:
    """Find a policy.

    Raises
    ------
    UnknownName
    """
    if name not in POLICIES:
        raise UnknownName.from_candidates(name, POLICIES, kind="policy")
    return POLICIES[name]


@register_policy(sees="nothing")
def random(offer: SelectionContext) -> list[PolicyChoice]:
    """Draw by lot, all with the same chance."""
    nothing = np.zeros(len(offer.consignment_ids))
    return [pick._replace(selected_by="random") for pick in _select_by_score(offer, nothing)]


@register_policy(sees="features")
def rules(offer: SelectionContext) -> list[PolicyChoice]:
    """Take most points of the table of rules, which never learns but knows earlier finds and alerts."""
    points = Rules(offer.spec).compute_scores(offer.X)
    return [pick._replace(selected_by="rule") for pick in _select_by_score(offer, points)]


@register_policy(sees="legacy")
def officer(offer: SelectionContext, legacy: Callable[[], list[PolicyChoice]]) -> list[PolicyChoice]:  # noqa: ARG001
    """Leave it to the operation as it was: rules with X-ray pictures, officers at their discretion, a few by lot."""
    return legacy()


@register_policy(sees="model")
def greedy(offer: SelectionContext) -> list[PolicyChoice]:
    """Take the highest scores of the model, and nothing else."""
    return _select_by_score(offer, offer.scores)


@register_policy(sees="model")
def explore(offer: SelectionContext) -> list[PolicyChoice]:
    """Take the highest scores, and a random share of the rest with logged probability."""
    return _select_by_score(offer, offer.scores, explore=offer.explore)


@register_policy(sees="model")
def stratified(offer: SelectionContext) -> list[PolicyChoice]:
    """Take the highest scores, and draw the others by strata of the score, as many as a known recall needs."""
    arrivals = ScoredArrivals(
        offer.consignment_ids,
        _suspects_first(offer, offer.scores),
        offer.offices,
        _days(offer, len(offer.scores)),
        offer.scores,
    )
    rule = StratifiedRule(offer.capacity, offer.width, WIDTH_DAYS, offer.seed)
    chosen, _ = select_stratified(arrivals, rule)
    return [PolicyChoice(one.place, one.selected_by, one.selection_probability) for one in chosen]


@register_policy(sees="model")
def uncertain(offer: SelectionContext) -> list[PolicyChoice]:
    """Take the highest scores, and spend the share on what the model's trees disagree about most."""
    assert offer.model is not None
    return _select_exploring(offer, offer.model.trees.compute_disagreement(offer.X))


@register_policy(sees="model")
def novel(offer: SelectionContext) -> list[PolicyChoice]:
    """Take the highest scores, and spend the share on parties, goods and routes inspected least so far."""
    places = [place for place, name in enumerate(offer.spec.names) if name.endswith(INSPECTED_BEFORE)]
    seen = np.log1p(offer.X[:, places].astype(np.float64))
    given = ~np.isnan(seen)
    mean = np.where(given, seen, 0.0).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    return _select_exploring(offer, -mean)


@register_policy(sees="truth")
def oracle(offer: SelectionContext, truth: Sequence[Result]) -> list[PolicyChoice]:
    """See what is inside: NPS first, then other drugs, then other offences; no policy can do better."""
    worth = np.array([RESULT_PRIORITY.get(result, 0.0) for result in truth])
    return [pick._replace(selected_by="intelligence") for pick in _select_by_score(offer, worth)]


def check_choices(picks: Iterable[PolicyChoice], offer: SelectionContext, name: str) -> None:
    """Refuse choices that are not of the offer, come twice, exceed a capacity, or have no probability in (0, 1].

    Raises
    ------
    BadChoice
    """
    full: dict[str, int] = {}
    seen: set[int] = set()
    for pick in picks:
        if not 0 <= pick.row < len(offer.offices) or pick.row in seen:
            raise BadChoice(
                "a policy chose what was not offered, or twice", where=name, got=f"row {pick.row}"
            )
        seen.add(pick.row)
        office = offer.offices[pick.row]
        full[office] = full.get(office, 0) + 1
        if full[office] > offer.capacity:
            raise BadChoice(
                "a policy chose more than an office can open",
                where=name,
                got=f"{full[office]} at {office or 'the unnamed office'}",
                expected=f"at most {offer.capacity}",
            )
        if pick.probability is not None and not 0 < pick.probability <= 1:
            raise BadChoice("a probability out of range", where=name, got=repr(pick.probability))


def _copy_read_only(values: NDArray[Any]) -> NDArray[Any]:
    copied = values.copy()
    copied.flags.writeable = False
    return copied


def _select_by_score(offer: SelectionContext, scores: Floats, *, explore: float = 0.0) -> list[PolicyChoice]:
    """Draw up the lists of all offices: suspects, then the highest scores, equal ones by lot, and a random share of the rest."""
    every = np.arange(len(scores))
    return _select_rows(offer, every, _suspects_first(offer, scores), offer.capacity, explore)


def _suspects_first(offer: SelectionContext, scores: Floats) -> Floats:
    """Lift those whose picture looked wrong above all others, in the order of their scores."""
    return scores + offer.suspect * (1.0 + np.ptp(scores)) if len(scores) else scores


def _select_exploring(offer: SelectionContext, curiosity: Floats) -> list[PolicyChoice]:
    """Spend the exploring share, in whole places of each office, on what one is most curious about."""
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
