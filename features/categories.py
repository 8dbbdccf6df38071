"""Categorical columns as integer codes learnt from the training fold, and declared columns.

A code is the rank of the value by frequency, from 1. A value that is too rare gets 0, and a missing value NaN.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import nan
from operator import attrgetter, getitem
from typing import Any

from consignments.records import Consignment
from features.config import FeatureConfig
from features.normalization.normal_forms import NormalForms, get_goods_hs
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
HS_REASON = "product"
# Far more than any list of offices or carriers has, and still small compared with a tree.
MAX_VALUES = 2000
PRODUCT_CACHE_SIZE = 1 << 13


class CategoryFeatures:
    """The features of categorical columns and of declared numbers.

    Parameters
    ----------
    vocabularies : mapping
        Result of `fit_vocabularies`. In a column without a vocabulary every value is unknown.
    config : FeatureConfig
        Its category columns are encoded too; its numeric columns are used unchanged.
    """

    def __init__(self, vocabularies: Mapping[str, Sequence[str]], config: FeatureConfig) -> None:
        columns = (*COLUMNS, *config.columns.category)
        self._values_of = _make_getter(columns)
        self._numbers_of = _make_getter(config.columns.numeric) if config.columns.numeric else None
        self._codes = [_CodeTable(vocabularies.get(name, ())) for name in columns]
        self._hs_codes = [
            (digits, _CodeTable(vocabularies.get(name, ()))) for name, digits in HS_LEVELS.items()
        ]
        self._product_codes = lru_cache(PRODUCT_CACHE_SIZE)(self._code_product)
        self.features = (
            *(_declare_category(name, name) for name in columns),
            *(_declare_category(name, HS_REASON) for name in HS_LEVELS),
            *(_declare_number(name) for name in config.columns.numeric),
        )

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the codes, and then the declared numbers."""
        got = list(map(getitem, self._codes, self._values_of(c)))
        got += self._product_codes(forms.hs)
        if self._numbers_of is not None:
            got += [nan if number is None else _clip_number(number) for number in self._numbers_of(c)]
        return got

    def _code_product(self, hs: str) -> list[float]:
        return [codes[hs[:digits]] if len(hs) >= digits else nan for digits, codes in self._hs_codes]


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
    columns = (*COLUMNS, *config.columns.category)
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


class _CodeTable(dict[str | None, float]):
    """A mapping from known values to codes. A value that is not found as written is looked up in lower case."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        super().__init__((value, float(place)) for place, value in enumerate(vocabulary, 1))
        for value in vocabulary:
            for spelled in (value.upper(), value.title()):
                if spelled.casefold() == value:
                    self[spelled] = self[value]
        self[None] = self[""] = nan

    def __missing__(self, value: str) -> float:
        small = value.strip().casefold()
        return self.get(small, RARE_CODE) if small else RARE_CODE


def _select_most_frequent(count: Counter[str], minimum: int) -> list[str]:
    known = [(-number, value) for value, number in count.items() if number >= minimum and value]
    return [value for _, value in sorted(known)[:MAX_VALUES]]


def _make_getter(names: Sequence[str]) -> Callable[[Consignment], tuple[Any, ...]]:
    """Build a function that reads several columns at once, always as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda c: tuple(getattr(c, name) for name in names)


def _clip_number(number: float) -> float:
    return max(min(number, MAX_FLOAT32), -MAX_FLOAT32)
