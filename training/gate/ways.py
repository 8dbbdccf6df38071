"""The ways in which a version may replace the champion: it is clearly better, or a routine refit."""

import math
from typing import Literal, NamedTuple

from models.formats import format_count, format_number, round_significant
from training.evaluation.difference import (
    FROM_COMPARED,
    MARGIN,
    ONE_SIDED,
    TWO_SIDED,
    judge_difference,
    state_difference,
)
from training.evaluation.estimate import MIN_EFFECTIVE_FINDS, Estimate
from training.evaluation.metrics import PRIMARY_MEASURE, PairedEvaluation

VOUCHING = "then its training is repeated, and the record names its configuration"
"""What the tables of the training run do for a champion whose record names no configuration."""
REPEAT = "Let gate or promote repeat the training on the tables of its run: if both fits are equal byte for byte, this is a routine refit."
STUDIED_FINDS = 150  # known finds from which a gain of five points showed in 80 % of simulated comparisons (docs/estimates.md)
POWER = 0.842  # quantile of the normal distribution of a chance of 80 %
TARGET_DIFFERENCE = 0.05  # difference of the primary measure that should show with a chance of 80 %
MAX_WAIT_WEEKS = 13  # longest wait that is proposed: a quarter of a year (a choice)
INVESTIGATE, RETRAIN = "investigate data", "retrain"
"""Verdicts of `training.monitoring` that speak against a refit, and for it."""

WayName = Literal["better", "routine refit", ""]


class Candidate(NamedTuple):
    """Difference of a version from the champion."""

    champion: str
    known_until: str = ""  # day until which its results were known
    champion_known_until: str = ""
    same_recipe: bool | None = False  # None if the record of the champion names no recipe
    drift: str = ""
    faults: frozenset[str] = frozenset()  # rules that the record of the champion has as broken
    changed: str = ""  # settings that differ, as far as both runs recorded them
    overruled: frozenset[str] = frozenset()  # rules against which it, or what it is a refit of, was forced
    reproduced_at: str = ""  # when a gate repeated the training of the version before, byte for byte


class FindPace(NamedTuple):
    """Finds in a week of the tested windows, of which some could be calibrated; `origins` sets their number, at most `reach`."""

    per_week: float
    window_weeks: float
    windows: int
    calibrated: int
    origins: int
    reach: int


class Way(NamedTuple):
    """A way up, and why in one sentence; without a name there is none, and `can_wait` says whether there still may be one."""

    name: WayName
    sentence: str
    can_wait: bool = False


def find_way(candidate: Candidate, pair: PairedEvaluation, reproduced: bool | None) -> Way:
    """Find the way by which a version may replace the champion; `reproduced` is None if its training was not repeated."""
    gain, rival = pair.gains[PRIMARY_MEASURE], f"version {candidate.champion}"
    difference = state_difference(gain, rival, "this version", FROM_COMPARED)
    if judge_difference(gain) == "better":
        return Way("better", difference)
    obstacle = find_refit_obstacle(candidate, reproduced)
    if obstacle:
        pace = 7 * pair.b.counts.known / max(pair.b.arrivals.count_days(), 1)
        can_wait, more = _advise_on_difference(gain, pace)
        return Way("", f"{difference}{more} It is no routine refit: {obstacle}.", can_wait)
    if reproduced is None:
        earlier = f"The gate of {candidate.reproduced_at} repeated the training byte for byte, and nobody signed that. "
        told = f"{earlier if candidate.reproduced_at else ''}{REPEAT}"
        return Way("", f"The configuration is that of {rival}, on newer results. {told}", can_wait=True)
    dates = f"until {candidate.known_until} in place of {candidate.champion_known_until}"
    text = f"Routine refit: the configuration of {rival} on results {dates}, reproduced byte for byte."
    asked, unknown = f" The latest drift run of {rival} asks for it.", f" No drift run of {rival} was made."
    drift = {RETRAIN: asked, "": unknown}.get(candidate.drift, "")
    return Way("routine refit", f"{text}{drift} {difference}")


def advise_on_finds(finds: int, finds_per_week: float, week: str, step: str) -> str:
    """Return when to repeat a step, after so many more finds have arrived, or that they cannot in reasonable time; `week` says which weeks counted."""
    if not finds_per_week:
        return f"none arrived in any {week}"
    rounded = round_significant(finds_per_week, 2)
    pace = f"{format_number(rounded)} {'arrives' if rounded == 1 else 'arrive'} in a {week}"
    if not can_arrive(finds, finds_per_week):
        return f"{pace}, so this cannot be decided in reasonable time"
    weeks = max(math.ceil(finds / finds_per_week), 1)
    return f"{pace}, so {step} in about {format_count(weeks, 'week')}"


def can_arrive(finds: int, finds_per_week: float) -> bool:
    """Return whether a number of finds can arrive within `MAX_WAIT_WEEKS`."""
    return finds <= MAX_WAIT_WEEKS * finds_per_week


def count_more_finds(gain: Estimate) -> int:
    """Estimate how many more finds a model that is better by five points needs to pass with a chance of 80 % (docs/estimates.md)."""
    error, known = (gain.high - gain.low) / (2 * TWO_SIDED), gain.known or 0
    wanted = (TARGET_DIFFERENCE + MARGIN) / (ONE_SIDED + POWER)
    more = known * (error / wanted) ** 2 - known if math.isfinite(error) else 0.0
    if gain.effective < MIN_EFFECTIVE_FINDS:  # the made-up finds would decide the width of the interval
        more = STUDIED_FINDS - known
    more = max(more, 0.0 if gain.is_shown else gain.count_missing())
    digit = 10 ** max(0, math.floor(math.log10(more)) - 1) if more > 0 else 1
    return math.ceil(round(more / digit, 6)) * digit


def find_refit_obstacle(candidate: Candidate, reproduced: bool | None) -> str:
    """Return why a version is no routine refit; empty if only its training may have to be repeated."""
    obstacles = {
        f"the record of the champion names no configuration (promote {candidate.champion} again with its training tables: {VOUCHING})": candidate.same_recipe
        is None,
        f"its configuration is not that of the champion{candidate.changed}": not candidate.same_recipe,
        "its results are not newer than those of the champion": candidate.known_until
        <= candidate.champion_known_until,
        f"the latest drift run of version {candidate.champion} says to investigate the data first": candidate.drift
        == INVESTIGATE,
        "its training is not reproduced": reproduced is False,
    }
    return next((text for text, stands in obstacles.items() if stands), "")


def _advise_on_difference(gain: Estimate, finds_per_week: float) -> tuple[bool, str]:
    """Return whether waiting can decide a difference that is not better, and the advice."""
    if judge_difference(gain) == "worse":
        return False, ""
    more = count_more_finds(gain)
    if gain.is_shown and gain.high < TARGET_DIFFERENCE:
        return False, " A gain of five points is excluded."
    if not more:
        return False, " A gain of five points would show, and none does."
    advice = advise_on_finds(more, finds_per_week, "compared week", "compare again")
    basis = " (by simulated worlds, as too few are known)" if gain.effective < MIN_EFFECTIVE_FINDS else ""
    text = f" About {format_count(more, 'more find')} would show a gain of five points{basis}: {advice}."
    return can_arrive(more, finds_per_week), text
