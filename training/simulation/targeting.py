"""Targeting in the simulated operation: random selection, rules, later a model and officers, and intelligence.

Random selection comes first, over all arrivals of an office and day, so its logged probability is exact. Rules add up
signs, with an X-ray image of the riskiest; after some months a model of the operation takes over a part of their capacity.
Officers select at their discretion, and reject some of what others chose, with a little skill and a bias by origin. No
probability of these choices is known. Consignments with intelligence are inspected beyond the capacity.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from statistics import NormalDist

import numpy as np

from consignments.records import Outcome
from consignments.timestamps import US_PER_DAY, to_datetime, to_us
from models.arrays import Bools, Floats, Ints, Texts
from training.simulation.context import SimulationContext
from training.simulation.inspection_outcomes import DRUGS, InspectionChoice, InspectionSimulator
from training.simulation.parties import BOXES, HUMAN
from training.simulation.shipments import Contents, Draws, Shipments, SimulatedDay
from training.simulation.watchlists import WATCHED_COLUMNS, Detection, Watchlist, list_watched_names

TARGET = "nps"
MAX_VALUES = 100  # of an input of the model: signs, positions of countries and services, chapters of the HS


class TargetingCentre:
    """Selection and inspection, day by day; `operation_day` counts from the start of the world."""

    def __init__(self, context: SimulationContext, operation_day: int) -> None:
        self._context, self._policy = context, context.world.inspection
        self._operation_day = operation_day
        bias = self._policy.officer_bias
        self._bias = np.array([bias.get(name, 0.0) for name in context.parties.countries])
        self._skill = NormalDist().inv_cdf(self._policy.officer_auc) * 2**0.5
        goods, least = context.world.goods, self._policy.rules.min_name_characters
        families = [*goods.substances.values(), *goods.controlled_drugs.values()]
        names = [name.casefold() for family in families for name in family.names]
        self._known_names = [name for name in names if len(name) >= least]
        self._simulator = InspectionSimulator(context)
        self._model = IncumbentModel(self._policy.model_refit_days)
        self._finds: list[Detection] = []
        self.watchlist = Watchlist(self._policy.rules.max_entry_matches)

    def inspect(self, draws: Draws, arrivals: SimulatedDay) -> list[Outcome]:
        """Select among the arrivals of a day, inspect, and return the rows of the outcome table."""
        signs = self.detect_signs(arrivals)
        seen = self.encode_inputs(arrivals, signs)
        choices = self.choose(draws, arrivals, signs, seen)
        return self.inspect_chosen(lambda _: draws, arrivals, choices, seen)

    def inspect_chosen(
        self,
        draws_of: Callable[[str], Draws],
        arrivals: SimulatedDay,
        choices: Sequence[InspectionChoice],
        seen: Ints | None,
    ) -> list[Outcome]:
        """Inspect those with intelligence and the chosen ones; the model learns from `seen`."""
        outcomes, operation = list[Outcome](), self.get_operation(arrivals.since_start)
        tips = [InspectionChoice(row, "intelligence") for row in np.flatnonzero(arrivals.tipped).tolist()]
        for choice in [*tips, *choices]:
            row = choice.row
            draws = draws_of(arrivals.columns["consignment_id"][row])
            reported, found = self._simulator.inspect(draws, arrivals, choice, operation)
            if found != Contents.CLEAR and (inspected_at := reported[0].inspected_at) is not None:
                names = list_watched_names(tuple(arrivals.columns[name][row] for name in WATCHED_COLUMNS))
                network = int(arrivals.shipments.network[row])
                heappush(self._finds, Detection(to_us(inspected_at), network, found in DRUGS, names))
            if seen is not None:
                self._model.record_outcomes(seen[row], reported)
            outcomes += reported
        return outcomes

    def pop_detections(self, us: int) -> list[Detection]:
        """Return and remove the detections made before a time, and add their names to the watch list."""
        made = []
        while self._finds and self._finds[0].inspected_us < us:
            made.append(heappop(self._finds))
            self.watchlist.add(made[-1])
        return made

    def choose(
        self, draws: Draws, arrivals: SimulatedDay, signs: Ints, seen: Ints, capacity: int | None = None
    ) -> list[InspectionChoice]:
        """Select among the arrivals of a day, for each office, by their signs and the model's inputs."""
        share = self._context.prevalence.opened
        if self.get_operation(arrivals.since_start):
            share *= self._context.world.operation.capacity
        sent, count, noise = arrivals.shipments, len(arrivals.shipments), self._policy.rules.tie_break_noise
        weights = np.array(list(self._policy.rules.weights.values()))
        model = self._model.score(seen, _get_utc_day(sent))
        hunch = self._skill * (sent.result != Contents.CLEAR) + self._bias[sent.departure]
        scores = {  # the higher the riskier
            "rule": signs @ weights + draws.uniform(0, noise, count),
            "model": model + draws.uniform(0, noise, count),
            "officer": draws.normal(hunch, 1.0),
        }
        choices = list[InspectionChoice]()
        for office in sorted(set(arrivals.columns["office"])):
            rows = np.flatnonzero(arrivals.columns["office"] == office)
            # One more than a given capacity, for the random selection.
            wanted = share * len(rows) if capacity is None else float(min(capacity + 1, len(rows)))
            choices += self._choose_at_office(draws, arrivals, rows, scores, wanted)
        return choices

    def _choose_at_office(
        self, draws: Draws, arrivals: SimulatedDay, rows: Ints, scores: dict[str, Floats], wanted: float
    ) -> list[InspectionChoice]:
        """Select at one office: at random, then by rules and model, then by officers among the rest."""
        policy = self._policy
        by_chance = wanted * policy.random_share
        drawn = draws.choice(rows, _round_randomly(draws, by_chance), replace=False)
        rest = _round_randomly(draws, wanted - by_chance)
        mature = arrivals.since_start >= policy.rules_only_days
        officers = int(draws.binomial(rest, policy.officer_share)) if mature else 0
        models = _round_randomly(draws, (rest - officers) * policy.model_share) if mature else 0
        left, seen = np.setdiff1d(rows[~arrivals.tipped[rows]], drawn), scores["rule"].copy()
        # An office screens the riskiest of its arrivals.
        screened, _ = _split_best(rows, seen, round(len(rows) * policy.xray_share))
        seen[screened] += policy.rules.xray * arrivals.pictured[screened]
        ruled, left = _split_best(left, seen, rest - officers - models)
        modelled, left = _split_best(left, scores["model"], models)
        chosen = np.concatenate([ruled, modelled])
        rejected = int(draws.binomial(len(chosen), policy.override))
        kept, _ = _split_best(chosen, scores["officer"], len(chosen) - rejected)
        liked, _ = _split_best(left, scores["officer"], officers + len(chosen) - len(kept))
        choices = [InspectionChoice(row, "random", by_chance / len(rows)) for row in drawn.tolist()]
        choices += [InspectionChoice(row, "rule") for row in ruled.tolist() if row in kept]
        choices += [InspectionChoice(row, "model") for row in modelled.tolist() if row in kept]
        return [*choices, *(InspectionChoice(row, "officer") for row in liked.tolist())]

    def detect_signs(self, arrivals: SimulatedDay) -> Ints:
        """Detect the signs of the rules in the declarations, 0 or 1, (n, signs); once for each day, because the watch list counts."""
        rules, sent, columns = self._policy.rules, arrivals.shipments, arrivals.columns
        world, parties = self._context.world, self._context.parties
        texts = [(text or "").casefold() for text in columns["description"]]
        chemical = _has_any(texts, rules.chemical_words)
        opened = columns["account_opened_on"]
        age = columns["received_at"].astype("datetime64[D]") - opened
        signs: dict[str, Bools] = {
            "watched": self.watchlist.match_names(columns),
            "alert": self.watchlist.match_alerts(columns, to_datetime(_get_utc_day(sent) * US_PER_DAY)),
            "offender": self.watchlist.match_offenders(columns),
            "substance": _has_any(texts, self._known_names),
            "chemical": chemical,
            "powder_to_person": chemical & HUMAN[parties.kind[sent.consignee]],
            "vague": _has_any(texts, world.goods.words.vague),
            "no_hs": _is_in(columns["hs_code"], (None,)),
            "no_sender": _is_in(columns["sender_name"], (None,)),
            "young_account": ~np.isnat(opened) & (age < np.timedelta64(rules.young_days, "D")),
            "box_or_forwarder": BOXES[parties.kind[sent.consignee]],
            "source_country": _is_in(columns["departure_country"], rules.source_countries),
            "cheap_premium": _is_in(columns["service"], world.tells.premium_services)
            & (sent.usd < rules.cheap_usd),
            "crypto": _is_in(columns["payment"], ("crypto",)),
            "hs_chapter": np.isin(_list_chapters(columns["hs_code"]), rules.suspect_chapters),
            "prone_goods": _has_any(texts, rules.prone_words),
        }
        return np.column_stack([signs[name] for name in rules.weights]).astype(np.int64)

    def encode_inputs(self, arrivals: SimulatedDay, signs: Ints) -> Ints:
        """Return the inputs of the operation's model: the signs, origin, service and chapter of the HS."""
        sent, chapters = arrivals.shipments, _list_chapters(arrivals.columns["hs_code"])
        return np.column_stack([signs, sent.departure, sent.service, chapters])

    def get_operation(self, since_start: int) -> str | None:
        """Return the name of the operation, if it is on."""
        operation = self._context.world.operation
        return str(operation.name) if 0 <= since_start - self._operation_day < operation.days else None


class IncumbentModel:
    """Model of the simulated operation: naive Bayes over the inputs of its rules, learnt from its own inspections.

    It resembles a typical first model: it learns from what others chose, trusts `clear` results of wrong tests, and is fixed
    between two fits. An inspection on day 130 with a laboratory result on day 150 is used from the fit of day 168 on.
    """

    def __init__(self, refit_days: int) -> None:
        self._refit_days, self._fitted_on = refit_days, -refit_days
        self._heard: list[tuple[int, bool, tuple[int, ...]]] = []
        self._counts: Floats | None = None
        self._table = np.empty((0, 0))

    def record_outcomes(self, seen: Ints, outcomes: Sequence[Outcome]) -> None:
        """Record the first final result of one consignment; it is used from the first fit after it was known."""
        for outcome in outcomes:
            if outcome.known_at is not None:
                heard = to_us(outcome.known_at), outcome.result == TARGET, tuple(seen.tolist())
                heappush(self._heard, heard)
                return

    def score(self, seen: Ints, day: int) -> Floats:
        """Compute the log likelihood ratio of NPS to all other inspected consignments, by results known before a UTC day."""
        if day - self._fitted_on >= self._refit_days:
            self._fit(seen.shape[1], day)
        total: Floats = self._table[np.arange(seen.shape[1]), seen].sum(axis=1)
        return total

    def _fit(self, columns: int, day: int) -> None:
        if self._counts is None:
            self._counts = np.ones((2, columns, MAX_VALUES))  # a pseudo-count of 1
        while self._heard and self._heard[0][0] < day * US_PER_DAY:
            _, found, seen = heappop(self._heard)
            self._counts[int(found), np.arange(columns), seen] += 1.0
        clear, nps = np.log(self._counts / self._counts.sum(axis=2, keepdims=True))
        self._table, self._fitted_on = nps - clear, day


def _get_utc_day(sent: Shipments) -> int:
    return int(sent.received_us[0]) // US_PER_DAY


def _split_best(rows: Ints, score: Floats, count: int) -> tuple[Ints, Ints]:
    """Split rows into those with the highest scores and the rest."""
    order = rows[np.argsort(-score[rows], kind="stable")]
    return order[:count], order[count:]


def _round_randomly(draws: Draws, expected: float) -> int:
    """Round up or down at random, so that the mean is `expected`."""
    return int(expected) + int(draws.random() < expected % 1)


def _list_chapters(codes: Texts) -> Ints:
    return np.array([int(code[:2]) if code else 0 for code in codes], dtype=np.int64)


def _is_in(values: Texts, wanted: tuple[str | None, ...]) -> Bools:
    return np.array([value in wanted for value in values], dtype=bool)


def _has_any(texts: list[str], words: Sequence[str]) -> Bools:
    return np.array([any(word in text for word in words) for text in texts], dtype=bool)
