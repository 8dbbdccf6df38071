"""Whom the simulated operation chooses to open, as it was before any model: chance, rules, intelligence, officers.

Chance draws first, over all arrivals of an office and day, so its logged probability is exact. Rules add up signs, with an
X-ray picture of some consignments; officers choose at their discretion, with a little skill and a leaning by origin. Of
these choices no probability is known.
"""

from datetime import datetime
from statistics import NormalDist

import numpy as np

from consignments.records import Outcome
from consignments.visibility import US_PER_DAY, moment_of_us
from training.declarations import Flags, is_box_or_forwarder
from training.openings import Arrivals, Choice, Openings
from training.parties import HUMAN, Texts
from training.shipments import CLEAR, RESULTS, Draws, Numbers, Shipments, Values, with_chance
from training.stage import Stage
from training.traffic import PREMIUM
from training.watchlists import Find, Watchlist
from training.world import Shares

YOUNG_DAYS = 30
TIES = 0.25
"""Of rules' weights: what chance adds, to separate equals (assumed)."""
CHEAP_USD = 10.0
SUSPECT_CHAPTERS = (29, 38, 12)
SHORTEST_NAME = 5
"""Letters of a substance's name that rules look for; shorter ones are common words."""


class Inspections:
    """Chooses and opens, day by day.

    Parameters
    ----------
    stage : Stage
    operation_day : int
        From the start.
    """

    def __init__(self, stage: Stage, operation_day: int) -> None:
        self._stage, self._policy = stage, stage.world.inspection
        self._operation_day = operation_day
        bias = self._policy.officer_bias
        self._bias = np.array([bias.get(name, 0.0) for name in stage.parties.countries])
        self._skill = NormalDist().inv_cdf(self._policy.officer_auc) * 2**0.5
        self._known_names = _known_names(stage)
        self._openings = Openings(stage)
        self.watchlist = Watchlist()

    def inspect(self, draws: Draws, arrivals: Arrivals) -> list[Outcome]:
        """Choose among the arrivals of a day, open, and report; the rows of the outcome table."""
        choices = self.choose(draws, arrivals)
        return [outcome for choice in choices for outcome in self._openings.open(draws, arrivals, choice)]

    def finds_until(self, us: int) -> list[Find]:
        """Take the finds that were made before a moment, and put their names on the watch list."""
        finds = self._openings.finds_until(us)
        for find in finds:
            self.watchlist.add(find)
        return finds

    def choose(self, draws: Draws, arrivals: Arrivals) -> list[Choice]:
        """Choose among the arrivals of a day, for each office."""
        xray = self._by_content(draws, arrivals.shipments, self._policy.xray_hits)
        xray &= with_chance(draws, self._policy.xray_share, len(xray))
        tipped = self._by_content(draws, arrivals.shipments, self._policy.tips)
        listed = self.watchlist.watched(arrivals.columns)
        warned = self.watchlist.warned(arrivals.columns, _midnight(arrivals.shipments))
        weights = self._policy.rules
        score = self.rule_scores(arrivals) + weights.xray * xray
        score += weights.watched * listed + weights.alert * warned + weights.tip * tipped
        score += draws.uniform(0, TIES, len(score))
        liking = self._officers_liking(draws, arrivals.shipments)
        choices: list[Choice] = []
        for office in sorted(set(arrivals.columns["office"])):
            rows = np.flatnonzero(arrivals.columns["office"] == office)
            choices += self._choose_at(draws, arrivals, rows, (score, liking, listed | warned | tipped))
        return choices

    def _choose_at(
        self, draws: Draws, arrivals: Arrivals, rows: Numbers, views: tuple[Values, Values, Flags]
    ) -> list[Choice]:
        """Choose at one office: by chance, then by the rules, then what officers like of the rest."""
        score, liking, listed = views
        operation = self._operation_on(arrivals.since_start)
        wanted = len(rows) * self._stage.prevalence.opened
        wanted *= self._stage.world.operation.capacity if operation else 1.0
        by_chance = wanted * self._policy.random_share
        drawn = draws.choice(rows, _rounded(draws, by_chance), replace=False)
        rest = _rounded(draws, wanted - by_chance)
        officers = int(draws.binomial(rest, self._policy.officer_share))
        ruled, left = _best(np.setdiff1d(rows, drawn), score, rest - officers)
        liked, _ = _best(left, liking, officers)
        return [
            *(Choice(int(row), "random", by_chance / len(rows), operation) for row in drawn),
            *(
                Choice(int(row), "intelligence" if listed[row] else "rule", operation=operation)
                for row in ruled
            ),
            *(Choice(int(row), "officer", operation=operation) for row in liked),
        ]

    def rule_scores(self, arrivals: Arrivals) -> Values:
        """Add up the weights of the signs that the rules of the time see in the declarations; float64 array, (n,)."""
        rules, sent, columns = self._policy.rules, arrivals.shipments, arrivals.columns
        texts = [(text or "").casefold() for text in columns["description"]]
        chemical = _has_any(texts, rules.chemical_words)
        stage = self._stage
        signs: list[tuple[float, Flags]] = [
            (rules.offender, self.watchlist.offending(columns)),
            (rules.substance, _has_any(texts, self._known_names)),
            (rules.chemical, chemical),
            (rules.powder_to_person, chemical & HUMAN[stage.parties.kind[sent.consignee]]),
            (rules.vague, _has_any(texts, stage.world.wares.words.vague)),
            (rules.no_hs, _missing(columns["hs_code"])),
            (rules.no_sender, _missing(columns["sender_name"])),
            (rules.young_account, _is_young(arrivals)),
            (rules.box_or_forwarder, is_box_or_forwarder(stage.parties, sent.consignee)),
            (rules.source_country, _is_in(columns["departure_country"], rules.source_countries)),
            (rules.cheap_premium, _is_in(columns["service"], PREMIUM) & (sent.usd < CHEAP_USD)),
            (rules.crypto, _is_in(columns["payment"], ("crypto",))),
            (rules.hs_chapter, np.isin(stage.catalogue.chapters[sent.hs_ware], SUSPECT_CHAPTERS)),
            (rules.prone_goods, _has_any(texts, rules.prone_words)),
        ]
        return np.asarray(sum(weight * flags for weight, flags in signs))

    def _by_content(self, draws: Draws, sent: Shipments, chances: Shares) -> Flags:
        """Toss a coin for each, by what is inside: what a picture shows, or what partners know."""
        chance = np.array([chances[result] for result in RESULTS])[sent.result]
        return with_chance(draws, chance, len(sent))

    def _officers_liking(self, draws: Draws, sent: Shipments) -> Values:
        prohibited = sent.result != CLEAR
        liking: Values = draws.normal(self._skill * prohibited + self._bias[sent.departure], 1.0)
        return liking

    def _operation_on(self, since_start: int) -> str | None:
        operation = self._stage.world.operation
        on = 0 <= since_start - self._operation_day < operation.days
        return operation.name if on else None


def _known_names(stage: Stage) -> tuple[str, ...]:
    wares = stage.world.wares
    families = [*wares.substances.values(), *wares.controlled_drugs.values()]
    names = [name.casefold() for family in families for name in family.names]
    return tuple(name for name in names if len(name) >= SHORTEST_NAME)


def _midnight(sent: Shipments) -> datetime:
    return moment_of_us(int(sent.received_us[0]) // US_PER_DAY * US_PER_DAY)


def _is_young(arrivals: Arrivals) -> Flags:
    opened = arrivals.columns["account_opened_on"]
    age = arrivals.columns["received_at"].astype("datetime64[D]") - opened
    return np.asarray(~np.isnat(opened) & (age < np.timedelta64(YOUNG_DAYS, "D")))


def _best(rows: Numbers, score: Values, count: int) -> tuple[Numbers, Numbers]:
    """Split rows into those with the highest scores and the rest."""
    order = rows[np.argsort(-score[rows], kind="stable")]
    return order[:count], order[count:]


def _rounded(draws: Draws, expected: float) -> int:
    """Round up or down by chance, so that the mean is what was expected."""
    return int(expected) + int(draws.random() < expected % 1)


def _missing(values: Texts) -> Flags:
    return np.array([value is None for value in values], dtype=bool)


def _is_in(values: Texts, wanted: tuple[str, ...]) -> Flags:
    return np.array([value in wanted for value in values], dtype=bool)


def _has_any(texts: list[str], words: tuple[str, ...]) -> Flags:
    return np.array([any(word in text for word in words) for text in texts], dtype=bool)
