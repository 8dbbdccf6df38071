"""Baselines: what a model must beat. Random order, a table of rules, the best single feature, logistic regression.

The rules also score alone where the service has no model; what they give then is an order, not a calibrated
probability.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.spec import Spec
from models.calibration import logistic
from models.linear import LogisticRegression, thinned
from models.reasons import Reason, reason_text
from models.risk_model import Band, Bands

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

LARGEST = float(np.finfo(np.float32).max)
BELOW_ALL = -1e39
"""Where a missing value ranks: below every float32."""


class Baseline(Protocol):
    """Something that puts consignments in an order.

    Attributes
    ----------
    name : str
    """

    @property
    def name(self) -> str:
        """Its name in tables and metrics."""

    def scores(self, X: Rows, consignment_ids: Sequence[str]) -> Floats:
        """Give a number for each row, the higher, the riskier; not NaN.

        Parameters
        ----------
        X : float32 array, (n, features)
        consignment_ids : sequence of str, (n,)
        """


def fit_baselines(
    X: Rows, y: NDArray[Any], weight: Floats, spec: Spec, *, seed: int = 1
) -> tuple[Baseline, ...]:
    """Fit all baselines on the training rows.

    Parameters
    ----------
    X : float32 array, (n, features)
    y : array, (n,)
        1 positive, 0 negative; both occur.
    weight : float64 array, (n,)
    spec : Spec
    seed : int
    """
    X, y, weight = thinned(X, np.asarray(y, dtype=np.float64), np.asarray(weight, dtype=np.float64))
    return (
        RandomOrder(seed),
        Rules(spec),
        BestFeature.fit(X, y, weight, spec),
        LogisticRegression.fit(X, y, weight),
    )


@dataclass(frozen=True)
class RandomOrder:
    """A lot for each identifier."""

    seed: int
    name: str = "random"

    def scores(self, X: Rows, consignment_ids: Sequence[str]) -> Floats:  # noqa: ARG002
        """Give each identifier a number in [0, 1), always the same."""
        return np.array([self._lot(name) for name in consignment_ids], dtype=np.float64)

    def _lot(self, consignment_id: str) -> float:
        digest = hashlib.blake2b(f"{self.seed}\n{consignment_id}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53


@dataclass(frozen=True)
class Rule:
    """Points for a feature that reaches a value.

    Attributes
    ----------
    features : str
        Name of a feature, or a pattern of names (`*`): one that reaches the value is enough, more count once.
    at_least : float
    points : float
    one_in : float, optional
        The feature counts finds of a key of history: it holds as long as at least one in so many of the key's
        consignments was one, as a watch list strikes off who would fire on everything.
    """

    features: str
    at_least: float
    points: float
    one_in: float | None = None


STRUCK_OFF_BEYOND = 25
"""Consignments to a find, beyond which the sender, address or phone of earlier finds is no longer watched."""
RULES = (
    Rule("history.sender*.nps_ever", 1, 5, STRUCK_OFF_BEYOND),
    Rule("history.consignee*.nps_ever", 1, 5, STRUCK_OFF_BEYOND),
    Rule("history.account.nps_ever", 1, 5, STRUCK_OFF_BEYOND),
    Rule("history.sender*.any_offence_ever", 1, 2, STRUCK_OFF_BEYOND),
    Rule("history.consignee*.any_offence_ever", 1, 2, STRUCK_OFF_BEYOND),
    Rule("history.product_route.nps_365d", 3, 1),
    Rule("goods.names_specific", 1, 5),
    Rule("goods.names_class", 1, 4),
    Rule("goods.names_disguised", 1, 3),
    Rule("goods.context_supported", 1, 2),
    Rule("goods.names_medicine", 1, 1),
    Rule("goods.cas_numbers", 1, 2),
    Rule("goods.unknown_chemical", 1, 2),
    Rule("goods.pretext_words", 1, 2),
    Rule("goods.hs_typical", 1, 1),
    Rule("goods.hs_cover", 1, 0.5),
    Rule("goods.hs_text_mismatch", 1, 1),
    Rule("goods.vague_whole", 1, 1),
    Rule("alerts.party", 1, 4),
    Rule("alerts.goods", 1, 2),
    Rule("alerts.route", 1, 0.5),
    Rule("parties.chemical_to_person", 1, 2),
    Rule("parties.*_email_untraceable", 1, 1),
    Rule("parties.*_virtual_office", 1, 0.5),
    Rule("parties.consignee_post_box", 1, 0.5),
    Rule("parties.*_name_invalid", 1, 1),
    Rule("parties.sender_missing", 4, 0.5),
    Rule("parties.consignee_missing", 4, 0.5),
    Rule("history.sender.new", 1, 0.5),
    Rule("history.consignee_address.counterparts", 5, 1),
    Rule("route.departure_is_hub", 1, 0.5),
    Rule("route.check_digit_wrong", 1, 1),
    Rule("value.zero_or_one", 1, 0.5),
)
"""What an officer would look for first: earlier finds, names of substances, warnings, then what does not fit."""

LOG_ODDS_WITHOUT_POINTS = -7.0
LOG_ODDS_PER_POINT = 0.8
POINTS_FOR_HIGH, POINTS_FOR_ELEVATED = 5.0, 3.0


class Rules:
    """Add up the points of the rules that hold.

    It has the face of `RiskModel`, so that the service can score with it where there is no model.

    Parameters
    ----------
    spec : Spec
        The features of the rows; a rule whose features are not there never holds.
    rules : sequence of Rule
    """

    name = "rules"

    def __init__(self, spec: Spec, rules: Sequence[Rule] = RULES) -> None:
        self.spec = spec
        self.bands = Bands(
            high=_as_probability(POINTS_FOR_HIGH), elevated=_as_probability(POINTS_FOR_ELEVATED)
        )
        columns = [(rule, matching(spec, rule)) for rule in rules]
        self._rules = [(rule, np.array(places)) for rule, places in columns if places]
        pairs = [(rule, int(place)) for rule, places in self._rules for place in places]
        self._columns = np.array([place for _, place in pairs], dtype=np.int64)
        self._at_least = np.array([rule.at_least for rule, _ in pairs])
        self._first = np.cumsum([0, *(len(places) for _, places in self._rules)])[:-1]
        self._points = np.array([rule.points for rule, _ in self._rules])
        self._volumes = np.array([_volume(spec, place) if rule.one_in else place for rule, place in pairs])
        self._one_in = np.array([rule.one_in or 1.0 for rule, _ in pairs])

    def scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Give the points of each row."""
        if not self._rules:
            return np.zeros(len(X))
        reached = np.logical_or.reduceat(self._reached(X), self._first, axis=1)
        return np.asarray((reached * self._points).sum(axis=1))

    def _reached(self, X: Rows) -> NDArray[np.bool_]:
        """Tell which features of each row reach their values, and are not struck off."""
        values = X[:, self._columns]
        reached: NDArray[np.bool_] = (values >= self._at_least) & ~(
            values * self._one_in < X[:, self._volumes]
        )
        return reached

    def score(self, X: Rows, channels: Sequence[str]) -> Floats:  # noqa: ARG002
        """Give the points as numbers in (0, 1), in the same order; they are not calibrated."""
        return np.array([_as_probability(points) for points in self.scores(X).tolist()])

    def score_row(self, row: Rows, channel: str) -> float:
        """Give the number of one row, float32 (features,), to the bits of `score`."""
        return float(self.score(row[None, :], [channel])[0])

    def bands_of(self, score: Floats) -> list[Band]:
        """Give the band of each score."""
        return [self.bands.of(value) for value in score.tolist()]

    def digest(self) -> str:
        """Give the SHA-256 of the rules, of what their points mean and of the features, as hexadecimal digits."""
        meaning = [LOG_ODDS_WITHOUT_POINTS, LOG_ODDS_PER_POINT, POINTS_FOR_HIGH, POINTS_FOR_ELEVATED]
        rules = [[rule.features, rule.at_least, rule.points] for rule, _ in self._rules]
        return hashlib.sha256(msgspec.json.encode([rules, meaning, self.spec.digest()])).hexdigest()

    def explain(self, row: Rows, top: int = 3) -> list[Reason]:
        """Give the rules that hold, the one with most points first; those of one meaning are added up."""
        told: dict[str, Reason] = {}
        reached = np.split(self._reached(row[None])[0], self._first[1:]) if self._rules else []
        holds = zip(self._rules, reached, strict=True)
        for (rule, columns), held in sorted(holds, key=lambda pair: -pair[0][0].points):
            holding = columns[held]
            if not len(holding):
                continue
            place = int(holding[np.argmax(row[holding])])
            feature = self.spec.features[place]
            before = told.get(feature.reason)
            text = before.text if before else reason_text(feature, float(row[place]))
            points = rule.points * LOG_ODDS_PER_POINT + (before.contribution if before else 0.0)
            told[feature.reason] = Reason(feature.reason, text, points)
        return sorted(told.values(), key=lambda reason: (-reason.contribution, reason.code))[:top]


def matching(spec: Spec, rule: Rule) -> list[int]:
    """List the columns of the features that a rule looks at."""
    return [place for place, name in enumerate(spec.names) if fnmatchcase(name, rule.features)]


def _volume(spec: Spec, place: int) -> int:
    """Give the column of how many consignments the key of a reading had."""
    key, _ = spec.names[place].rsplit(".", 1)
    return spec.place(f"{key}.arrivals_ever")


def _as_probability(points: float) -> float:
    return logistic(LOG_ODDS_WITHOUT_POINTS + LOG_ODDS_PER_POINT * points)


@dataclass(frozen=True)
class BestFeature:
    """The one feature, up or down, that orders the training rows best.

    Attributes
    ----------
    feature : str
    column : int
    sign : float
        1 where high values are risky, -1 where low ones are.
    """

    feature: str
    column: int
    sign: float
    name: str = "best_feature"

    @classmethod
    def fit(cls, X: Rows, y: Floats, weight: Floats, spec: Spec) -> "BestFeature":
        """Choose by average precision; of equals the first in the row, upwards before downwards."""
        reached = [
            (average_precision(_ranked(X[:, column], sign), y, weight), -column, sign)
            for column in range(X.shape[1])
            for sign in (1.0, -1.0)
        ]
        _, column, sign = max(reached)
        return cls(spec.names[-column], -column, sign)

    def scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Give the values of the feature; missing ones come last."""
        return _ranked(X[:, self.column], self.sign)


def average_precision(score: Floats, y: Floats, weight: Floats) -> float:
    """Give the weighted average precision; rows with one score are taken together."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    found, opened = np.cumsum((weight * y)[order])[ends], np.cumsum(weight[order])[ends]
    precision = np.divide(found, opened, out=np.zeros(len(ends)), where=opened > 0)
    return float(np.sum(np.diff(found, prepend=0.0) * precision) / found[-1])


def _ranked(values: Rows, sign: float) -> Floats:
    within = np.clip(sign * values.astype(np.float64), -LARGEST, LARGEST)
    return np.nan_to_num(within, nan=BELOW_ALL)
