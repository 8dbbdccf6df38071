"""The feature spec: name, unit and theme of every feature, in the order of the row.

Themes, and the texts that an officer reads, may be changed at any time. Two specs are equal if their names, units and `fitted` flags
are equal, in order, and the versions of their definitions are.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from consignments.errors import BundleRefused, UnknownName

THEMES = ("finds", "links", "goods", "value", "parties", "route", "missing")  # the themes of reasons
FEATURES_VERSION = 5
"""Version of the definitions of features. Increase it if a feature of the same name gets other values."""


@dataclass(frozen=True, slots=True)
class Feature:
    """The description of one number that the model sees."""

    name: str  # `group.what`
    unit: str
    theme: str  # of THEMES: the contributions of its features are added
    text: str = ""  # of one that is missing in the tables of texts; `{value}` stands for its value
    fitted: bool = False  # it needs a fitted model, and is left out without one

    @property
    def group(self) -> str:
        """Return the part of the name before the first dot."""
        return self.name.split(".", 1)[0]


class Spec:
    """The features of a model, in the order of the row."""

    def __init__(self, features: Iterable[Feature], version: int = FEATURES_VERSION) -> None:
        self.features, self.version = tuple(features), version
        self.names = tuple(feature.name for feature in self.features)
        self.fitted = tuple(place for place, feature in enumerate(self.features) if feature.fitted)
        self._places = {name: place for place, name in enumerate(self.names)}
        if len(self._places) != len(self.names):
            repeated = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"feature names repeat: {repeated}")

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def get_column(self, name: str) -> int:
        """Return the column of a feature; raise `UnknownName` with the nearest known name if there is none."""
        if name not in self._places:
            raise UnknownName.from_candidates(name, self.names, kind="feature")
        return self._places[name]

    def compute_digest(self) -> str:
        """Compute the SHA-256 of version, names, units and `fitted`, in order, as hexadecimal digits. Themes and texts are excluded."""
        rows = [[feature.name, feature.unit, feature.fitted] for feature in self.features]
        return hashlib.sha256(msgspec.json.encode([self.version, rows])).hexdigest()

    def require(self, trained: "Spec") -> None:
        """Raise `BundleRefused` if a model was trained on another spec."""
        if trained.compute_digest() != self.compute_digest():
            raise BundleRefused(
                "the model was trained on features that this version of npsrisk does not compute",
                got=f"spec {trained.compute_digest()[:12]}",
                expected=f"spec {self.compute_digest()[:12]}",
                todo="retrain, or install the version named in the bundle's card",
            )
