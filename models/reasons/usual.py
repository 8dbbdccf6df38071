"""Usual values: the low, middle and high value of each feature among consignments that are alike (`LIKE`), else of the channel.

In history each key counts once: a consignment of a key with n others in 30 days weighs 1 / (n + 1).
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import NamedTuple

import numpy as np

from features.history.keys import COMMON_KINDS
from features.history.readings import NETWORK_SIDES
from features.spec import Feature, Spec
from models.arrays import Rows

UsualValues = dict[str, dict[str, list[float]]]
"""Low, middle and high value by group and feature. A group is `channel`, or `channel like value`, with codes and flags as numbers."""
QUANTILES = 0.1, 0.5, 0.9
MAX_ROWS = 10_000
MIN_ROWS = 30  # a group with fewer rows has no usual values
CHANNEL = "category.channel"
COUNTRY, DESTINATION = "category.departure_country", "category.destination_country"
SERVICE = "category.service"
HEADING, MISMATCH = "category.hs_heading", "goods.hs_text_mismatch"
OF_GOODS = (HEADING, "goods.text_family", SERVICE)
LIKE = {
    **{kind.name: (f"parties.{kind.side}_business",) for kind in COMMON_KINDS if kind.side},
    **{network: (f"parties.{side}_business",) for network, side in NETWORK_SIDES.items()},
    **{"route": (COUNTRY,), "product_route": (COUNTRY,)},
    **dict.fromkeys(("value.usd", "value.per_kg_usd", "value.gross_weight_kg"), OF_GOODS),
    **dict.fromkeys(("value.postage_share", "route.master_missing"), (SERVICE,)),
    **{f"parties.consignee_{name}": (DESTINATION,) for name in ("post_box", "postcode_missing")},
    **{f"parties.sender_{name}": (COUNTRY,) for name in ("post_box", "postcode_missing")},
    **{"route.via_hub": (COUNTRY,), "parties.account_missing": ("parties.sender_business",)},
}
"""By kind of key, or feature: the features of what is alike, the closest first."""
ALIKE = tuple(dict.fromkeys((*chain.from_iterable(LIKE.values()), SERVICE)))
Groups = Mapping[str, tuple[float, Mapping[str, list[float]]]]
"""The groups of a row by the feature of what is alike: the value of the feature, and what is usual in the group."""
RATES = ("nps_rate", "controlled_drug_rate", "any_offence_rate")
COMPARED_READINGS = frozenset(("new", "arrivals_7d", "arrivals_30d", "counterparts", *RATES))


class Usual(NamedTuple):
    """The feature and the value of what is alike, and its low, middle and high value."""

    like: str
    value: float
    low: float
    middle: float
    high: float


def find_like(feature: Feature) -> tuple[str, ...] | None:
    """Find what a feature is compared with, beyond its channel; None if it is compared with nothing."""
    kind, _, reading = feature.name.removeprefix("history.").rpartition(".")
    if feature.group == "history":
        return LIKE.get(kind, ()) if reading in COMPARED_READINGS else None
    if feature.unit == "code":
        return None
    return LIKE.get(feature.name, (SERVICE,) if feature.theme == "missing" else ())


def compute_usual(spec: Spec, X: Rows) -> UsualValues:
    """Compute the usual values of each group from feature rows of traffic."""
    X = X[np.unique(np.linspace(0, max(len(X) - 1, 0), min(len(X), MAX_ROWS)).astype(np.int64))]
    columns = {name: X[:, at] for at, name in enumerate(spec.names)}
    channels = columns.get(CHANNEL, np.zeros(len(X), np.float32))
    usual: UsualValues = {}
    for feature in spec:
        like = find_like(feature)
        if like is None:
            continue
        values, weights = columns[feature.name], np.ones(len(X))
        if feature.group == "history":
            key = feature.name.rpartition(".")[0]
            weights /= 1 + np.nan_to_num(columns.get(f"{key}.arrivals_30d", np.zeros(len(X), np.float32)))
        order = np.argsort(values, kind="stable")
        order = order[np.isfinite(values[order]) & np.isfinite(channels[order])]
        for name in (None, *(each for each in like if each in columns)):
            codes = channels[order] + 1j * (0.0 if name is None else columns[name][order])
            groups, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
            for at in np.flatnonzero((counts >= MIN_ROWS) & np.isfinite(groups)).tolist():
                mine = order[inverse == at]
                channel, value = float(groups[at].real), float(groups[at].imag)
                total = np.cumsum(weights[mine])
                found = values[mine[np.searchsorted(total, np.multiply(QUANTILES, total[-1]))]]
                group_name = _name_group(channel, name, value)
                usual.setdefault(group_name, {})[feature.name] = [float(f"{each:.4g}") for each in found]
    return usual


def _name_group(channel: float, like: str | None = None, value: float = 0.0) -> str:
    return f"{channel:g}" if like is None else f"{channel:g} {like} {value:g}"


def list_groups(usual: Mapping[str, Mapping[str, list[float]]], row: Mapping[str, float]) -> Groups:
    """List the groups of a row, by the feature of what is alike."""
    channel, several = row.get(CHANNEL, 0.0), row.get("goods.text_families", 0.0) > 1
    text_kind, hs_kind = row.get("goods.text_family"), row.get("goods.hs_family")
    is_doubtful = row.get("goods.described", 0.0) > 0 and text_kind != hs_kind
    groups = {CHANNEL: (channel, usual.get(_name_group(channel), {}))}
    for like in ALIKE:
        value = row.get(like, 0.0)
        is_unknown = like not in row or (like.startswith("category.") and value == 0)
        if is_unknown or (like in OF_GOODS[:2] and several) or (like == HEADING and is_doubtful):
            continue
        groups[like] = value, usual.get(_name_group(channel, like, value), {})
    return groups


def find_usual(groups: Groups, name: str, like: Iterable[str]) -> Usual | None:
    """Find what is usual for a feature among its like, else in its channel; None if it is not known."""
    for each in (*like, CHANNEL):
        value, values = groups.get(each, (0.0, {}))
        if name in values:
            return Usual(each, value, *values[name])
    return None
