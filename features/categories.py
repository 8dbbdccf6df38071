"""Categorical columns as integer codes learnt from the training fold, and declared columns.

A code is the rank of the value by frequency, from 1. A value that is too rare gets 0, and a missing value NaN.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from consignments.records import Consignment
from features.config import FeatureConfig
from features.items import HS_DIGITS
from features.normalization.compiling import START, Array, Int, Tables, kernel
from features.normalization.letters import FOLDED, read_letters
from features.normalization.normal_forms import get_goods_hs
from features.normalization.record_kernels import get_number, has_text
from features.normalization.text_codes import TextCodes, find_code
from features.spec import Feature
from features.value import MAX_FLOAT32

MIN_CONSIGNMENTS = 20
RARE_CODE = 0.0
# Columns of the record. Countries of addresses are excluded: as codes they would be
# learnt as traits of the people who live there.
COLUMNS = (
    "channel",
    "service",
    "nature",
    "payment",
    "carrier",
    "declarant",
    "office",
    "currency",
    "departure_country",
    "destination_country",
    "origin_country",
)
# Levels of the Harmonized System in digits.
HS_LEVELS = {"hs_chapter": 2, "hs_heading": 4, "hs6": 6}
HS_DIGITS_OF_LEVELS = tuple(HS_LEVELS.values())
HS_REASON = "product"
# Far more than any list of offices or carriers has, and still small compared with a tree.
MAX_VALUES = 2000


def declare_categories(config: FeatureConfig) -> tuple[Feature, ...]:
    """Return the features of categorical columns, of the levels of the product, and of declared numbers, in the order of the row."""
    return (
        *(_declare_category(name, name) for name in list_category_columns(config)),
        *(_declare_category(name, HS_REASON) for name in HS_LEVELS),
        *(_declare_number(name) for name in config.columns.numeric),
    )


def list_category_columns(config: FeatureConfig) -> tuple[str, ...]:
    """List the categorical columns: those of the record, then the declared ones."""
    return (*COLUMNS, *config.columns.category)


def list_vocabularies(
    vocabularies: Mapping[str, Sequence[str]], config: FeatureConfig
) -> list[dict[str, int]]:
    """List the codes of the known values of each categorical column, and then of each level of the product.

    Parameters
    ----------
    vocabularies : mapping
        Result of `fit_vocabularies`. In a column without a vocabulary every value is unknown.
    config : FeatureConfig
    """
    return [
        {value: place for place, value in enumerate(vocabularies.get(name, ()), 1)}
        for name in (*list_category_columns(config), *HS_LEVELS)
    ]


@kernel
def write_category(
    tables: Tables, data: Array, codes: TextCodes, vocabulary: Int, field: Int, row: Array
) -> Int:
    """Write the code of a categorical column to the beginning of `row`. Return 0, or what is needed first."""
    row[0] = np.nan
    if not has_text(tables, field):
        return 0
    start, end = read_letters(tables, data, tables.fields[field], FOLDED, START)
    if start < 0:
        return start
    row[0] = _get_known(find_code(codes, vocabulary, tables.letters, start, end))
    return 0


@kernel
def write_product(tables: Tables, codes: TextCodes, vocabulary: Int, row: Array) -> None:
    """Write the codes of the levels of the product to the beginning of `row`. The first level has the given vocabulary."""
    for level in range(len(HS_DIGITS_OF_LEVELS)):
        digits = HS_DIGITS_OF_LEVELS[level]
        row[level] = np.nan
        if tables.item_counts[HS_DIGITS] >= digits:
            row[level] = _get_known(find_code(codes, vocabulary + level, tables.hs, START, digits))


@kernel
def _get_known(code: Int) -> float:
    return float(code) if code >= 0 else RARE_CODE


@kernel
def write_number_value(tables: Tables, field: Int, row: Array) -> None:
    """Write a declared number to the beginning of `row`."""
    number = get_number(tables, field)
    row[0] = -MAX_FLOAT32 if number < -MAX_FLOAT32 else MAX_FLOAT32 if number > MAX_FLOAT32 else number


def fit_vocabularies(
    consignments: Iterable[Consignment], config: FeatureConfig, minimum: int = MIN_CONSIGNMENTS
) -> dict[str, list[str]]:
    """Learn the vocabulary of each categorical column.

    Parameters
    ----------
    consignments : iterable of Consignment
        The training fold only.
    config : FeatureConfig
        Names additional category columns.
    minimum : int
        Least number of consignments of a known value.

    Returns
    -------
    dict
        Column to its known values in lower case, most frequent first, ties in alphabetical order.
    """
    columns = list_category_columns(config)
    values_of = _make_getter(columns)
    counts: dict[str, Counter[str]] = {name: Counter() for name in (*columns, *HS_LEVELS)}
    for c in consignments:
        for name, value in zip(columns, values_of(c), strict=True):
            if value:
                counts[name][value.strip().casefold()] += 1
        hs = get_goods_hs(c)
        for name, digits in HS_LEVELS.items():
            if len(hs) >= digits:
                counts[name][hs[:digits]] += 1
    return {name: _select_most_frequent(count, minimum) for name, count in counts.items()}


def _declare_category(name: str, reason: str) -> Feature:
    return Feature(f"category.{name}", "code", reason, fitted=True)


def _declare_number(name: str) -> Feature:
    return Feature(f"column.{name}", "number", name)


def _select_most_frequent(count: Counter[str], minimum: int) -> list[str]:
    known = [(-number, value) for value, number in count.items() if number >= minimum and value]
    return [value for _, value in sorted(known)[:MAX_VALUES]]


def _make_getter(names: Sequence[str]) -> Callable[[Consignment], tuple[Any, ...]]:
    """Build a function that reads several columns at once, always as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda c: tuple(getattr(c, name) for name in names)
