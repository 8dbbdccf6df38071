"""The operation of a simulated world as it was before any model: who was chosen by whom, what an opening found, and when.

Three choose: chance (5 % of openings, over all arrivals of an office and day, before anyone else: its probability is logged
and exact), the rules of the time with an X-ray picture of some, and officers at their discretion, who have a little skill
and a leaning by origin. Of the others' choices no probability is known.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from consignments.records import Alert, Outcome, Result, Selector
from consignments.visibility import US_PER_DAY, moment_of_us
from training.declarations import Columns, Flags, is_box_or_forwarder
from training.parties import HUMAN, Parties
from training.shipments import (
    CLEAR,
    CONTROLLED,
    HIDING,
    NPS,
    OTHER,
    RESULTS,
    Catalogue,
    Draws,
    Numbers,
    Shipments,
    Substances,
    Values,
    with_chance,
)
from training.world import Prevalence, World

HOUR_US = 3_600_000_000
SELECTED_AFTER_HOURS = (0.3, 8.0)
"""From the advance data to the choice (assumed)."""
YOUNG_DAYS = 30
UNEXPLAINED = 0.25
"""Of rules' weights: what separates equals (assumed)."""
NOVEL_DAYS = 120
"""So long a new substance takes the laboratory longer (assumed)."""
SCALE_ERROR = 0.03
"""Log sd of a measured quantity (assumed)."""
PHONE_DIGITS = 8
CORRECTED_AFTER_DAYS = (5.0, 40.0)
"""From a wrong final result to its correction (assumed)."""
DRUGS = (NPS, CONTROLLED)
CORRECTED_FROM = {NPS: CONTROLLED, CONTROLLED: NPS, OTHER: CLEAR, CLEAR: OTHER}
"""What stood before a correction."""
PREMIUM = ("ems", "express")
CHEAP_USD = 10.0


@dataclass(frozen=True)
class Arrivals:
    """One day: what was sent, what was declared, and the day from the start of the world."""

    shipments: Shipments
    columns: Columns
    since_start: int


@dataclass(frozen=True)
class Choice:
    """One consignment that was chosen.

    Attributes
    ----------
    row : int
        Its place in the day's arrivals.
    selected_by : Selector
    probability : float or None
    """

    row: int
    selected_by: Selector
    probability: float | None = None


@dataclass(frozen=True, order=True)
class Seizure:
    """Drugs that were found: when, from which network, and who was named."""

    inspected_us: int
    network: int
    names: tuple[str, ...] = ()


class Watchlist:
    """Senders, addresses and phones of earlier seizures, as written then, and the alerts in force."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._alerts: list[Alert] = []

    def add(self, seizure: Seizure) -> None:
        """Put a seizure's names on the list."""
        self._names.update(seizure.names)

    def warn(self, alert: Alert) -> None:
        """Take an alert."""
        self._alerts.append(alert)

    def watched(self, columns: Columns) -> Flags:
        """Tell which consignments have a name, an address or a phone of the list; case does not matter."""
        rows = zip(*(columns[name] for name in WATCHED), strict=True)
        return np.array([not self._names.isdisjoint(watched_names(row)) for row in rows], dtype=bool)

    def warned(self, columns: Columns, moment: datetime) -> Flags:
        """Tell which consignments an alert in force points to."""
        found = np.zeros(len(columns["consignment_id"]), dtype=bool)
        for alert in self._alerts:
            if alert.issued_at <= moment and (alert.expires_at is None or moment < alert.expires_at):
                found |= _matches(alert, columns)
        return found


WATCHED = ("sender_name", "sender_address", "sender_phone", "consignee_address", "consignee_phone")


def watched_names(values: tuple[str | None, ...]) -> tuple[str, ...]:
    """Give what a watch list keeps of the `WATCHED` columns of one consignment."""
    name, address, phone, at, called = values
    kept = [value.casefold() for value in (name, address, at) if value]
    return (*kept, *(_last_digits(value) for value in (phone, called) if value))


def _last_digits(phone: str) -> str:
    return phone.replace("-", "").replace(" ", "")[-PHONE_DIGITS:]


def _matches(alert: Alert, columns: Columns) -> Flags:
    """Compare as clerks do: names and addresses in any case, the first word of a description anywhere."""
    found = np.ones(len(columns["consignment_id"]), dtype=bool)
    for name in ("sender_name", "sender_address", "consignee_address"):
        wanted = getattr(alert, name)
        if wanted is not None:
            found &= np.array(
                [value is not None and value.casefold() == wanted.casefold() for value in columns[name]]
            )
    if alert.departure_country is not None:
        found &= columns["departure_country"] == alert.departure_country
    if alert.description_pattern is not None:
        word = alert.description_pattern.strip("*").casefold()
        found &= np.array(
            [value is not None and word in value.casefold() for value in columns["description"]]
        )
    return found


class Inspections:
    """Chooses, opens and reports.

    Parameters
    ----------
    world : World
    parties : Parties
    catalogue : Catalogue
    substances : Substances
    prevalence : Prevalence
    operation_day : int
        From the start.
    """

    def __init__(
        self,
        world: World,
        parties: Parties,
        catalogue: Catalogue,
        substances: Substances,
        prevalence: Prevalence,
        operation_day: int,
    ) -> None:
        self._world, self._policy, self._rules = world, world.inspection, world.inspection.rules
        self._parties, self._catalogue, self._substances = parties, catalogue, substances
        self._prevalence, self._operation_day = prevalence, operation_day
        self._services = list(world.services)
        self._transit = np.array([service.transit_h for service in world.services.values()])
        bias = world.inspection.officer_bias
        self._bias = np.array([bias.get(name, 0.0) for name in parties.countries])
        self._skill = _separation(world.inspection.officer_auc)
        self._under_way: list[Seizure] = []
        self.watchlist = Watchlist()

    def seizures_until(self, us: int) -> list[Seizure]:
        """Take the seizures that were made until a moment, and put their names on the watch list."""
        made = []
        while self._under_way and self._under_way[0].inspected_us < us:
            made.append(heappop(self._under_way))
            self.watchlist.add(made[-1])
        return made

    def inspect(self, draws: Draws, arrivals: Arrivals) -> list[Outcome]:
        """Choose among the arrivals of a day, open, and report; the rows of the outcome table."""
        choices = self.choose(draws, arrivals)
        return [outcome for choice in choices for outcome in self.open(draws, arrivals, choice)]

    def choose(self, draws: Draws, arrivals: Arrivals) -> list[Choice]:
        """Choose among the arrivals of a day, for each office."""
        xray = self._xray(draws, arrivals.shipments)
        listed = self._listed(arrivals)
        score = self.rule_scores(arrivals, xray, listed)
        score += draws.uniform(0, UNEXPLAINED, len(score))
        liking = self._officers_liking(draws, arrivals.shipments)
        choices: list[Choice] = []
        for office in sorted(set(arrivals.columns["office"])):
            rows = np.flatnonzero(arrivals.columns["office"] == office)
            choices += self._choose_at(
                draws, rows, score, liking, listed, self._in_operation(arrivals.since_start)
            )
        return choices

    def _choose_at(
        self, draws: Draws, rows: Numbers, score: Values, liking: Values, listed: Flags, operation: bool
    ) -> list[Choice]:
        wanted = len(rows) * self._prevalence.opened * (self._world.operation.capacity if operation else 1.0)
        by_chance = wanted * self._policy.random_share
        drawn = draws.choice(rows, _rounded(draws, by_chance), replace=False)
        rest = _rounded(draws, wanted - by_chance)
        officers = int(draws.binomial(rest, self._policy.officer_share))
        left = np.setdiff1d(rows, drawn)
        ruled = left[np.argsort(-score[left], kind="stable")][: rest - officers]
        left = np.setdiff1d(left, ruled)
        liked = left[np.argsort(-liking[left], kind="stable")][:officers]
        random = [Choice(int(row), "random", by_chance / len(rows)) for row in drawn]
        rules = [Choice(int(row), "intelligence" if listed[row] else "rule") for row in ruled]
        return random + rules + [Choice(int(row), "officer") for row in liked]

    def rule_scores(self, arrivals: Arrivals, xray: Flags, listed: Flags) -> Values:
        """Add up the weights of the signs that the rules of the time look at; float64 array, (n,)."""
        rules, sent, columns = self._rules, arrivals.shipments, arrivals.columns
        texts = [(text or "").casefold() for text in columns["description"]]
        chemical = _has_any(texts, rules.chemical_words)
        premium = np.isin(columns["service"].astype(str), PREMIUM)
        signs: list[tuple[float, Flags]] = [
            (rules.watched, listed),
            (rules.xray, xray),
            (rules.substance, _has_any(texts, self._known_names())),
            (rules.chemical, chemical),
            (rules.powder_to_person, chemical & HUMAN[self._parties.kind[sent.consignee]]),
            (rules.vague, _has_any(texts, self._vague)),
            (rules.no_hs, _missing(columns["hs_code"])),
            (rules.no_sender, _missing(columns["sender_name"])),
            (rules.young_account, self._young(arrivals)),
            (rules.box_or_forwarder, is_box_or_forwarder(self._parties, sent.consignee)),
            (rules.source_country, np.isin(columns["departure_country"].astype(str), rules.source_countries)),
            (rules.cheap_premium, premium & (sent.usd < CHEAP_USD)),
            (rules.crypto, columns["payment"] == "crypto"),
            (rules.hs_chapter, np.isin(self._catalogue.chapters[sent.hs_ware], [29, 38, 12])),
            (rules.prone_goods, _has_any(texts, rules.prone_words)),
        ]
        return np.sum([weight * flags for weight, flags in signs], axis=0)

    @property
    def _vague(self) -> tuple[str, ...]:
        return self._world.wares.words.vague

    def _known_names(self) -> tuple[str, ...]:
        held = self._world.wares
        families = [*held.substances.values(), *held.controlled_drugs.values()]
        return tuple(name.casefold() for family in families for name in family.names if len(name) > 4)

    def _young(self, arrivals: Arrivals) -> Flags:
        opened = arrivals.columns["account_opened_on"]
        age = arrivals.columns["received_at"].astype("datetime64[D]") - opened
        return ~np.isnat(opened) & (age < np.timedelta64(YOUNG_DAYS, "D"))

    def _listed(self, arrivals: Arrivals) -> Flags:
        start = int(arrivals.shipments.received_us[0]) // US_PER_DAY * US_PER_DAY
        warned = self.watchlist.warned(arrivals.columns, moment_of_us(start))
        return self.watchlist.watched(arrivals.columns) | warned

    def _xray(self, draws: Draws, sent: Shipments) -> Flags:
        chance = np.array([self._policy.xray_hits[result] for result in RESULTS])[sent.result]
        return with_chance(draws, self._policy.xray_share * chance, len(sent))

    def _officers_liking(self, draws: Draws, sent: Shipments) -> Values:
        prohibited = sent.result != CLEAR
        return draws.normal(self._skill * prohibited + self._bias[sent.departure], 1.0)

    def _in_operation(self, since_start: int) -> bool:
        return 0 <= since_start - self._operation_day < self._world.operation.days

    def open(self, draws: Draws, arrivals: Arrivals, choice: Choice) -> list[Outcome]:
        """Open a consignment that was chosen, if it is ever presented, and report what was found."""
        sent, row = arrivals.shipments, choice.row
        received = int(sent.received_us[row])
        selected = received + _hours(draws.uniform(*SELECTED_AFTER_HOURS))
        base = Outcome(
            consignment_id=arrivals.columns["consignment_id"][row],
            selected_by=choice.selected_by,
            selection_probability=choice.probability,
            selected_at=moment_of_us(selected),
            status="missed",
            operation=self._world.operation.name if self._in_operation(arrivals.since_start) else None,
            office=arrivals.columns["office"][row],
        )
        if draws.random() < self._policy.missed:
            return [base]
        arrived = received + _hours(draws.uniform(*self._transit[sent.service[row]]))
        inspected = max(arrived, selected) + _hours(draws.uniform(*self._policy.open_hours))
        opened = _changed(base, status="inspected", inspected_at=moment_of_us(inspected))
        return self._report(draws, arrivals, row, opened)

    def _report(self, draws: Draws, arrivals: Arrivals, row: int, opened: Outcome) -> list[Outcome]:
        sent = arrivals.shipments
        result = int(sent.result[row]) if self._finds(draws, sent, row) else CLEAR
        suspicious = (
            self._catalogue.powder[sent.ware[row]] and draws.random() < self._world.laboratory.submits_clean
        )
        if result in DRUGS:
            self._seize(arrivals, row, opened)
        if result in DRUGS or (result == CLEAR and suspicious):
            return self._examine(draws, arrivals, row, opened, result)
        delay = timedelta(hours=float(draws.lognormal(*self._world.laboratory.plain_log_hours)))
        return self._conclude(draws, self._final(draws, sent, row, opened, result, delay), result)

    def _finds(self, draws: Draws, sent: Shipments, row: int) -> bool:
        drug = sent.result[row] in DRUGS
        how = HIDING[sent.hidden[row]] if drug else "other_offence"
        return bool(draws.random() < self._policy.detection[how])

    def _seize(self, arrivals: Arrivals, row: int, opened: Outcome) -> None:
        values = tuple(arrivals.columns[name][row] for name in WATCHED)
        assert opened.inspected_at is not None
        inspected = int(np.datetime64(opened.inspected_at.replace(tzinfo=None), "us").astype(np.int64))
        network = int(arrivals.shipments.network[row])
        heappush(self._under_way, Seizure(inspected, network, watched_names(values)))

    def _examine(
        self, draws: Draws, arrivals: Arrivals, row: int, opened: Outcome, result: int
    ) -> list[Outcome]:
        """Send to the laboratory: pending first, final when it answers, if it ever does."""
        laboratory, sent = self._world.laboratory, arrivals.shipments
        pending = _changed(opened, result="pending")
        if draws.random() < laboratory.never:
            return [pending]
        days = float(draws.lognormal(*laboratory.log_days))
        if self._is_novel(sent, row, arrivals.since_start):
            days *= laboratory.new_substance
        final = self._final(draws, sent, row, opened, result, timedelta(days=days))
        return [pending, *self._conclude(draws, final, result)]

    def _is_novel(self, sent: Shipments, row: int, since_start: int) -> bool:
        event = self._world.events.new_substance
        name = self._substances.names[sent.substance[row]] if sent.substance[row] >= 0 else ""
        return name == event.name and since_start < event.day + NOVEL_DAYS

    def _final(
        self, draws: Draws, sent: Shipments, row: int, opened: Outcome, result: int, delay: timedelta
    ) -> Outcome:
        assert opened.inspected_at is not None
        final = _changed(opened, result=_result(result), known_at=opened.inspected_at + delay)
        if result == CLEAR:
            return final
        substance = int(sent.substance[row])
        if result == OTHER:
            return _changed(final, substance=self._substances.names[substance])
        return _changed(
            final,
            substance=self._substances.names[substance],
            substance_family=self._substances.families[substance],
            quantity_g=round(float(sent.grams[row] * np.exp(draws.normal(0, SCALE_ERROR))), 2),
            concealment=HIDING[sent.hidden[row]],
        )

    def _conclude(self, draws: Draws, final: Outcome, result: int) -> list[Outcome]:
        """Give the final result; a few are wrong at first and corrected later."""
        if draws.random() >= self._world.laboratory.corrected:
            return [final]
        wrong = _changed(final, result=_result(CORRECTED_FROM[result]), substance=None, substance_family=None)
        assert final.known_at is not None
        later = timedelta(days=float(draws.uniform(*CORRECTED_AFTER_DAYS)))
        return [wrong, _changed(final, known_at=final.known_at + later)]


def _result(number: int) -> Result:
    return RESULTS[number]  # type: ignore[return-value]


def _changed(outcome: Outcome, **changes: object) -> Outcome:
    import msgspec

    return msgspec.structs.replace(outcome, **changes)


def _hours(hours: float) -> int:
    return int(hours * HOUR_US)


def _rounded(draws: Draws, expected: float) -> int:
    """Round up or down by chance, so that the mean is what was expected."""
    return int(expected) + int(draws.random() < expected % 1)


def _separation(auc: float) -> float:
    """Give the distance of two normal distributions that are told apart with this AUC.

    Found by bisection of Phi(d / sqrt 2) = AUC.
    """
    from statistics import NormalDist

    return NormalDist().inv_cdf(auc) * 2**0.5


def _missing(values: NDArray[np.object_]) -> Flags:
    return np.array([value is None for value in values], dtype=bool)


def _has_any(texts: list[str], words: tuple[str, ...]) -> Flags:
    found: Callable[[str], bool] = lambda text: any(word in text for word in words)  # noqa: E731
    return np.array([found(text) for text in texts], dtype=bool)


__all__ = ["Arrivals", "Choice", "Inspections", "Seizure", "Watchlist", "replace"]
