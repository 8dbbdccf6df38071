"""The feature pipeline: it turns a consignment into one row of float32 features, with the same code in batch and service.

All features except history depend only on the consignment, the alerts and the fitted parameters. History features are read from
the table of counts by `features.history.ordering`. They are in the same row, from column `history_at` on.
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
from features.described_rows import DescribedRows, build_key_plan, describe, normalize_consignment
from features.fitted import FittedParameters
from features.goods.goods import GoodsFeatures
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.history.table import History
from features.normalization.normal_forms import NormalForms, normalize_goods
from features.parties import PARTY_FEATURES
from features.quality import QualityFeatures
from features.route import RouteFeatures
from features.spec import Feature, Spec
from features.value import ValueFeatures

EXPECTED_NEW_KEYS = 2
"""Assumed number of new history keys per consignment."""
Row = NDArray[np.float32]
Rows = NDArray[np.float32]
Keys = NDArray[np.uint64]


class FeatureGroup(Protocol):
    """A group of features that is computed in plain Python."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return the features of the group, in order."""

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute one number per feature, NaN if missing."""


class Pipeline:
    """The pipeline that computes the features of consignments.

    Parameters
    ----------
    config : FeatureConfig
        Declared columns and history keys.
    fitted : FittedParameters
        Parameters learnt in training; `FittedParameters.create_empty()` without a model.
    pseudonyms : Pseudonyms
        Maps names, addresses and other keys to numbers under a secret key.
    alerts : Alerts or None
        Alerts of partners. More may be added later.

    Attributes
    ----------
    spec : Spec
        The features in the order of the row.
    history_at : int
        First column of the history features, which are the last of the row.
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
        self._key_plan = build_key_plan(self.kinds, pseudonyms)
        self._plain: tuple[FeatureGroup, FeatureGroup, FeatureGroup, FeatureGroup] = (
            RouteFeatures(),
            ValueFeatures(fitted.rates, fitted.norms),
            CategoryFeatures(fitted.vocabularies, config),
            QualityFeatures(),
        )
        self._goods = GoodsFeatures(fitted.text_weights)
        plain = [*PARTY_FEATURES, *(feature for group in self._plain for feature in group.features)]
        self._plain_at = len(PARTY_FEATURES)
        self._goods_at = len(plain) + len(self.alerts.features)
        self._write: Callable[..., None] = Struct(f"{self._goods_at - self._plain_at}f").pack_into
        self.history_at = self._goods_at + len(self._goods.features)
        history = self.create_history(capacity=16).features
        self.spec = Spec([*plain, *self.alerts.features, *self._goods.features, *history])

    def create_history(self, capacity: int = 1 << 16, max_keys: int | None = None) -> History:
        """Create an empty history over the keys of this pipeline, with at most `max_keys` keys."""
        return History(self.kinds, capacity=capacity, max_keys=max_keys)

    def create_sized_history(self, rows: int) -> History:
        """Create an empty history with capacity for the keys of a number of consignments, so that it seldom grows."""
        return self.create_history(capacity=max(EXPECTED_NEW_KEYS * rows, 1 << 16))

    def fill_row(
        self, c: Consignment, row: Row, keys: Keys, counterparts: Keys, sequence: int | None = None
    ) -> None:
        """Write all features except history into `row`, and the history keys into `keys` and `counterparts`.

        Parameters
        ----------
        c : Consignment
            Its `received_at` must be set.
        row : float32 array, (len(spec),)
        keys, counterparts : uint64 array, (len(kinds),)
            0 if missing.
        sequence : int or None
            Its sequence number in the log, if any. Later alerts do not count.
        """
        forms = self._normalize(c)
        route, value, categories, quality = self._plain
        self._write(
            row,
            self._plain_at * row.itemsize,
            *route.compute(c, forms),
            *value.compute(c, forms),
            *categories.compute(c, forms),
            *quality.compute(c, forms),
            *self.alerts.compute(c, forms, sequence),
        )
        self._goods.fill(c, forms, row, self._goods_at)
        described = describe([c], self._key_plan)
        row[: self._plain_at], keys[:], counterparts[:] = (each[0] for each in described)

    def fill_rows(
        self,
        consignments: Sequence[Consignment],
        X: Rows,
        keys: Keys,
        counterparts: Keys,
        sequence: int | None = None,
    ) -> None:
        """Write the rows of several consignments, with the same bits as `fill_row`. No alert may come between them.

        The groups run one after the other over all rows, so that the code of a group stays in the caches of the processor. This
        saves 20 to 33 % of the time. A few dozen rows per call are best.

        Parameters
        ----------
        consignments : sequence of Consignment, (n,)
        X : float32 array, (n, len(spec))
        keys, counterparts : uint64 array, (n, len(kinds))
        sequence : int or None
            Sequence number of the first consignment in the log, if any.
        """
        described = self._fill_features(consignments, X, sequence)
        keys[:], counterparts[:] = described.keys, described.counterparts

    def fill_features(self, consignments: Sequence[Consignment], X: Rows) -> None:
        """Write all features except history, as `fill_rows` does, for consignments whose keys nobody needs."""
        self._fill_features(consignments, X)

    def _fill_features(
        self, consignments: Sequence[Consignment], X: Rows, sequence: int | None = None
    ) -> DescribedRows:
        pairs = [(c, self._normalize(c)) for c in consignments]
        parts = [[group.compute(*pair) for pair in pairs] for group in self._plain]
        parts.append([self.alerts.compute(*pair, sequence) for pair in pairs])
        begin = self._plain_at * X.itemsize
        for row, values in zip(X, zip(*parts, strict=True), strict=True):
            self._write(row, begin, *chain.from_iterable(values))
        for row, pair in zip(X, pairs, strict=True):
            self._goods.fill(*pair, row, self._goods_at)
        described = describe(consignments, self._key_plan)
        X[:, : self._plain_at] = described.values
        return described

    def _normalize(self, c: Consignment) -> NormalForms:
        """Return the normal forms: those of the parties only if an alert may be compared with them."""
        return normalize_consignment(c) if self.alerts.may_match(c) else normalize_goods(c)

    def fill_fitted(self, consignments: Sequence[Consignment], X: Rows) -> None:
        """Rewrite only the features that depend on fitted parameters: value, categories and goods.

        Parameters
        ----------
        consignments : sequence of Consignment, (n,)
        X : float32 array, (n, len(spec))
        """
        route, value, categories, _ = self._plain
        begin = self._plain_at + len(route.features)
        end = begin + len(value.features) + len(categories.features)
        for c, row in zip(consignments, X, strict=True):
            forms = normalize_goods(c)  # no fitted parameter concerns the parties
            row[begin:end] = (*value.compute(c, forms), *categories.compute(c, forms))
            self._goods.fill(c, forms, row, self._goods_at)

    def fill_keys(self, c: Consignment, keys: Keys, counterparts: Keys) -> None:
        """Write only the history keys, for a consignment that is not scored."""
        described = describe([c], self._key_plan)
        keys[:], counterparts[:] = described.keys[0], described.counterparts[0]
