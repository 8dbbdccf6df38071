"""The pipeline: a consignment becomes one row of float32 features, by the same code for a batch and for a request.

All but history is a function of the consignment, the alerts and what was learnt. History is read from the table of
counts by `features.history.ordering`, at `history_at` in the same row.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from struct import Struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from features.alerts import Alerts
from features.categories import CategoryFeatures
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.goods.goods import GoodsFeatures
from features.history.keys import KeyWriter, list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.history.table import History
from features.normalization.normal_forms import NormalForms, normalize_consignment
from features.parties import PartyFeatures
from features.quality import QualityFeatures
from features.route import RouteFeatures
from features.spec import Feature, Spec
from features.value import ValueFeatures

EXPECTED_NEW_KEYS = 2
"""Keys that a consignment brings and that were never seen before (assumed)."""
Row = NDArray[np.float32]
Rows = NDArray[np.float32]
Keys = NDArray[np.uint64]


class FeatureGroup(Protocol):
    """A group of features computed in plain Python."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """What it computes, in order."""

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Give one number for each feature, NaN where missing."""


class Pipeline:
    """Compute the features of consignments.

    Parameters
    ----------
    config : FeatureConfig
        Declared columns and history keys.
    fitted : Fitted
        What was learnt in training; `FittedParameters.nothing()` where there is no model.
    pseudonyms : Pseudonyms
        Turns names, addresses and other keys into numbers under a secret key.
    alerts : Alerts or None
        Alerts of partners; more may be added while running.

    Attributes
    ----------
    spec : Spec
        The features in the order of the row.
    history_at : int
        Column where the features of history begin; they end the row.
    """

    def __init__(
        self,
        config: FeatureConfig,
        fitted: FittedParameters,
        pseudonyms: Pseudonyms,
        alerts: Alerts | None = None,
    ) -> None:
        self.config = config
        self.alerts = alerts if alerts is not None else Alerts()
        self.kinds = list_key_kinds(config)
        self.keyer = KeyWriter(self.kinds, pseudonyms)
        self._plain: tuple[FeatureGroup, FeatureGroup, FeatureGroup, FeatureGroup, FeatureGroup] = (
            PartyFeatures(),
            RouteFeatures(),
            ValueFeatures(fitted.rates, fitted.norms),
            CategoryFeatures(fitted.vocabularies, config),
            QualityFeatures(),
        )
        self._goods = GoodsFeatures(fitted.text_weights)
        plain = [feature for group in self._plain for feature in group.features]
        self._goods_at = len(plain) + len(self.alerts.features)
        self._write: Callable[..., None] = Struct(f"{self._goods_at}f").pack_into
        self.history_at = self._goods_at + len(self._goods.features)
        history = self.create_history(capacity=16).features
        self.spec = Spec([*plain, *self.alerts.features, *self._goods.features, *history])

    def create_history(self, capacity: int = 1 << 16, max_keys: int | None = None) -> History:
        """Make an empty history over this pipeline's keys; `max_keys` bounds it."""
        return History(self.kinds, capacity=capacity, max_keys=max_keys)

    def create_sized_history(self, rows: int) -> History:
        """Make an empty history with room for the keys of so many consignments, so that it seldom has to grow."""
        return self.create_history(capacity=max(EXPECTED_NEW_KEYS * rows, 1 << 16))

    def fill_row(
        self, c: Consignment, row: Row, keys: Keys, counterparts: Keys, sequence: int | None = None
    ) -> None:
        """Write all features but those of history into `row`, and the keys of history beside it.

        Parameters
        ----------
        c : Consignment
            `received_at` is set.
        row : float32 array, (len(spec),)
        keys, counterparts : uint64 array, (len(kinds),)
            0 where missing.
        sequence : int or None
            Its place in the log, where it has one: later alerts do not count.
        """
        forms = normalize_consignment(c)
        parties, route, value, categories, quality = self._plain
        self._write(
            row,
            0,
            *parties.compute(c, forms),
            *route.compute(c, forms),
            *value.compute(c, forms),
            *categories.compute(c, forms),
            *quality.compute(c, forms),
            *self.alerts.compute(c, forms, sequence),
        )
        self._goods.fill(c, forms, row, self._goods_at)
        self.keyer(c, forms, keys, counterparts)

    def fill_rows(
        self,
        consignments: Sequence[Consignment],
        X: Rows,
        keys: Keys,
        counterparts: Keys,
        sequence: int | None = None,
    ) -> None:
        """Do what `fill_row` does for several consignments between which no alert comes, to the same bits.

        Group by group over the rows, so that the code of a group stays in the processor's caches, which takes a
        fifth to a third off the time. Some dozens of rows at a time are best.

        Parameters
        ----------
        consignments : sequence of Consignment, (n,)
        X : float32 array, (n, len(spec))
        keys, counterparts : uint64 array, (n, len(kinds))
        sequence : int or None
            Place in the log of the first, where they have one.
        """
        pairs = [(c, normalize_consignment(c)) for c in consignments]
        parts = [[group.compute(*pair) for pair in pairs] for group in self._plain]
        parts.append([self.alerts.compute(*pair, sequence) for pair in pairs])
        for row, values in zip(X, zip(*parts, strict=True), strict=True):
            self._write(row, 0, *chain.from_iterable(values))
        for row, pair in zip(X, pairs, strict=True):
            self._goods.fill(*pair, row, self._goods_at)
        for pair, *both in zip(pairs, keys, counterparts, strict=True):
            self.keyer(*pair, *both)

    def fill_fitted(self, consignments: Sequence[Consignment], X: Rows) -> None:
        """Write again only what depends on fitted parameters: value, categories and goods; the rest of a row stays.

        Parameters
        ----------
        consignments : sequence of Consignment, (n,)
        X : float32 array, (n, len(spec))
        """
        parties, route, value, categories, _ = self._plain
        begin = len(parties.features) + len(route.features)
        end = begin + len(value.features) + len(categories.features)
        for c, row in zip(consignments, X, strict=True):
            forms = normalize_consignment(c)
            row[begin:end] = (*value.compute(c, forms), *categories.compute(c, forms))
            self._goods.fill(c, forms, row, self._goods_at)

    def fill_keys(self, c: Consignment, keys: Keys, counterparts: Keys) -> None:
        """Write only the keys of history, for a consignment that is not scored."""
        self.keyer(c, normalize_consignment(c), keys, counterparts)
