"""What history says of one key at the moment of scoring: the readings, their order, and what an officer reads.

Day D = 2024-03-10. A sender with arrivals on 1 March (two), 9 March and, before this one, 10 March reads
arrivals_1d 1 (10 March), arrivals_7d 2 (4 to 10 March), arrivals_30d 4, days_since_first 9, days_since_last 0. The
consignment that asks is never in its own readings.

A key that was never seen, or is forgotten, reads 0 for counts, missing for days, and the common share for shares. A
consignment without the key (no phone given) reads missing everywhere.

How each is computed, the half-lives of decayed counts included, stands in `features.history.kernels`.
"""

from dataclasses import dataclass

from features.history.keys import KeyKind
from features.spec import Feature


@dataclass(frozen=True, slots=True)
class HistoryReading:
    """One number that history gives for each key.

    Attributes
    ----------
    name, unit, text : str
        As in `features.spec.Feature`; `{Noun}` stands for what an officer calls the key.
    meaning : str
        What it tells; readings of one meaning share a reason.
    """

    name: str
    unit: str
    meaning: str
    text: str


READINGS = (
    HistoryReading("new", "flag", "new", "{Noun} not seen before: {value}"),
    HistoryReading("arrivals_1d", "count", "volume", "{Noun} had {value} earlier consignments on this day"),
    HistoryReading("arrivals_7d", "count", "volume", "{Noun} had {value} consignments in the last 7 days"),
    HistoryReading("arrivals_30d", "count", "volume", "{Noun} had {value} consignments in the last 30 days"),
    HistoryReading("arrivals_90d", "count", "volume", "{Noun} had {value} consignments in the last 90 days"),
    HistoryReading(
        "arrivals_365d", "count", "volume", "{Noun} had {value} consignments in the last 365 days"
    ),
    HistoryReading("arrivals_ever", "count", "volume", "{Noun} had {value} consignments since first seen"),
    HistoryReading("days_since_first", "days", "new", "{Noun} was first seen {value} days ago"),
    HistoryReading("days_since_last", "days", "volume", "{Noun} was last seen {value} days ago"),
    HistoryReading(
        "decayed_7d", "count", "volume", "{Noun} had {value} consignments of late, halved every 7 days"
    ),
    HistoryReading(
        "decayed_30d", "count", "volume", "{Noun} had {value} consignments of late, halved every 30 days"
    ),
    HistoryReading(
        "velocity", "ratio", "surge", "{Noun} had {value} times its usual number of consignments this week"
    ),
    HistoryReading(
        "counterparts", "count", "counterparts", "{Noun} was seen with {value} different {counterparts}"
    ),
    HistoryReading(
        "inspections_365d",
        "count",
        "inspections",
        "{Noun} had {value} inspections with a result known in the last 365 days",
    ),
    HistoryReading(
        "inspections_ever", "count", "inspections", "{Noun} had {value} inspections with a known result"
    ),
    HistoryReading("nps_365d", "count", "finds", "{Noun} had {value} NPS finds known in the last 365 days"),
    HistoryReading("nps_ever", "count", "finds", "{Noun} had {value} known NPS finds"),
    HistoryReading(
        "controlled_drug_365d",
        "count",
        "finds",
        "{Noun} had {value} finds of controlled drugs known in the last 365 days",
    ),
    HistoryReading(
        "controlled_drug_ever", "count", "finds", "{Noun} had {value} known finds of controlled drugs"
    ),
    HistoryReading(
        "any_offence_365d", "count", "finds", "{Noun} had {value} offences known in the last 365 days"
    ),
    HistoryReading("any_offence_ever", "count", "finds", "{Noun} had {value} known offences"),
    HistoryReading("days_since_find", "days", "finds", "{Noun} had its last known offence {value} days ago"),
    HistoryReading(
        "nps_rate",
        "share",
        "finds",
        "{Noun}: share of inspections that found NPS, drawn to the common share: {value}",
    ),
    HistoryReading(
        "controlled_drug_rate",
        "share",
        "finds",
        "{Noun}: share of inspections that found controlled drugs, drawn to the common share: {value}",
    ),
    HistoryReading(
        "any_offence_rate",
        "share",
        "finds",
        "{Noun}: share of inspections that found an offence, drawn to the common share: {value}",
    ),
)

SIDES = ("sender", "consignee")
"""Parties that several keys betray: a name is spelt anew more easily than name, address and phone together."""
EITHER = "either"
"""Whichever of the two had more."""
SIDE_READINGS = (
    HistoryReading(
        "nps_a_consignment",
        "share",
        "finds",
        "{Noun} by name, address, phone or other key: most NPS finds for each consignment: {value}",
    ),
    HistoryReading(
        "controlled_drug_a_consignment",
        "share",
        "finds",
        "{Noun} by name, address, phone or other key: most finds of controlled drugs for each consignment: {value}",
    ),
    HistoryReading(
        "any_offence_a_consignment",
        "share",
        "finds",
        "{Noun} by name, address, phone or other key: most offences for each consignment: {value}",
    ),
)
"""What is read of all keys of a side, and of both, together: the most known finds for each consignment of one of them."""


def build_history_features(kinds: tuple[KeyKind, ...]) -> tuple[Feature, ...]:
    """List the features of history: every reading of every kind, kind by kind, then those of the sides.

    Examples
    --------
    >>> from features.config import FeatureConfig
    >>> from features.history.keys import list_key_kinds
    >>> build_history_features(list_key_kinds(FeatureConfig()))[0].name
    'history.sender.new'
    """
    nouns = {kind.name: kind.noun for kind in kinds}
    of_kinds = [_build_feature(kind, reading, nouns) for kind in kinds for reading in READINGS]
    return (
        *of_kinds,
        *(_build_side_feature(side, reading) for side in (*SIDES, EITHER) for reading in SIDE_READINGS),
    )


def _build_feature(kind: KeyKind, reading: HistoryReading, nouns: dict[str, str]) -> Feature:
    noun = kind.noun[:1].upper() + kind.noun[1:]
    others = _pluralize(nouns[kind.counterpart]) if kind.counterpart else "counterparts"
    return Feature(
        name=f"history.{kind.name}.{reading.name}",
        unit=reading.unit,
        reason=f"{kind.name.replace('+', '_')}_{reading.meaning}",
        text=reading.text.replace("{Noun}", noun).replace("{counterparts}", others),
    )


def _build_side_feature(side: str, reading: HistoryReading) -> Feature:
    return Feature(
        name=f"history.{side}_side.{reading.name}",
        unit=reading.unit,
        reason=f"{side}_{reading.meaning}",
        text=reading.text.replace("{Noun}", "Either party" if side == EITHER else side.capitalize()),
    )


def _pluralize(noun: str) -> str:
    return f"{noun}s"
