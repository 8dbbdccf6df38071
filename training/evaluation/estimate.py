"""An estimate: its 95 % interval, on how many known finds it rests, and whether it may be shown as a number."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from models.arrays import Floats
from models.formats import format_number, format_percent, round_significant
from training.data.training_set import compute_effective_sample_size

INTERVAL_QUANTILES = (0.025, 0.975)
ENDS = ("", "_low", "_high")  # endings of the names of a value and its interval
MIN_EFFECTIVE_FINDS = 10  # effective known finds below which an estimate is not shown as a number
MAX_SHOWN_WIDTH = 0.5  # width of the interval of a share above which it is not shown as a number
TOO_FEW = f"fewer than {MIN_EFFECTIVE_FINDS} effective known finds, or an interval wider than {100 * MAX_SHOWN_WIDTH:.0f} points"
"""When an estimate is not shown as a number, of all traffic or of a group by its own finds: the legend of all pages."""
MIN_RESAMPLE_SHARE = 0.5  # share of the resamples in which a metric must exist, so that they show its spread


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval, NaN if the data do not determine it, and on how many known finds it rests, None without any."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    effective: float = field(default=math.inf, kw_only=True)  # equally weighted finds that are as informative
    largest: float = field(default=0.0, kw_only=True)  # share of the largest weight
    known: int | None = field(default=None, kw_only=True)
    is_share: bool = field(default=True, kw_only=True)  # else its interval may be of any width

    @property
    def has_interval(self) -> bool:
        """True if both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def sign(self) -> int:
        """Sign of a difference: 1 or -1 if its entire interval is above or below zero, 0 if it contains zero or is unknown."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def is_shown(self) -> bool:
        """True if enough results carry the estimate, so that it may be shown as a number."""
        known = math.isfinite(self.value) and self.has_interval and self.effective >= MIN_EFFECTIVE_FINDS
        return known and (not self.is_share or self.high - self.low <= MAX_SHOWN_WIDTH)

    @property
    def shown(self) -> float:
        """The value, NaN if it may not be shown."""
        return self.value if self.is_shown else math.nan

    def list_ends(self) -> tuple[tuple[str, float], ...]:
        """Return the value and both ends, each with the ending of its name."""
        return tuple(zip(ENDS, (self.value, self.low, self.high), strict=True))

    def to_columns(self, name: str) -> dict[str, float | str]:
        """Return the value and both ends as columns of a table, NaN if they may not be shown."""
        return {f"{name}{end}": value if self.is_shown else math.nan for end, value in self.list_ends()}

    def explain_missing(self) -> str:
        """Return why the estimate is not shown, and about how many more results it needs; empty if it is shown."""
        if self.is_shown:
            return ""
        if self.known is None:
            return "too few results"
        if self.known and self.effective >= MIN_EFFECTIVE_FINDS and not self.has_interval:
            return f"too few results: {self.known:,} known, of too few days for an interval"
        worth = "," if round(self.effective, 1) == self.known else f", worth {round(self.effective, 1):g};"
        return f"too few results: {self.known:,} known{worth} about {round_significant(self.count_missing(), 2):,.0f} more needed"

    def to_row(self) -> dict[str, float | int | str | None]:
        """Return the columns of the estimate in a table of the run."""
        row: dict[str, float | int | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        row |= {"effective": self.effective if math.isfinite(self.effective) else math.nan}
        row |= {"largest": self.largest, "known": self.known, "shown": int(self.is_shown)}
        return row | {"why": self.explain_missing()}

    def count_missing(self) -> int:
        """Estimate how many more finds like the known ones would make it shown: an interval narrows with the root of their number."""
        known = self.known or 0
        if not known:
            return MIN_EFFECTIVE_FINDS
        factor = MIN_EFFECTIVE_FINDS / self.effective
        if self.is_share and self.has_interval:
            factor = max(factor, ((self.high - self.low) / MAX_SHOWN_WIDTH) ** 2)
        return max(1, math.ceil(round(known * (factor - 1), 6)))


def attach_finds(estimate: Estimate, weights: Floats, *, is_share: bool = True) -> Estimate:
    """Return an estimate that rests on known finds with these weights."""
    total, finds = float(weights.sum()), compute_effective_sample_size(weights)
    largest = float(weights.max()) / total if total > 0 else 0.0
    return replace(estimate, effective=finds, largest=largest, known=len(weights), is_share=is_share)


def describe_estimate(estimate: Estimate, form: Callable[[float], str] | None = None) -> str:
    """Return an estimate in words: the value and its interval; else why it is not shown."""
    if not estimate.is_shown:
        return estimate.explain_missing()
    form = form or (format_percent if estimate.is_share else format_number)
    low, high = (form(end).removesuffix(" %").removesuffix(" points") for _, end in estimate.list_ends()[1:])
    return f"{form(estimate.value)} ({low} to {high})"


def draw_days(days: int, resamples: int, seed: int) -> Floats:
    """Draw resamples of whole days; none of a single day, which shows no spread."""
    if days < 2:
        return np.ones((1, days))
    drawn = np.random.default_rng(seed).multinomial(days, np.full(days, 1.0 / days), size=resamples)
    return np.vstack([np.ones(days), drawn.astype(np.float64)])


def divide(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN if the denominator is zero."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 1e-9)


def compute_interval(values: Floats) -> Estimate:
    """Compute the interval that contains 95 % of the resamples, which follow the value; NaN if half of them are unknown."""
    value, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
    if len(resampled) <= MIN_RESAMPLE_SHARE * len(values):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(resampled, INTERVAL_QUANTILES)
    return Estimate(value, float(low), float(high))
