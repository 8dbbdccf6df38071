"""The rules: points for signs that an officer would look for first, a baseline and the prior of the trees.

They also score alone if the service has no model: an order, but no calibrated probability.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.normalization.normal_forms import DeclaredTexts
from features.spec import Spec
from models.bands import Band, Bands
from models.calibration import compute_logistic
from models.reasons.ranking import NO_TEXTS, Reason, ReasonRanker

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Rule:
    """A rule that gives points if a feature reaches a value."""

    feature: str
    at_least: float
    points: float


RULES = tuple(
    Rule(feature, *line)
    for feature, line in tomllib.loads(
        files("models").joinpath("rules.toml").read_text(encoding="utf-8")
    ).items()
)
LOG_ODDS_WITHOUT_POINTS = -7.0
LOG_ODDS_PER_POINT = 0.8
POINTS_FOR_HIGH, POINTS_FOR_ELEVATED = 5.0, 3.0


class Rules:
    """The scorer that adds up the points of the rules that hold, with the interface of `RiskModel`."""

    name = "rules"

    def __init__(self, spec: Spec, rules: Sequence[Rule] = RULES) -> None:
        self.spec, self.reasons = spec, ReasonRanker(spec)
        self.bands = Bands(
            high=_to_probability(POINTS_FOR_HIGH), elevated=_to_probability(POINTS_FOR_ELEVATED)
        )
        self.rules = tuple(rule for rule in rules if rule.feature in spec.names)
        self._places = np.array([spec.get_column(rule.feature) for rule in self.rules], dtype=np.int64)
        self._at_least = np.array([rule.at_least for rule in self.rules])
        self._points = np.array([rule.points for rule in self.rules])

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Compute the points of each row."""
        return np.asarray((self._match_rules(X) * self._points).sum(axis=1))

    def _match_rules(self, X: Rows) -> NDArray[np.bool_]:
        """Check which rules hold for each row. No rule holds for a missing value."""
        reached: NDArray[np.bool_] = X[:, self._places] >= self._at_least
        return reached

    def score(self, X: Rows, channels: Sequence[str]) -> Floats:  # noqa: ARG002
        """Convert the points to numbers in (0, 1) with the same order. They are not calibrated."""
        return np.array([_to_probability(points) for points in self.compute_scores(X).tolist()])

    def assign_bands(self, score: Floats) -> list[Band]:
        """Return the band of each score."""
        return [self.bands.assign(value) for value in score.tolist()]

    def digest(self) -> str:
        """Compute the SHA-256 of the rules, the meaning of their points and the features, as hexadecimal digits."""
        meaning = [LOG_ODDS_WITHOUT_POINTS, LOG_ODDS_PER_POINT, POINTS_FOR_HIGH, POINTS_FOR_ELEVATED]
        rules = [[rule.feature, rule.at_least, rule.points] for rule in self.rules]
        return hashlib.sha256(msgspec.json.encode([rules, meaning, self.spec.compute_digest()])).hexdigest()

    def replace_spec(self, installed: Spec) -> "Rules":
        """Return the same rules with the texts of the installed version's spec."""
        installed.require(self.spec)
        return Rules(installed, self.rules)

    def explain(self, row: Rows, top: int = 3, *, declared: DeclaredTexts = NO_TEXTS) -> list[Reason]:
        """Return the rules that hold. Rules of one theme are added up."""
        holds = self._match_rules(row[None])[0]
        contributions = np.zeros(len(self.spec))
        np.add.at(contributions, self._places, holds * self._points * LOG_ODDS_PER_POINT)
        return self.reasons.rank(row, contributions, top, declared=declared)


def _to_probability(points: float) -> float:
    return compute_logistic(LOG_ODDS_WITHOUT_POINTS + LOG_ODDS_PER_POINT * points)
