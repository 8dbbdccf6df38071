"""The table of features: `features.toml` has one line for each, in the order of the row.

A group computes its values by name. Their positions come from the table. A name with `{side}` is one feature of the sender and one of the
consignee.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from operator import itemgetter
from typing import Any

from consignments.records import SIDES as SIDES
from features.spec import Feature

MAX_FLOAT32 = 3.4028e38  # largest finite float32, the type of feature rows


class FeatureGroup:
    """Features that one function computes, in the order of the row; its values have the names without the prefix, such as `route.`."""

    def __init__(self, prefix: str, features: tuple[Feature, ...]) -> None:
        self.prefix, self.features = prefix, features
        self._names = tuple(feature.name.removeprefix(prefix) for feature in features)
        self._pick = itemgetter(*self._names)

    def arrange(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """Return the values in the order of the row; raise `KeyError` if their names are not those of the table."""
        try:
            arranged: tuple[float, ...] = self._pick(values)
        except KeyError:
            arranged = ()
        if len(arranged) == len(values):
            return arranged
        lacking, unknown = set(self._names) - values.keys(), values.keys() - set(self._names)
        problems = [f"{self.prefix}{name} has no value" for name in sorted(lacking)]
        problems += [f"{self.prefix}{name} has no line in features.toml" for name in sorted(unknown)]
        raise KeyError("; ".join(problems))


def read_group(prefix: str, without: tuple[str, ...] = ()) -> FeatureGroup:
    """Read the features whose names begin with a prefix, and do not go on with others, in the order of the table."""
    others = tuple(prefix + each for each in without)
    chosen = (each for each in _FEATURES if each.name.startswith(prefix) and not each.name.startswith(others))
    return FeatureGroup(prefix, tuple(chosen))


def read_texts() -> dict[str, dict[str, Any]]:
    """Return what each feature says in English at its values, by the name in the table; `models.reasons` explains the fields."""
    defined = Feature.__dataclass_fields__
    return {
        name: {field: text for field, text in line.items() if field not in defined}
        for name, line in _TABLE.items()
    }


def _list_features() -> tuple[Feature, ...]:
    sided = [name for name in _TABLE if "{side}" in name]
    names = [(name, side) for side in SIDES for name in sided]
    names += [(name, "") for name in _TABLE if name not in sided]
    return tuple(_build_feature(name, side) for name, side in names)


def _build_feature(name: str, side: str) -> Feature:
    line = _TABLE[name]
    for field in ("unit", "theme"):
        if field not in line:
            raise KeyError(f"{name} has no {field} in features.toml")
    return Feature(name.format(side=side), line["unit"], line["theme"], fitted=line.get("fitted", False))


_TABLE = tomllib.loads(files("features").joinpath("features.toml").read_text())
_FEATURES = _list_features()
