"""Targeting in the simulated operation: random selection, rules, later a model and officers, and intelligence.

Random selection comes first, over all arrivals of an office and day, so its logged probability is exact. Rules add up
signs, with an X-ray image of the riskiest; after some months a model of the operation takes over a part of their capacity.
Officers select at their discretion, and reject some of what others chose, with a little skill and a bias by origin. No
probability of these choices is known. Consignments with intelligence are inspected beyond the capacity.
"""

from datetime import datetime
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from consignments.records import Outcome
from consignments.timestamps import US_PER_DAY, to_datetime
from training.simulation.context import SimulationContext
from training.simulation.declarations import Flags, is_box_or_forwarder
from training.simulation.incumbent_model import IncumbentModel
from training.simulation.inspection_outcomes import InspectionChoice, InspectionSimulator, SimulatedDay
from training.simulation.legitimate_traffic import PREMIUM_SERVICES
from training.simulation.parties import HUMAN, Texts
from training.simulation.shipments import CLEAR, Draws, Numbers, Shipments, Values
from training.simulation.watchlists import Detection, Watchlist

SIGNS = (
    "watched",
    "alert",
    "offender",
    "substance",
    "chemical",
    "powder_to_person",
    "vague",
    "no_hs",
    "no_sender",
    "young_account",
    "box_or_forwarder",
    "source_country",
    "cheap_premium",
    "crypto",
    "hs_chapter",
    "prone_goods",
)
"""Inputs of rules and model; named as the weights in `RuleParameters`."""
YOUNG_DAYS = 30
TIE_BREAK_NOISE = 0.25
"""Random noise added to the rules' scores, to separate ties (assumed)."""
CHEAP_USD = 10.0
SUSPECT_CHAPTERS = (29, 38, 12)
MIN_NAME_CHARACTERS = 5
"""Minimum length of a substance's name for the rules; shorter ones are common words."""


class TargetingScores(NamedTuple):
    """Scores of a day's arrivals for each kind of selection, the higher the riskier; arrays of (n,)."""

    rules: Values
    picture: Flags
    model: Values
    officers: Values


class TargetingCentre:
    """Selection and inspection, day by day.

    Parameters
    ----------
    stage : SimulationContext
    operation_day : int
        From the start.
    """

    def __init__(self, stage: SimulationContext, operation_day: int) -> None:
        self._stage, self._policy = stage, stage.world.inspection
        self._operation_day = operation_day
        bias = self._policy.officer_bias
        self._bias = np.array([bias.get(name, 0.0) for name in stage.parties.countries])
        self._skill = NormalDist().inv_cdf(self._policy.officer_auc) * 2**0.5
        self._weights = np.array([getattr(self._policy.rules, name) for name in SIGNS])
        self._known_names = _list_known_names(stage)
        self._openings = InspectionSimulator(stage)
        self._champion = IncumbentModel()
        self.watchlist = Watchlist()

    def inspect(self, draws: Draws, arrivals: SimulatedDay) -> list[Outcome]:
        """Select among the arrivals of a day, inspect, and return the rows of the outcome table."""
        signs = self.detect_signs(arrivals)
        seen = np.column_stack([signs, self._encode_categories(arrivals)])
        choices = [*self.list_intelligence(arrivals), *self.choose(draws, arrivals, signs, seen)]
        outcomes = []
        for choice in choices:
            reported = self._openings.inspect(draws, arrivals, choice)
            self._champion.record_outcomes(seen[choice.row], reported)
            outcomes += reported
        return outcomes

    def pop_detections(self, us: int) -> list[Detection]:
        """Return and remove the detections made before a time, and add their names to the watch list."""
        finds = self._openings.pop_detections(us)
        for find in finds:
            self.watchlist.add(find)
        return finds

    def list_intelligence(self, arrivals: SimulatedDay) -> list[InspectionChoice]:
        """Return the consignments with intelligence, which are inspected beyond the capacity."""
        operation = self._get_operation(arrivals.since_start)
        return [
            InspectionChoice(int(row), "intelligence", operation=operation)
            for row in np.flatnonzero(arrivals.tipped)
        ]

    def choose(
        self, draws: Draws, arrivals: SimulatedDay, signs: Numbers, seen: Numbers
    ) -> list[InspectionChoice]:
        """Select among the arrivals of a day, for each office, within the capacity.

        Parameters
        ----------
        draws : Generator
        arrivals : SimulatedDay
        signs : int64 array, (n, signs)
            From `detect_signs`.
        seen : int64 array, (n, columns)
            Inputs of the model.
        """
        sent, count = arrivals.shipments, len(arrivals.shipments)
        views = TargetingScores(
            rules=signs @ self._weights + draws.uniform(0, TIE_BREAK_NOISE, count),
            picture=arrivals.pictured,
            model=self._champion.score(seen, _utc_day(sent)) + draws.uniform(0, TIE_BREAK_NOISE, count),
            officers=self._score_by_officers(draws, sent),
        )
        choices: list[InspectionChoice] = []
        for office in sorted(set(arrivals.columns["office"])):
            rows = np.flatnonzero(arrivals.columns["office"] == office)
            choices += self._choose_at_office(draws, arrivals, rows, views)
        return choices

    def _choose_at_office(
        self, draws: Draws, arrivals: SimulatedDay, rows: Numbers, views: TargetingScores
    ) -> list[InspectionChoice]:
        """Select at one office: at random, then by rules and model, then by officers among the rest."""
        operation, policy = self._get_operation(arrivals.since_start), self._policy
        wanted = self.compute_capacity(rows, operation)
        by_chance = wanted * policy.random_share
        drawn = draws.choice(rows, _round_randomly(draws, by_chance), replace=False)
        rest, mature = (
            _round_randomly(draws, wanted - by_chance),
            arrivals.since_start >= policy.rules_only_days,
        )
        officers = int(draws.binomial(rest, policy.officer_share)) if mature else 0
        models = _round_randomly(draws, (rest - officers) * policy.model_share) if mature else 0
        left = np.setdiff1d(rows[~arrivals.tipped[rows]], drawn)
        ruled, left = _split_best(left, self._add_picture_scores(rows, views), rest - officers - models)
        modelled, left = _split_best(left, views.model, models)
        chosen = np.concatenate([ruled, modelled])
        kept, _ = _split_best(
            chosen, views.officers, len(chosen) - int(draws.binomial(len(chosen), policy.override))
        )
        liked, _ = _split_best(left, views.officers, officers + len(chosen) - len(kept))
        return [
            *(InspectionChoice(int(row), "random", by_chance / len(rows), operation) for row in drawn),
            *(InspectionChoice(int(row), "rule", operation=operation) for row in ruled if row in kept),
            *(InspectionChoice(int(row), "model", operation=operation) for row in modelled if row in kept),
            *(InspectionChoice(int(row), "officer", operation=operation) for row in liked),
        ]

    def compute_capacity(self, rows: Numbers, operation: str | None) -> float:
        """Compute how many of a day's arrivals an office inspects, on average."""
        share = self._stage.prevalence.opened * len(rows)
        return share * self._stage.world.operation.capacity if operation else share

    def _add_picture_scores(self, rows: Numbers, views: TargetingScores) -> Values:
        """Compute the rules' scores after an office has screened the riskiest of its arrivals."""
        score = views.rules.copy()
        screened, _ = _split_best(rows, views.rules, round(len(rows) * self._policy.xray_share))
        score[screened] += self._policy.rules.xray * views.picture[screened]
        return score

    def detect_signs(self, arrivals: SimulatedDay) -> Numbers:
        """Detect the signs of `SIGNS` in the declarations; 0 or 1, int64 array, (n, signs).

        Call once for each day: an entry of the watch list with too many matches is removed.
        """
        rules, sent, columns = self._policy.rules, arrivals.shipments, arrivals.columns
        texts = [(text or "").casefold() for text in columns["description"]]
        chemical = _has_any(texts, rules.chemical_words)
        stage = self._stage
        signs: dict[str, Flags] = {
            "watched": self.watchlist.match_names(columns),
            "alert": self.watchlist.match_alerts(columns, _midnight(sent)),
            "offender": self.watchlist.match_offenders(columns),
            "substance": _has_any(texts, self._known_names),
            "chemical": chemical,
            "powder_to_person": chemical & HUMAN[stage.parties.kind[sent.consignee]],
            "vague": _has_any(texts, stage.world.goods.words.vague),
            "no_hs": _is_missing(columns["hs_code"]),
            "no_sender": _is_missing(columns["sender_name"]),
            "young_account": _is_young(arrivals),
            "box_or_forwarder": is_box_or_forwarder(stage.parties, sent.consignee),
            "source_country": _is_in(columns["departure_country"], rules.source_countries),
            "cheap_premium": _is_in(columns["service"], PREMIUM_SERVICES) & (sent.usd < CHEAP_USD),
            "crypto": _is_in(columns["payment"], ("crypto",)),
            "hs_chapter": np.isin(_chapters(columns["hs_code"]), SUSPECT_CHAPTERS),
            "prone_goods": _has_any(texts, rules.prone_words),
        }
        return np.column_stack([signs[name] for name in SIGNS]).astype(np.int64)

    def _encode_categories(self, arrivals: SimulatedDay) -> Numbers:
        sent = arrivals.shipments
        return np.column_stack([sent.departure, sent.service, _chapters(arrivals.columns["hs_code"])])

    def _score_by_officers(self, draws: Draws, sent: Shipments) -> Values:
        prohibited = sent.result != CLEAR
        liking: Values = draws.normal(self._skill * prohibited + self._bias[sent.departure], 1.0)
        return liking

    def _get_operation(self, since_start: int) -> str | None:
        operation = self._stage.world.operation
        on = 0 <= since_start - self._operation_day < operation.days
        return operation.name if on else None


def _list_known_names(stage: SimulationContext) -> tuple[str, ...]:
    wares = stage.world.goods
    families = [*wares.substances.values(), *wares.controlled_drugs.values()]
    names = [name.casefold() for family in families for name in family.names]
    return tuple(name for name in names if len(name) >= MIN_NAME_CHARACTERS)


def _utc_day(sent: Shipments) -> int:
    return int(sent.received_us[0]) // US_PER_DAY


def _midnight(sent: Shipments) -> datetime:
    return to_datetime(_utc_day(sent) * US_PER_DAY)


def _is_young(arrivals: SimulatedDay) -> Flags:
    opened = arrivals.columns["account_opened_on"]
    age = arrivals.columns["received_at"].astype("datetime64[D]") - opened
    return np.asarray(~np.isnat(opened) & (age < np.timedelta64(YOUNG_DAYS, "D")))


def _split_best(rows: Numbers, score: Values, count: int) -> tuple[Numbers, Numbers]:
    """Split rows into those with the highest scores and the rest."""
    order = rows[np.argsort(-score[rows], kind="stable")]
    return order[:count], order[count:]


def _round_randomly(draws: Draws, expected: float) -> int:
    """Round up or down at random, so that the mean is `expected`."""
    return int(expected) + int(draws.random() < expected % 1)


def _is_missing(values: Texts) -> Flags:
    return np.array([value is None for value in values], dtype=bool)


def _chapters(codes: Texts) -> Numbers:
    """Return the chapters of declared HS codes; 0 if there is none."""
    return np.array([int(code[:2]) if code else 0 for code in codes], dtype=np.int64)


def _is_in(values: Texts, wanted: tuple[str, ...]) -> Flags:
    return np.array([value in wanted for value in values], dtype=bool)


def _has_any(texts: list[str], words: tuple[str, ...]) -> Flags:
    return np.array([any(word in text for word in words) for text in texts], dtype=bool)
