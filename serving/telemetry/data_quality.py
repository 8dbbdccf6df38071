"""What scored consignments lack, and which codes the model has never met: early signs that a feed or the trade changes."""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from consignments.schema import fields_of
from features.categories import RARE
from features.spec import Spec
from serving.event_log.event_codec import Rows
from serving.telemetry.counters import Counts

AT_A_TIME = 64
"""Consignments that are looked at together: one by one would cost more than decoding them."""
NOT_COUNTED = frozenset({"received_at", "cancelled_at"})
CODES = "category"
"""The group of the features that are codes of a vocabulary."""


class Traffic:
    """Counts missing fields and unknown codes.

    Attributes
    ----------
    missing, unknown : Counts
        By field of the record, and by column with a vocabulary.
    """

    def __init__(self) -> None:
        self.missing = Counts("npsrisk_missing_values", "Scored consignments without a value.", ("field",))
        self.unknown = Counts("npsrisk_unknown_codes", "Codes the model has not met.", ("column",))
        self._waiting: list[tuple[object, ...]] = []
        self._rows: list[NDArray[np.float32]] = []

    def follow(self, record: type[Consignment], spec: Spec) -> None:
        """Look at consignments of this type from now on, and at rows of these features."""
        self.flush()
        self._fields = [
            (each.name,) for each in fields_of(record) if not each.required and each.name not in NOT_COUNTED
        ]
        self._values_of = attrgetter(*(name for (name,) in self._fields))
        places = [place for place, each in enumerate(spec) if each.group == CODES]
        self._codes = slice(places[0], places[-1] + 1)
        self._columns = [(spec.names[place].partition(".")[2],) for place in places]

    def note(self, consignments: Sequence[Consignment], X: Rows) -> None:
        """Look at scored consignments, (n,), and their features, (n, features)."""
        self._waiting += map(self._values_of, consignments)
        self._rows.append(X[:, self._codes].copy())
        if len(self._waiting) >= AT_A_TIME:
            self.flush()

    def flush(self) -> None:
        """Count what was noted."""
        if not self._waiting:
            return
        for field, column in zip(self._fields, zip(*self._waiting, strict=True), strict=True):
            self.missing[field] += column.count(None)
        unknown = (np.concatenate(self._rows) == RARE).sum(axis=0)
        for name, count in zip(self._columns, unknown.tolist(), strict=True):
            self.unknown[name] += count
        self._waiting, self._rows = [], []
