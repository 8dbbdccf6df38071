"""The readings: the numbers that history gives for one key at the time of scoring, in order.

Day D = 2024-03-10. A sender with arrivals on 1 March (two), 9 March and, before this one, 10 March reads
arrivals_1d 1 (10 March), arrivals_7d 2 (4 to 10 March), arrivals_30d 4, days_since_first 9, days_since_last 0. A
consignment is never in its own readings.

A key that was never seen, or is forgotten, has 0 for counts, missing for days, and the common rate for shares. A
consignment without the key (no phone given) has missing values for all readings.

`features.history.kernels` defines the computation, including the half-lives of decayed counts.
"""

from dataclasses import dataclass

from features.history.keys import KeyKind
from features.spec import Feature


@dataclass(frozen=True, slots=True)
class HistoryReading:
    """The definition of one number that history gives for each key."""

    name: str
    unit: str
    meaning: str


READINGS = (
    HistoryReading("new", "flag", "new"),
    HistoryReading("arrivals_1d", "count", "volume"),
    HistoryReading("arrivals_7d", "count", "volume"),
    HistoryReading("arrivals_30d", "count", "volume"),
    HistoryReading("arrivals_90d", "count", "volume"),
    HistoryReading("arrivals_365d", "count", "volume"),
    HistoryReading("arrivals_ever", "count", "volume"),
    HistoryReading("days_since_first", "days", "new"),
    HistoryReading("days_since_last", "days", "volume"),
    HistoryReading("decayed_7d", "count", "volume"),
    HistoryReading("decayed_30d", "count", "volume"),
    HistoryReading("velocity", "ratio", "surge"),
    HistoryReading("counterparts", "count", "counterparts"),
    HistoryReading(
        "inspections_365d",
        "count",
        "inspections",
    ),
    HistoryReading("inspections_ever", "count", "inspections"),
    HistoryReading("nps_365d", "count", "finds"),
    HistoryReading("nps_ever", "count", "finds"),
    HistoryReading(
        "controlled_drug_365d",
        "count",
        "finds",
    ),
    HistoryReading("controlled_drug_ever", "count", "finds"),
    HistoryReading("any_offence_365d", "count", "finds"),
    HistoryReading("any_offence_ever", "count", "finds"),
    HistoryReading("days_since_find", "days", "finds"),
    HistoryReading(
        "nps_rate",
        "share",
        "finds",
    ),
    HistoryReading(
        "controlled_drug_rate",
        "share",
        "finds",
    ),
    HistoryReading(
        "any_offence_rate",
        "share",
        "finds",
    ),
)

SIDES = ("sender", "consignee")
"""Parties that are identified by several keys: a name is changed more easily than name, address and phone together."""
EITHER = "either"
"""The party with the higher value."""
SIDE_READINGS = (
    HistoryReading(
        "nps_a_consignment",
        "share",
        "finds",
    ),
    HistoryReading(
        "controlled_drug_a_consignment",
        "share",
        "finds",
    ),
    HistoryReading(
        "any_offence_a_consignment",
        "share",
        "finds",
    ),
)
"""Readings over all keys of a side, and of both sides: the most known detections per consignment of any key."""


def build_history_features(kinds: tuple[KeyKind, ...]) -> tuple[Feature, ...]:
    """Build the history features: every reading of each kind of key, then the readings of the sides."""
    of_kinds = [_build_feature(kind, reading) for kind in kinds for reading in READINGS]
    return (
        *of_kinds,
        *(_build_side_feature(side, reading) for side in (*SIDES, EITHER) for reading in SIDE_READINGS),
    )


def _build_feature(kind: KeyKind, reading: HistoryReading) -> Feature:
    return Feature(
        name=f"history.{kind.name}.{reading.name}",
        unit=reading.unit,
        reason=f"{kind.name.replace('+', '_')}_{reading.meaning}",
    )


def _build_side_feature(side: str, reading: HistoryReading) -> Feature:
    return Feature(
        name=f"history.{side}_side.{reading.name}", unit=reading.unit, reason=f"{side}_{reading.meaning}"
    )
