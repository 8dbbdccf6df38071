"""What features learn from the training fold: vocabularies, norms, currency rates and text weights; plain data only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from consignments.timestamps import to_day
from features.categories import fit_vocabularies
from features.config import FeatureConfig
from features.currency import ExchangeRates
from features.goods.kernels import TEXT_BUCKETS
from features.goods.text_weights import fit_text_weights
from features.normalization.normal_forms import normalize_consignment
from features.value import fit_norms


class UnfittedRows(np.ndarray[Any, np.dtype[np.float32]]):
    """Feature rows that were computed without fitted parameters.

    The mark stays on every slice of them and when they are concatenated, so that no model scores them by mistake.
    """

    __array_priority__ = 1.0  # above that of plain arrays: what is concatenated with them is marked too


@dataclass(frozen=True)
class FittedParameters:
    """The learnt part of the features.

    Attributes
    ----------
    vocabularies : dict
        Column to its known values, most frequent first; the code of a value is its place, from 1.
    norms : dict
        Product class to the mean and spread of its values.
    rates : Rates
        US dollars per unit of each currency by day.
    text_weights : float32 array, (buckets,)
        Log-odds of each bucket of character n-grams.
    """

    vocabularies: dict[str, list[str]]
    norms: dict[str, list[float]]
    rates: ExchangeRates
    text_weights: NDArray[np.float32]

    @classmethod
    def create_empty(cls) -> "FittedParameters":
        """Stand in where no model is given; the features that need one come out missing or zero."""
        return cls({}, {}, ExchangeRates.create_empty(), np.zeros(TEXT_BUCKETS, dtype=np.float32))

    @property
    def is_fitted(self) -> bool:
        """Whether anything was learnt: training names every category column, also one without a known value."""
        return bool(self.vocabularies)

    def mark_rows(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return feature rows that were computed with these parameters, marked as `UnfittedRows` if nothing was learnt."""
        return X if self.is_fitted else X.view(UnfittedRows)

    def to_plain(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Give its JSON values and its arrays, for the bundle."""
        values = {"vocabularies": self.vocabularies, "norms": self.norms}
        return values, {"text_weights": self.text_weights, **self.rates.to_arrays()}

    @classmethod
    def from_plain(cls, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "FittedParameters":
        """Build it from what `to_plain` gave."""
        rates = {name: array for name, array in arrays.items() if name != "text_weights"}
        return cls(
            values["vocabularies"], values["norms"], ExchangeRates.from_arrays(rates), arrays["text_weights"]
        )


def fit_features(
    consignments: Sequence[Consignment],
    config: FeatureConfig,
    labels: NDArray[np.int8],
    weights: NDArray[np.float64],
) -> FittedParameters:
    """Learn from the consignments of the training fold, and from nothing else.

    Parameters
    ----------
    consignments : sequence of Consignment
        The training fold.
    config : FeatureConfig
    labels : int8 array, (n,)
        1 positive, 0 negative.
    weights : float64 array, (n,)
        Weight of each row, at least 0; a row of weight 0 teaches the text score nothing.
    """
    days = [to_day(c.received_at) for c in consignments if c.received_at is not None]
    rates = ExchangeRates.load_ecb(min(days), max(days))
    forms = [normalize_consignment(c) for c in consignments]
    return FittedParameters(
        vocabularies=fit_vocabularies(consignments, config),
        norms=fit_norms(consignments, forms, rates),
        rates=rates,
        text_weights=fit_text_weights([form.text for form in forms], labels, weights),
    )
