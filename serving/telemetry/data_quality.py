"""Data quality counters: missing fields and codes unknown to the model, early signs that a data source or the trade changes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from consignments.doubts import count_unknown_codes, find_code_lists
from consignments.records import Consignment, get_fields
from features.categories import RARE_CODE
from features.spec import Spec
from serving.telemetry.counters import LabeledCounters

BATCH_CONSIGNMENTS = 64
"""Number of consignments counted together; one by one would cost more than decoding them."""
EXCLUDED_FIELDS = frozenset({"received_at", "cancelled_at"})
CATEGORY_GROUP = "category"
"""Group of the features that are codes of a vocabulary."""


class DataQualityCounters:
    """The counters of missing fields and unknown codes."""

    def __init__(self) -> None:
        self.missing = LabeledCounters(
            "npsrisk_missing_values", "Scored consignments without a value in this field.", ("field",)
        )
        self.unknown = LabeledCounters(
            "npsrisk_unknown_codes", "Codes in this column that the model has not learned.", ("column",)
        )
        self.implausible = LabeledCounters(
            "npsrisk_implausible_codes",
            "Scored consignments whose country or currency in this field is no code of ISO 3166-1 or ISO 4217.",
            ("field",),
        )
        self._waiting: list[tuple[object, ...]] = []
        self._rows: list[NDArray[np.float32]] = []

    def configure(self, record: type[Consignment], spec: Spec) -> None:
        """Set the type of the consignments and the features of the rows that are recorded from now on."""
        self.flush()
        counted = {
            each.name for each in get_fields(record) if not each.required and each.name not in EXCLUDED_FIELDS
        }
        self._fields = [
            (place, (name,)) for place, name in enumerate(record.__struct_fields__) if name in counted
        ]
        self._lists = {(name,): known for name, known in find_code_lists(record).items()}
        places = [place for place, each in enumerate(spec) if each.group == CATEGORY_GROUP]
        self._codes = slice(places[0], places[-1] + 1)
        self._columns = [(spec.names[place].partition(".")[2],) for place in places]

    def record(self, consignments: Sequence[Consignment], X: NDArray[np.float32]) -> None:
        """Record scored consignments, (n,), and their features, (n, features)."""
        self._waiting += map(astuple, consignments)
        self._rows.append(X[:, self._codes].copy())
        if len(self._waiting) >= BATCH_CONSIGNMENTS:
            self.flush()

    def flush(self) -> None:
        """Count the recorded consignments that were not counted yet."""
        if not self._waiting:
            return
        columns: list[tuple[Any, ...]] = list(zip(*self._waiting, strict=True))
        for place, field in self._fields:
            column = columns[place]
            self.missing[field] += column.count(None)
            if field in self._lists:
                self.implausible[field] += count_unknown_codes(column, self._lists[field])
        unknown = (np.concatenate(self._rows) == RARE_CODE).sum(axis=0)
        for name, count in zip(self._columns, unknown.tolist(), strict=True):
            self.unknown[name] += count
        self._waiting, self._rows = [], []
