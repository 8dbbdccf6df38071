"""Categorical columns as integer codes learnt from the training fold, and declared columns.

A code is the rank of the value by frequency, from 1. A value that is too rare gets 0, and a missing value NaN.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from operator import attrgetter, getitem
from typing import Any

from consignments.records import Consignment
from features.config import FeatureConfig
from features.normalization.normal_forms import NormalForms, get_goods_hs
from features.spec import Feature
from features.table import MAX_FLOAT32, read_group

MIN_CONSIGNMENTS = 20
RARE_CODE = 0.0
# Levels of the Harmonized System in digits.
HS_LEVELS = {"hs_chapter": 2, "hs_heading": 4, "hs6": 6}
_BUILT_IN = {feature.name.removeprefix("category."): feature for feature in read_group("category.").features}
# Columns of the record. Countries of addresses are excluded: as codes they would be learnt as traits of the people who live there.
COLUMNS = tuple(name for name in _BUILT_IN if name not in HS_LEVELS)
# Far more than any list of offices or carriers has, and still small compared with a tree.
MAX_VALUES = 2000


def declare_categories(config: FeatureConfig) -> tuple[Feature, ...]:
    """Return the features of categorical columns, of the levels of the product, and of declared numbers, in the order of the row."""
    return (
        *(_BUILT_IN[name] for name in COLUMNS),
        *(Feature(f"category.{name}", "code", "goods", fitted=True) for name in config.columns.category),
        *(_BUILT_IN[name] for name in HS_LEVELS),
        *(Feature(f"column.{name}", "number", "goods") for name in config.columns.numeric),
    )


def list_category_columns(config: FeatureConfig) -> tuple[str, ...]:
    """List the categorical columns: those of the record, then the declared ones."""
    return (*COLUMNS, *config.columns.category)


class CategoryFeatures:
    """The codes of categorical columns and of the levels of the product, and the declared numbers."""

    def __init__(self, vocabularies: Mapping[str, Sequence[str]], config: FeatureConfig) -> None:
        columns = list_category_columns(config)
        self._get_values = _make_getter(columns)
        self._codes = [_CodeTable(vocabularies.get(name, ())) for name in columns]
        levels = HS_LEVELS.items()
        self._products = [(digits, _CodeTable(vocabularies.get(name, ()))) for name, digits in levels]
        self._numeric = config.columns.numeric

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the values in the order of `declare_categories`, NaN if missing."""
        values = list(map(getitem, self._codes, self._get_values(c)))
        hs = forms.hs
        values += [codes[hs[:digits]] if len(hs) >= digits else nan for digits, codes in self._products]
        for name in self._numeric:
            number = getattr(c, name, None)
            values.append(nan if number is None else max(min(number, MAX_FLOAT32), -MAX_FLOAT32))
        return values


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
        folded = value.strip().casefold()
        return self.get(folded, RARE_CODE) if folded else RARE_CODE


def fit_vocabularies(
    consignments: Iterable[Consignment], config: FeatureConfig, minimum: int = MIN_CONSIGNMENTS
) -> dict[str, list[str]]:
    """Learn the known values of each categorical column from the training fold, the most frequent first."""
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


def _select_most_frequent(count: Counter[str], minimum: int) -> list[str]:
    known = [(-number, value) for value, number in count.items() if number >= minimum and value]
    return [value for _, value in sorted(known)[:MAX_VALUES]]


def _make_getter(names: Sequence[str]) -> Callable[[Consignment], tuple[Any, ...]]:
    """Build a function that reads several columns at once. A record without declared columns has none of their values."""
    read = attrgetter(*names)

    def get_values(c: Consignment) -> tuple[Any, ...]:
        try:
            found: tuple[Any, ...] = read(c)
        except AttributeError:
            found = tuple(getattr(c, name, None) for name in names)
        return found

    return get_values
