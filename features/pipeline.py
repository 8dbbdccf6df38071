"""The feature pipeline: it turns a consignment into one row of float32 features, with the same code in batch and service.

All features except history depend only on the consignment, the alerts and the fitted parameters. History features are read from
the table of counts by `features.history.ordering`. They are in the same row, from column `history_at` on.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat, starmap

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from features.alerts.alerts import Alerts
from features.categories import CategoryFeatures, declare_categories
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.goods.goods import GOODS_FEATURES, GoodsFeatures
from features.goods.kernels import TEXT_SCORE
from features.goods.text_weights import score_texts
from features.history.keys import KeyBuilder, Keys, list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.history.readings import build_history_features
from features.history.table import History
from features.normalization.normal_forms import NormalForms, normalize_consignment, normalize_goods
from features.parties import PARTY_FEATURES, compute_party_values
from features.quality import QUALITY_FEATURES, compute_quality_values
from features.route import ROUTE_FEATURES, compute_route_values
from features.spec import Spec
from features.value import VALUE_FEATURES, ValueFeatures

BLOCK_ROWS = 64  # consignments that are described together
NO_SEQUENCES: Iterable[None] = repeat(None)
"""Sequence numbers of consignments without a log: the latest version of each alert counts."""
Rows = NDArray[np.float32]
Row = Rows


class Pipeline:
    """The pipeline that computes the features of consignments."""

    def __init__(
        self,
        config: FeatureConfig,
        fitted: FittedParameters,
        pseudonyms: Pseudonyms,
        alerts: Alerts | None = None,
    ) -> None:
        self.config = config
        self.alerts = alerts if alerts is not None else Alerts()
        self.record_type = config.build_record_type()
        self.kinds = list_key_kinds(config)
        self._keys = KeyBuilder(self.kinds, pseudonyms)
        self._value = ValueFeatures(fitted.rates, fitted.norms)
        self._categories = CategoryFeatures(fitted.vocabularies, config)
        self._goods = GoodsFeatures(fitted.text_weights)
        self._value_at = len(PARTY_FEATURES) + len(ROUTE_FEATURES)
        before_goods = [
            *PARTY_FEATURES,
            *ROUTE_FEATURES,
            *VALUE_FEATURES,
            *declare_categories(config),
            *QUALITY_FEATURES,
            *self.alerts.features,
        ]
        self._goods_at, self.history_at = len(before_goods), len(before_goods) + len(GOODS_FEATURES)
        self.spec = Spec([*before_goods, *GOODS_FEATURES, *build_history_features(self.kinds)])

    def create_history(self, capacity: int = 1 << 16, max_keys: int | None = None) -> History:
        """Create an empty history over the keys of this pipeline, with at most `max_keys` keys."""
        return History(self.kinds, capacity=capacity, max_keys=max_keys)

    def fill_rows(
        self,
        consignments: Iterable[Consignment],
        X: Rows,
        keys: Keys | None = None,
        counterparts: Keys | None = None,
        sequences: Iterable[int | None] = NO_SEQUENCES,
    ) -> None:
        """Write all features except history, and the history keys if there is room; later alerts do not count."""
        given, numbers, begin = iter(consignments), iter(sequences), 0
        while records := list(islice(given, BLOCK_ROWS)):
            part = slice(begin, begin + len(records))
            forms = self._fill_block(records, numbers, X[part])
            if keys is not None and counterparts is not None:
                self._keys.fill(records, forms, keys[part], counterparts[part])
            begin = part.stop

    def _fill_block(
        self, records: Sequence[Consignment], sequences: Iterable[int | None], X: Rows
    ) -> list[NormalForms]:
        """Write the features of some rows group by group; row by row takes a third longer, because of the cache."""
        forms = list(map(normalize_consignment, records))
        both = list(zip(records, forms, strict=True))
        groups = (
            list(starmap(compute_party_values, both)),
            list(map(compute_route_values, records)),
            list(starmap(self._value.compute, both)),
            list(starmap(self._categories.compute, both)),
            list(map(compute_quality_values, records)),
            list(map(self.alerts.compute, records, forms, sequences)),
        )
        values = chain.from_iterable(chain.from_iterable(zip(*groups, strict=True)))
        flat = np.fromiter(values, np.float32, len(records) * self._goods_at)
        X[:, : self._goods_at] = flat.reshape(-1, self._goods_at)
        for c, normal, goods in zip(records, forms, X[:, self._goods_at : self.history_at], strict=True):
            self._goods.fill(c, normal, goods)
        return forms

    def compute_fitted(self, consignments: Sequence[Consignment]) -> Rows:
        """Compute only the features that depend on fitted parameters, in the order of the row."""
        forms = list(map(normalize_goods, consignments))
        X = np.empty((len(forms), self.history_at), np.float32)
        for row, c, normal in zip(X, consignments, forms, strict=True):
            values = (*self._value.compute(c, normal), *self._categories.compute(c, normal))
            row[self._value_at : self._value_at + len(values)] = values
        X[:, self._goods_at + TEXT_SCORE] = score_texts([each.text for each in forms], self._goods.weights)
        return X[:, self.spec.fitted]

    def fill_keys(self, c: Consignment, keys: Keys, counterparts: Keys) -> None:
        """Write only the history keys, for a consignment that is not scored."""
        self._keys.fill([c], [normalize_consignment(c)], keys[None], counterparts[None])
