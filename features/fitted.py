"""Fitted parameters of features: vocabularies, norms, exchange rates and text weights. They are plain data."""

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
from features.goods.kernels import TEXT_BUCKETS, Array
from features.goods.text_weights import fit_text_weights
from features.normalization.normal_forms import get_goods_text
from features.value import fit_norms


class UnfittedRows(np.ndarray[Any, np.dtype[np.float32]]):
    """An array of feature rows without fitted parameters. Its parts keep the type, so that no model scores them by mistake."""

    __array_priority__ = 1.0  # above that of plain arrays: a concatenation with them is of this type too


@dataclass(frozen=True)
class FittedParameters:
    """The parameters of features that are learnt from the training fold."""

    vocabularies: dict[str, list[str]]
    norms: dict[str, list[float]]
    rates: ExchangeRates
    text_weights: NDArray[np.float32]

    @classmethod
    def create_empty(cls) -> "FittedParameters":
        """Create empty parameters for use without a model. Features that need a model are missing or zero."""
        return cls({}, {}, ExchangeRates.create_empty(), np.zeros(TEXT_BUCKETS, dtype=np.float32))

    def mark_rows(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return feature rows computed with these parameters, as `UnfittedRows` if nothing was learnt."""
        # Training names every category column, also one without a known value.
        return X if self.vocabularies else X.view(UnfittedRows)

    def to_plain(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Convert the parameters to JSON values and arrays, for the bundle."""
        values = {"vocabularies": self.vocabularies, "norms": self.norms}
        return values, {"text_weights": self.text_weights, **self.rates.to_arrays()}

    @classmethod
    def from_plain(cls, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "FittedParameters":
        """Build the parameters from the result of `to_plain`."""
        rates = {name: array for name, array in arrays.items() if name != "text_weights"}
        found = ExchangeRates.from_arrays(rates)
        return cls(values["vocabularies"], values["norms"], found, arrays["text_weights"])


def fit_features(
    consignments: Sequence[Consignment], config: FeatureConfig, labels: Array, weights: Array
) -> FittedParameters:
    """Learn the parameters of features from the training fold only."""
    days = [to_day(c.received_at) for c in consignments if c.received_at is not None]
    rates = ExchangeRates.load_ecb(min(days), max(days))
    return FittedParameters(
        vocabularies=fit_vocabularies(consignments, config),
        norms=fit_norms(consignments, rates),
        rates=rates,
        text_weights=fit_text_weights(list(map(get_goods_text, consignments)), labels, weights),
    )
