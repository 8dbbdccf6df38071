"""The readings: the numbers that history gives for one key at the time of scoring, in order.

Day D = 2024-03-10. A sender with arrivals on 1 March (two), 9 March and, before this one, 10 March reads
arrivals_1d 1 (10 March), arrivals_7d 2 (4 to 10 March), arrivals_30d 4, days_since_first 9, days_since_last 0. A
consignment is never in its own readings.

A key that was never seen, or is forgotten, has 0 for counts, missing for days, and the common rate for shares. A
consignment without the key (no phone given) has missing values for all readings.

`features.history.kernels` defines the computation, including the half-lives of decayed counts.
"""

import csv
from importlib.resources import files
from typing import NamedTuple

from features.history.keys import KeyKind
from features.spec import Feature
from features.table import SIDES


class HistoryReading(NamedTuple):
    """A number that history gives for each key, or for all keys of a side; readings of one meaning are one fact of a reason."""

    name: str
    unit: str
    meaning: str


def _read_readings(of: str) -> tuple[HistoryReading, ...]:
    lines = files("features.history").joinpath("readings.csv").read_text().splitlines()
    return tuple(HistoryReading(*values) for *values, what in csv.reader(lines) if what == of)


READINGS = _read_readings("key")
SIDE_READINGS = _read_readings("side")
"""Readings over all keys of a side, and of both sides: the most known detections per consignment of any key."""
NETWORK_SIDES = {f"{side}_network": side for side in SIDES}
NETWORKS = tuple(NETWORK_SIDES)
"""The parties that share a house, phone, e-mail or account with a side, or with others who do."""
EITHER = "either"  # the party with the higher value


def build_history_features(kinds: tuple[KeyKind, ...]) -> tuple[Feature, ...]:
    """Build the history features: every reading of each kind of key and of the networks, then the readings of the sides."""
    return (
        *(
            Feature(f"history.{kind.name}.{name}", unit, _choose_theme(kind, meaning))
            for kind in kinds
            if kind.read
            for name, unit, meaning in READINGS
        ),
        *(
            Feature(f"history.{network}.{name}", unit, "finds" if meaning == "finds" else "links")
            for network in NETWORKS
            for name, unit, meaning in READINGS
        ),
        *(
            Feature(f"history.{side}_side.{name}", unit, "finds")
            for side in (*SIDES, EITHER)
            for name, unit, _ in SIDE_READINGS
        ),
    )


def _choose_theme(kind: KeyKind, meaning: str) -> str:
    """Choose the theme of a reading: another name with the same phone, e-mail address or account is a link."""
    if meaning == "finds":
        return "finds"
    return "links" if meaning == "counterparts" and kind.counterpart == kind.side else kind.theme
