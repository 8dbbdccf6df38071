"""The feature pipeline: it turns a consignment into one row of float32 features, with the same code in batch and service.

All features except history depend only on the consignment, the alerts and the fitted parameters. History features are read from
the table of counts by `features.history.ordering`. They are in the same row, from column `history_at` on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from features.alerts.alerts import NO_MATCH, Alerts
from features.categories import declare_categories
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.goods.goods import GOODS_FEATURES
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.history.table import History
from features.normalization.normal_forms import NormalForms, get_goods_hs, get_goods_text
from features.parties import PARTY_FEATURES
from features.quality import QUALITY_FEATURES
from features.route import ROUTE_FEATURES
from features.rows.alert_kernels import NO_SEARCH, AlertSearch
from features.rows.described_rows import DescribedRows, create_rows, fill_described
from features.rows.plans import NO_KEYS, PARTIES_ONLY, FittedFeatures, build_feature_plan, build_key_plan
from features.spec import Spec
from features.value import VALUE_FEATURES

NO_ALERT = np.array(NO_MATCH, np.float32)
EXPECTED_NEW_KEYS = 2
"""Assumed number of new history keys per consignment."""
GROUP_ROWS = 32
"""Consignments that are described together: if Python must prepare one of them, the others after it are packed again."""
Row = NDArray[np.float32]
Rows = NDArray[np.float32]
Keys = NDArray[np.uint64]


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
        self.record_type = config.build_record_type()
        self.kinds = list_key_kinds(config)
        self.key_plan = build_key_plan(self.kinds, pseudonyms, config)
        parameters = FittedFeatures(fitted.vocabularies, fitted.norms, fitted.rates, fitted.text_weights)
        self.feature_plan = build_feature_plan(config, parameters, len(self.alerts.features))
        # Without keys, but with the declared columns, which categories read.
        self.unkeyed_plan = NO_KEYS._replace(columns=self.key_plan.columns)
        self.fitted_plan = self.feature_plan.select_fitted()
        plain = (
            *PARTY_FEATURES, *ROUTE_FEATURES, *VALUE_FEATURES, *declare_categories(config), *QUALITY_FEATURES
        )  # fmt: skip
        self._alerts = slice(len(plain), len(plain) + len(self.alerts.features))
        self.history_at = self.feature_plan.columns
        history = self.create_history(capacity=16).features
        self.spec = Spec([*plain, *self.alerts.features, *GOODS_FEATURES, *history])

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
        self._fill_features([c], DescribedRows(row[None], keys[None], counterparts[None]), sequence)

    def fill_rows(
        self,
        consignments: Sequence[Consignment],
        X: Rows,
        keys: Keys,
        counterparts: Keys,
        sequence: int | None = None,
    ) -> None:
        """Write the rows of several consignments, with the same bits as `fill_row`. No alert may come between them.

        A few dozen rows per call are best.

        Parameters
        ----------
        consignments : sequence of Consignment, (n,)
        X : float32 array, (n, len(spec))
        keys, counterparts : uint64 array, (n, len(kinds))
        sequence : int or None
            Sequence number of the first consignment in the log, if any.
        """
        self._fill_features(consignments, DescribedRows(X, keys, counterparts), sequence)

    def fill_features(self, consignments: Sequence[Consignment], X: Rows) -> None:
        """Write all features except history, as `fill_rows` does, for consignments whose keys nobody needs."""
        unused = create_rows(len(consignments), self.key_plan)
        self._fill_features(consignments, unused._replace(values=X))

    def _fill_features(
        self, consignments: Sequence[Consignment], rows: DescribedRows, sequence: int | None = None
    ) -> None:
        """Write features and keys. Python compares only rows that an alert may match."""
        possible = any(map(self.alerts.may_match, consignments))
        search = self.create_search(len(consignments)) if possible else NO_SEARCH
        fill_described(consignments, self.key_plan, self.feature_plan, rows, search)
        self.clear_alerts(rows.values)
        for place in search.list_candidates() if possible else ():
            self.fill_alerts(consignments[place], search.forms.get_forms(place), rows.values[place], sequence)

    def create_search(self, rows: int) -> AlertSearch:
        """Create the search of a kernel for rows that an alert may match."""
        return AlertSearch.create(self.alerts.build_tables(), rows)

    def clear_alerts(self, X: Rows) -> None:
        """Write the features of alerts of rows that no alert matches."""
        X[:, self._alerts] = NO_ALERT

    def fill_alerts(self, c: Consignment, forms: Sequence[str], row: Row, sequence: int | None) -> None:
        """Write the features of alerts of a consignment.

        Parameters
        ----------
        c : Consignment
        forms : sequence of str
            Those of its parties, from a `FormBuffer`.
        row : float32 array, (features,)
        sequence : int or None
            Its sequence number in the log, if any. Later alerts do not count.
        """
        normal = NormalForms._make((*forms, get_goods_hs(c), get_goods_text(c)))
        row[self._alerts] = self.alerts.compute(c, normal, sequence)

    def fill_fitted(self, consignments: Sequence[Consignment], X: Rows) -> None:
        """Rewrite only the features that depend on fitted parameters: value, categories and goods.

        Parameters
        ----------
        consignments : sequence of Consignment, (n,)
        X : float32 array, (n, len(spec))
        """
        rows = create_rows(len(consignments), self.unkeyed_plan)._replace(values=X)
        fill_described(consignments, self.unkeyed_plan, self.fitted_plan, rows)

    def fill_keys(self, c: Consignment, keys: Keys, counterparts: Keys) -> None:
        """Write only the history keys, for a consignment that is not scored."""
        unused = np.empty((1, len(PARTY_FEATURES)), np.float32)
        rows = DescribedRows(unused, keys[None], counterparts[None])
        fill_described([c], self.key_plan, PARTIES_ONLY, rows)
