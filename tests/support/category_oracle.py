"""The codes of categories and the declared numbers in plain Python: the oracle of the kernels in `features.categories`."""

from collections.abc import Mapping, Sequence
from math import nan
from operator import getitem

from consignments.records import Consignment
from features.categories import HS_LEVELS, RARE_CODE, declare_categories, list_category_columns
from features.config import FeatureConfig
from features.normalization.normal_forms import NormalForms
from features.value import MAX_FLOAT32


class CategoryFeatures:
    """The features of categorical columns and of declared numbers."""

    def __init__(self, vocabularies: Mapping[str, Sequence[str]], config: FeatureConfig) -> None:
        self.features = declare_categories(config)
        self._columns, self._numeric = list_category_columns(config), config.columns.numeric
        self._codes = [_CodeTable(vocabularies.get(name, ())) for name in self._columns]
        self._hs_codes = [
            (digits, _CodeTable(vocabularies.get(name, ()))) for name, digits in HS_LEVELS.items()
        ]

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the codes, and then the declared numbers."""
        got = list(map(getitem, self._codes, (getattr(c, name, None) for name in self._columns)))
        got += [
            codes[forms.hs[:digits]] if len(forms.hs) >= digits else nan for digits, codes in self._hs_codes
        ]
        numbers = [getattr(c, name, None) for name in self._numeric]
        return [*got, *(nan if number is None else _clip_number(number) for number in numbers)]


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


def _clip_number(number: float) -> float:
    return max(min(number, MAX_FLOAT32), -MAX_FLOAT32)
