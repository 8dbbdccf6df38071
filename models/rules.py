"""The rules: points for signs that an officer looks for, a baseline, the prior of the trees, and the order without a model."""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import msgspec
import numpy as np

from features.normalization.normal_forms import DeclaredTexts
from features.spec import Spec
from models.arrays import Bools, Floats, Rows
from models.bands import Bands
from models.calibration import compute_logistics
from models.reasons.ranking import NO_TEXTS, Reason, ReasonRanker


@dataclass(frozen=True)
class Rule:
    """A rule that gives points if a feature reaches a value."""

    feature: str
    at_least: float
    points: float


_TABLE = tomllib.loads(files("models").joinpath("rules.toml").read_text(encoding="utf-8"))
RULES = tuple(Rule(feature, *line) for feature, line in _TABLE.items())
LOG_ODDS_WITHOUT_POINTS = -7.0
LOG_ODDS_PER_POINT = 0.8
POINTS_FOR_HIGH, POINTS_FOR_ELEVATED = 5.0, 3.0


class Rules:
    """The scorer that adds up the points of the rules that hold, with the interface of `RiskModel`."""

    name = "rules"

    def __init__(self, spec: Spec, rules: Sequence[Rule] = RULES) -> None:
        self.spec, self.reasons = spec, ReasonRanker(spec)
        self.bands = Bands(*_to_probabilities(np.array([POINTS_FOR_HIGH, POINTS_FOR_ELEVATED])).tolist())
        self.rules = tuple(rule for rule in rules if rule.feature in spec.names)
        self._places = np.array([spec.get_column(rule.feature) for rule in self.rules], dtype=np.int64)
        self._at_least = np.array([rule.at_least for rule in self.rules])
        self._points = np.array([rule.points for rule in self.rules])

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Compute the points of each row."""
        return np.asarray((self._match_rules(X) * self._points).sum(axis=1))

    def _match_rules(self, X: Rows) -> Bools:
        """Check which rules hold for each row. No rule holds for a missing value."""
        return np.asarray(X[:, self._places] >= self._at_least)

    def score(self, X: Rows, channels: Sequence[str]) -> Floats:  # noqa: ARG002
        """Convert the points to numbers in (0, 1) with the same order. They are not calibrated."""
        return _to_probabilities(self.compute_scores(X))

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


def _to_probabilities(points: Floats) -> Floats:
    return np.asarray(compute_logistics(LOG_ODDS_WITHOUT_POINTS + LOG_ODDS_PER_POINT * points))
