"""The plans that the kernel of rows reads: which keys and which features it writes, and where."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadSetting
from features.categories import declare_categories, list_category_columns, list_vocabularies
from features.config import FeatureConfig
from features.currency import ExchangeRates
from features.goods.goods import GOODS_FEATURES, check_weights
from features.history.key_kernels import (
    FIRST_PART,
    KEY_PLAN,
    MAX_KINDS,
    MAX_PARTS,
    MAX_PREFIXES,
    NO_COUNTERPART,
)
from features.history.keys import PRODUCT, KeyKind
from features.history.pseudonyms import KIND_SEPARATOR, Pseudonyms
from features.normalization.record_kernels import FIELDS
from features.normalization.tables import MAX_FIELDS
from features.normalization.text_codes import build_text_codes
from features.parties import PARTY_FEATURES
from features.quality import CODE_PLACES, QUALITY_FEATURES
from features.route import ROUTE_FEATURES, ROUTE_WORDS
from features.rows.kernels import FEATURE_PLAN, GOODS, PARTIES, PLAIN, VALUE, FittedTables
from features.rows.slots import CODES, FIGURES, FIRST_DECLARED_SLOT, FORM_COLUMNS
from features.value import VALUE_FEATURES, ValueTables, build_value_tables

COMMON_CONFIG = FeatureConfig()
NO_WEIGHTS = np.zeros(0, np.float32)
# The slots of the values that keys have as parts. A column that is not listed here is a declared one.
SLOTS = {name: slot for slot, name in enumerate((*FORM_COLUMNS, *CODES, *FIGURES, "hs_code", PRODUCT))}


class KeyPlan(NamedTuple):
    """The definition of the keys of a row.

    Attributes
    ----------
    record : array of one record of `KEY_PLAN`
    kinds : int
        Number of kinds.
    columns : tuple of str
        Declared columns of a record, which follow those of every record.
    """

    record: NDArray[Any]
    kinds: int
    columns: tuple[str, ...]


NO_KEYS = KeyPlan(np.zeros(1, KEY_PLAN), 0, ())


def build_key_plan(
    kinds: Sequence[KeyKind], pseudonyms: Pseudonyms, config: FeatureConfig = COMMON_CONFIG
) -> KeyPlan:
    """Build the plan of some kinds of keys.

    Parameters
    ----------
    kinds : sequence of KeyKind
    pseudonyms : Pseudonyms
    config : FeatureConfig
        Its declared columns are those of the records.

    Raises
    ------
    BadSetting
        If there are more kinds, or more columns, than kernels have room for.
    """
    names = dict.fromkeys(
        name for kind in kinds for name in kind.parts if name not in SLOTS or _is_declared_figure(kind, name)
    )
    declared = {name: FIRST_DECLARED_SLOT + place for place, name in enumerate(names)}
    columns = tuple(dict.fromkeys((*list_declared(config), *(name for name in names if name not in FIELDS))))
    places = {kind.name: place for place, kind in enumerate(kinds)}
    prefixes = [kind.name.encode() + KIND_SEPARATOR for kind in kinds]
    _check_room("keys", len(kinds), MAX_KINDS)
    _check_room("columns", FIRST_DECLARED_SLOT + len(names), MAX_FIELDS)
    _check_room("columns", len(FIELDS) + len(columns), MAX_FIELDS)
    _check_room("columns in a key", max(len(kind.parts) for kind in kinds), MAX_PARTS)
    _check_room("letters", sum(map(len, prefixes)), MAX_PREFIXES)
    record = np.zeros(1, KEY_PLAN)
    record[0]["count"], record[0]["declared"] = len(kinds), len(names)
    record[0]["fields"][: len(names)] = [(*FIELDS, *columns).index(name) for name in names]
    record[0]["start"][:] = pseudonyms.start_state
    record[0]["prefixes"][: sum(map(len, prefixes))] = list(b"".join(prefixes))
    used = 0
    for row, kind, prefix in zip(record[0]["kinds"], kinds, prefixes, strict=False):
        slots = [
            SLOTS[name] if name in SLOTS and not _is_declared_figure(kind, name) else declared[name]
            for name in kind.parts
        ]
        parts = [2 * slot + (name not in kind.optional) for slot, name in zip(slots, kind.parts, strict=True)]
        counterpart = places[kind.counterpart] if kind.counterpart is not None else NO_COUNTERPART
        row[: FIRST_PART + len(parts)] = (used, len(prefix), counterpart, len(parts), *parts)
        used += len(prefix)
    return KeyPlan(record, len(kinds), columns)


def _check_room(what: str, got: int, most: int) -> None:
    if got > most:
        raise BadSetting(
            f"the history keys have too many {what}",
            where="[history] keys",
            got=str(got),
            expected=f"at most {most}",
        )


def _is_declared_figure(kind: KeyKind, name: str) -> bool:
    return name in FIGURES and name in kind.optional


def list_declared(config: FeatureConfig) -> tuple[str, ...]:
    """List the declared columns in the order of a record."""
    return (*config.columns.numeric, *config.columns.category)


class FeaturePlan(NamedTuple):
    """The definition of the features of a row.

    Attributes
    ----------
    record : array of one record of `FEATURE_PLAN`
    fitted : FittedTables
    columns : int
        Columns that a row must have.
    """

    record: NDArray[Any]
    fitted: FittedTables
    columns: int

    def select_fitted(self) -> "FeaturePlan":
        """Return the plan of the features that depend on fitted parameters, at the same places."""
        return self._select(VALUE | GOODS)

    def _select(self, parts: int) -> "FeaturePlan":
        record = self.record.copy()
        record[0]["parts"] = parts
        return self._replace(record=record)


class FittedFeatures(NamedTuple):
    """The fitted parameters that features read; `features.fitted` describes them."""

    vocabularies: Mapping[str, Sequence[str]]
    norms: Mapping[str, Sequence[float]]
    rates: ExchangeRates
    text_weights: NDArray[np.float32]


def build_feature_plan(config: FeatureConfig, fitted: FittedFeatures, alerts: int) -> FeaturePlan:
    """Build the plan of all features of a row except history.

    Parameters
    ----------
    config : FeatureConfig
    fitted : FittedFeatures
    alerts : int
        Number of features of alerts, which another function writes before those of the goods.
    """
    record = np.zeros(1, FEATURE_PLAN)
    categories, numbers = list_category_columns(config), config.columns.numeric
    at = len(PARTY_FEATURES)
    for name, size in (
        ("route_at", len(ROUTE_FEATURES)),
        ("value_at", len(VALUE_FEATURES)),
        ("category_at", len(declare_categories(config))),
        ("quality_at", len(QUALITY_FEATURES) + alerts),
        ("goods_at", len(GOODS_FEATURES)),
    ):
        record[0][name] = at
        at += size
    fields = (*FIELDS, *list_declared(config))
    _check_room("columns", len(fields), MAX_FIELDS)
    record[0]["parts"] = PARTIES | PLAIN | VALUE | GOODS
    for name, columns in (("category", categories), ("number", numbers)):
        record[0][f"{name}_count"] = len(columns)
        record[0][f"{name}_fields"][: len(columns)] = [fields.index(column) for column in columns]
    value = build_value_tables(fitted.rates, fitted.norms)
    vocabularies = list_vocabularies(fitted.vocabularies, config)
    return FeaturePlan(record, _join_tables(value, vocabularies, check_weights(fitted.text_weights)), at)


def build_measuring_plan(rates: ExchangeRates) -> FeaturePlan:
    """Build the plan of the features of value alone, which are written at the beginning of a row."""
    record = np.zeros(1, FEATURE_PLAN)
    record[0]["parts"] = VALUE
    return FeaturePlan(record, _join_tables(build_value_tables(rates, {})), len(VALUE_FEATURES))


def _join_tables(
    value: ValueTables,
    vocabularies: Sequence[Mapping[str, int]] = (),
    weights: NDArray[np.float32] = NO_WEIGHTS,
) -> FittedTables:
    codes = build_text_codes([value.currencies, value.products, CODE_PLACES, ROUTE_WORDS, *vocabularies])
    return FittedTables(codes, value.norms, value.rates, weights)


def _build_parties_plan() -> FeaturePlan:
    record = np.zeros(1, FEATURE_PLAN)
    record[0]["parts"] = PARTIES
    return FeaturePlan(
        record, _join_tables(build_value_tables(ExchangeRates.create_empty(), {})), len(PARTY_FEATURES)
    )


PARTIES_ONLY = _build_parties_plan()
"""The plan of the features of the parties alone."""
