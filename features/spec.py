"""The feature spec: every feature's name, unit and reason code, in the order of the row.

What an officer reads of a feature stands in the tables of `models/reason_texts` and may be reworded at any time: two specs
are equal if names, units, reason codes and `fitted` are, in order.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from consignments.errors import BundleRefused, UnknownName


@dataclass(frozen=True, slots=True)
class Feature:
    """One number that the model sees.

    Attributes
    ----------
    name : str
        `group.what`, as `value.per_kg_usd` or `history.sender.arrivals_7d`.
    unit : str
        `count`, `days`, `share` (0 to 1), `flag` (0 or 1), `code`, `USD`, `kg`, `log-odds`, …
    reason : str
        Code of the reason it belongs to; features that mean the same to an officer share one code, and their
        contributions are added up.
    text : str
        What is said of a feature that the tables of texts (`models/reason_texts`) lack, as one made up; `{value}` stands for
        its value. Bundles of versions before hold texts here.
    fitted : bool
        It needs a fitted model and is left out without one.
    """

    name: str
    unit: str
    reason: str
    text: str = ""
    fitted: bool = False

    @property
    def group(self) -> str:
        """The part of the name before the first point."""
        return self.name.split(".", 1)[0]


class Spec:
    """The features of a model, in the order of the row.

    Parameters
    ----------
    features : iterable of Feature
        Names are unique.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in self.features)
        self._places = {name: place for place, name in enumerate(self.names)}
        if len(self._places) != len(self.names):
            raise ValueError(
                f"feature names repeat: {sorted({n for n in self.names if self.names.count(n) > 1})}"
            )

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def get_column(self, name: str) -> int:
        """Give the column of a feature in the row; `UnknownName` names the nearest known feature."""
        if name not in self._places:
            raise UnknownName.from_candidates(name, self.names, kind="feature")
        return self._places[name]

    def compute_digest(self) -> str:
        """Return the SHA-256 of names, units, reason codes and `fitted`, in order, as hexadecimal digits; texts are not in it."""
        rows = [[feature.name, feature.unit, feature.reason, feature.fitted] for feature in self.features]
        return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()

    def compute_digest_with_texts(self) -> str:
        """Return the digest that model cards held when texts were part of it."""
        return hashlib.sha256(msgspec.json.encode(self.features)).hexdigest()

    def require(self, trained: "Spec") -> None:
        """Refuse a model that was trained on another spec.

        Parameters
        ----------
        trained : Spec
            The model's own; its texts may differ.

        Raises
        ------
        BundleRefused
            If its digest is not this spec's.
        """
        if trained.compute_digest() != self.compute_digest():
            raise BundleRefused(
                "the model was trained on other features than this version of npsrisk computes",
                got=f"spec {trained.compute_digest()[:12]}",
                expected=f"spec {self.compute_digest()[:12]}",
                todo="retrain, or install the version named in the bundle's card",
            )
