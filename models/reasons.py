"""Reasons: a score's contributions, grouped by what they mean and put in an officer's words.

The text of a reason stands with its feature, in the group's file in `features/`; here texts are chosen and filled in.
"""

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.spec import Feature, Spec

Floats = NDArray[np.float64]

UNKNOWN_VALUE = "unknown"
MAX_DECIMALS = 6


class Reason(msgspec.Struct, frozen=True):
    """One reason for a score.

    Attributes
    ----------
    code : str
        Shared by features that mean the same to an officer.
    text : str
        Of the feature in it that contributes most, with its value.
    contribution : float
        What all features of this code add to the raw score, in log-odds; above 0 raises the risk.
    """

    code: str
    text: str
    contribution: float


class ReasonRanker:
    """Turn contributions into reasons.

    Parameters
    ----------
    spec : Spec
        The features in the order of the row.
    """

    def __init__(self, spec: Spec) -> None:
        self._features = spec.features
        self._codes = sorted({feature.reason for feature in spec})
        places = {code: place for place, code in enumerate(self._codes)}
        self._group = np.array([places[feature.reason] for feature in spec], dtype=np.int64)
        self._members = [np.flatnonzero(self._group == place) for place in range(len(self._codes))]

    def rank(
        self,
        row: NDArray[np.float32],
        contributions: Floats,
        top: int,
        *,
        lowering: bool = False,
    ) -> list[Reason]:
        """Give the reasons that weigh most.

        Parameters
        ----------
        row : float32 array, (features,)
            The values of the features.
        contributions : float64 array, (features,) or longer
            In log-odds; what follows the features, as the expected value, is not looked at.
        top : int
            At most this many.
        lowering : bool
            Also give reasons that lower the score, or leave it.

        Returns
        -------
        list of Reason
            The largest contribution first; equal ones in the order of their codes. With `lowering` and `top` large
            enough their contributions and the expected value add up to the raw score.
        """
        shares = contributions[: len(self._features)]
        sums = np.bincount(self._group, weights=shares, minlength=len(self._codes)).astype(np.float64)
        order = np.argsort(-sums, kind="stable")[:top].tolist()
        return [
            self._build_reason(place, row, shares, sums) for place in order if lowering or sums[place] > 0
        ]

    def _build_reason(self, place: int, row: NDArray[np.float32], shares: Floats, sums: Floats) -> Reason:
        members = self._members[place]
        leading = int(members[np.argmax(shares[members] * (1 if sums[place] > 0 else -1))])
        told = format_reason(self._features[leading], float(row[leading]))
        return Reason(self._codes[place], told, float(sums[place]))


def format_reason(feature: Feature, value: float) -> str:
    """Tell a feature's value in its own words.

    Examples
    --------
    >>> format_reason(Feature("parties.po_box", "flag", "po_box", "The address is a PO box"), 1.0)
    'The address is a PO box'
    >>> format_reason(Feature("value.usd", "USD", "value", "Declared value is {value} US dollars"), 1250.0)
    'Declared value is 1,250 US dollars'
    """
    told = _format_value(feature.unit, value)
    if "{value}" in feature.text:
        return feature.text.replace("{value}", told)
    # A text without a value states a fact or names a matter; a flag says whether the fact holds.
    if told == UNKNOWN_VALUE:
        return f"Not known: {feature.text}"
    return f"Not the case: {feature.text}" if feature.unit == "flag" and value == 0 else feature.text


def _format_value(unit: str, value: float) -> str:
    if math.isnan(value):
        return UNKNOWN_VALUE
    return _FORMATTERS.get(unit, _format_number)(value) if math.isfinite(value) else "without bound"


def _format_flag(value: float) -> str:
    return "no" if value == 0 else "yes"


def _format_number(value: float) -> str:
    """Give whole numbers and those from 100 on without decimals, others with three digits that count."""
    if value == round(value) or abs(value) >= 100:
        return f"{round(value):,}"
    digits = min(MAX_DECIMALS, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _format_count(value: float) -> str:
    """Give a count as a whole number; one that decays with time has a decimal."""
    return f"{round(value):,}" if value == round(value) or value >= 100 else f"{value:.1f}"


def _format_share(value: float) -> str:
    return f"{_format_number(round(100 * value, 1))} %"


def _format_dollars(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.2f}"


def _format_signed(value: float) -> str:
    return f"{value:+.1f}"


_FORMATTERS: dict[str, Callable[[float], str]] = {
    "flag": _format_flag,
    "count": _format_count,
    "days": _format_count,
    "code": _format_count,
    "share": _format_share,
    "USD": _format_dollars,
    "USD/kg": _format_dollars,
    "USD/piece": _format_dollars,
    "log-odds": _format_signed,
    "standard deviations": _format_signed,
}
