"""Disagreement report: compares the scores of a challenger in shadow mode with the champion's for the same consignments.

Results are known only for inspected consignments, and most of these were selected by the champion. So counts of
detections favour the champion, and the report states this. `npsrisk compare` corrects for it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Consignment, Target
from consignments.timestamps import to_datetime
from consignments.visibility import list_positive_results
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import OutcomeEvent
from serving.event_log.reader import LogReader
from serving.shadow.store import Challenger, ShadowCounters, ShadowLog, ShadowScore
from serving.state.consignment_states import rank_outcome

BANDS = ("high", "elevated", "routine")
TOP_SHARES = (0.001, 0.01, 0.05)
"""Shares of the riskiest decisions that are compared."""
MAX_EXAMPLES = 10
MAX_TIME_US = 2**63 - 1
EXCLUDED_RESULTS = (None, "pending")
PARTS = BOTH, _, _ = "both", "champion alone", "challenger alone"
Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class CapacityOverlap(NamedTuple):
    """The overlap of the riskiest decisions of champion and challenger.

    Attributes
    ----------
    share : float
        Share of all decisions, 0 to 1.
    taken : int
        Number of riskiest decisions of each model.
    common : int
        Number of these that both models have in common.
    opened, found : dict
        Number of inspected consignments with a final result, and of detections among them, for each of `both`,
        `champion alone` and `challenger alone`.
    """

    share: float
    taken: int
    common: int
    opened: dict[str, int]
    found: dict[str, int]


class DisagreementExample(NamedTuple):
    """A decision on which champion and challenger differ much.

    Attributes
    ----------
    decision_id, consignment_id : str
    champion_score, score : float
    champion_band, band : str
    """

    decision_id: str
    consignment_id: str
    champion_score: float
    champion_band: str
    score: float
    band: str


@dataclass
class DisagreementReport:
    """The disagreement report of a challenger.

    Attributes
    ----------
    challenger, target : str
    champions : dict
        Number of decisions of each model that decided.
    decisions : int
        Number of decisions that both models scored in the period.
    first, last : str
        Time of the first and the last of these decisions; empty if there is none.
    tally : ShadowCounters
        Counts since the challenger started.
    bands : dict
        Number of decisions by the champion's band, then by the challenger's band.
    rank_correlation : float or None
        Spearman correlation of both scores; None if one of them is constant.
    capacities : list of CapacityOverlap
    examples : list of DisagreementExample
        Decisions with the largest difference in rank.
    """

    challenger: str
    target: Target
    tally: ShadowCounters
    champions: dict[str, int] = field(default_factory=dict)
    decisions: int = 0
    first: str = ""
    last: str = ""
    bands: dict[str, dict[str, int]] = field(default_factory=dict)
    rank_correlation: float | None = None
    capacities: list[CapacityOverlap] = field(default_factory=list)
    examples: list[DisagreementExample] = field(default_factory=list)

    @property
    def other_band(self) -> int:
        """Return the number of decisions that the challenger would have put into another band."""
        return sum(count for mine, row in self.bands.items() for other, count in row.items() if mine != other)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {
            "other_band": self.other_band,
            "tally": msgspec.structs.asdict(self.tally),
            "capacities": [each._asdict() for each in self.capacities],
            "examples": [each._asdict() for each in self.examples],
        }

    def to_text(self) -> str:
        """Format the report as text."""
        t = self.tally
        lines = [
            f"{self.challenger} in shadow mode: {t.scored:,} decisions scored since it started, {t.dropped:,} log entries "
            f"skipped, {t.failed:,} failed, {t.unfit:,} with other history keys"
        ]
        if not self.decisions:
            return "\n".join([*lines, "No decisions in this period"])
        champions = ", ".join(f"{name} ({count:,})" for name, count in self.champions.items())
        correlation = (
            "not defined: one of the scores is constant"
            if self.rank_correlation is None
            else f"{self.rank_correlation:.3f} (Spearman)"
        )
        lines += [
            f"{self.decisions:,} decisions from {self.first} to {self.last}, compared with {champions}",
            f"another band: {self.other_band:,} ({self.other_band / self.decisions:.2%}); rank correlation: {correlation}",
            "champion \\ challenger " + "".join(f"{band:>10}" for band in BANDS),
            *(
                f"{mine:>21} " + "".join(f"{self.bands[mine][other]:>10,}" for other in BANDS)
                for mine in BANDS
            ),
            *(_format_capacity(each) for each in self.capacities),
            "detections favour the champion, which selected most inspections; npsrisk compare corrects for it",
            *(
                f"  {each.decision_id} of {each.consignment_id}: {each.champion_score:.4f} {each.champion_band}, "
                f"challenger {each.score:.4f} {each.band}"
                for each in self.examples
            ),
        ]
        return "\n".join(lines)


def measure_disagreement(
    log: LogReader, shadow_log: ShadowLog, model: str | None, from_us: int, until_us: int
) -> DisagreementReport:
    """Compare the scores of a challenger with those of the champion.

    Parameters
    ----------
    log : LogReader
    shadow_log : ShadowLog
    model : str or None
        `NAME/VERSION` of the challenger; None for the latest one.
    from_us, until_us : int
        Period in which the decisions were made, in microseconds since the epoch; `until_us` is excluded.

    Raises
    ------
    BadInput
        No such challenger ever scored.
    ServiceFault
        One of the logs cannot be read.
    """
    challenger = _challenger(shadow_log, model)
    opinions = shadow_log.read_scores(challenger.number, from_us, until_us)
    found = DisagreementReport(challenger.model, challenger.target, challenger.tally)
    if not opinions:
        return found
    theirs, mine = (
        np.array([getattr(each, name) for each in opinions]) for name in ("champion_score", "score")
    )
    places = _rank_positions(theirs), _rank_positions(mine)
    found.champions = dict(Counter(each.champion for each in opinions).most_common())
    found.decisions = len(opinions)
    found.first, found.last = (to_datetime(opinions[end].scored_us).isoformat() for end in (0, -1))
    counts = Counter((each.champion_band, each.band) for each in opinions)
    found.bands = {band: {other: counts[band, other] for other in BANDS} for band in BANDS}
    found.rank_correlation = _correlation(theirs, mine)
    found.capacities = _capacities(opinions, places, _load_results(log, challenger.target))
    found.examples = _examples(log, opinions, places)
    return found


def _challenger(shadow_log: ShadowLog, model: str | None) -> Challenger:
    known = shadow_log.list_challengers()
    mine = [each for each in known if model in (None, each.model)]
    if not mine:
        raise BadInput(
            "no such challenger ever scored in shadow mode",
            where=str(shadow_log.path),
            got=model or "",
            expected=", ".join(each.model for each in known),
            todo="set NPSRISK_SHADOW_MODEL and run npsrisk publish, with the service running",
        )
    return mine[-1]


def _rank_positions(scores: Floats) -> Places:
    """Compute the position of each score, highest first; of equal scores the earlier one first."""
    places = np.empty(len(scores), dtype=np.int64)
    places[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return places


def _correlation(a: Floats, b: Floats) -> float | None:
    ranks = [_mean_ranks(each) for each in (a, b)]
    if any(np.ptp(each) == 0 for each in ranks):
        return None
    return float(np.corrcoef(np.stack(ranks)).ravel()[1])


def _mean_ranks(values: Floats) -> Floats:
    """Compute ranks; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def _load_results(log: LogReader, target: Target) -> dict[str, bool]:
    """Read for each consignment with a final result whether it is positive."""
    entries, standing = (
        EventCodec(None, Consignment, ()),
        dict[str, tuple[tuple[int, int, int], str | None]](),
    )
    for event in log.read_events(kinds=("outcome",)):
        assert isinstance(event, OutcomeEvent)
        outcome = entries.decode_outcome(event)
        stands = rank_outcome(outcome, event)
        known = standing.get(outcome.consignment_id)
        if known is None or stands[0] > known[0]:
            standing[outcome.consignment_id] = stands
    positive = list_positive_results(target)
    return {
        name: result in positive for name, (_, result) in standing.items() if result not in EXCLUDED_RESULTS
    }


def _capacities(
    opinions: Sequence[ShadowScore], places: tuple[Places, Places], results: dict[str, bool]
) -> list[CapacityOverlap]:
    """Compare the riskiest decisions of both models, and the detections among them."""
    names = [each.consignment_id for each in opinions]
    found = []
    for share in TOP_SHARES:
        count = max(1, round(share * len(opinions)))
        champion, challenger = places[0] < count, places[1] < count
        parts = dict(
            zip(PARTS, (champion & challenger, champion & ~challenger, challenger & ~champion), strict=True)
        )
        known = {
            part: [results.get(names[at]) for at in np.flatnonzero(rows)] for part, rows in parts.items()
        }
        found.append(
            CapacityOverlap(
                share,
                count,
                int(parts[BOTH].sum()),
                opened={part: sum(result is not None for result in known[part]) for part in PARTS},
                found={part: sum(result is True for result in known[part]) for part in PARTS},
            )
        )
    return found


def _examples(
    log: LogReader, opinions: Sequence[ShadowScore], places: tuple[Places, Places]
) -> list[DisagreementExample]:
    apart = np.argsort(-np.abs(places[0] - places[1]), kind="stable")[:MAX_EXAMPLES]
    return [
        DisagreementExample(
            log.format_decision_id(each.sequence),
            each.consignment_id,
            each.champion_score,
            each.champion_band,
            each.score,
            each.band,
        )
        for each in (opinions[at] for at in apart.tolist() if places[0][at] != places[1][at])
    ]


def _format_capacity(capacity: CapacityOverlap) -> str:
    known = ", ".join(f"{part} {capacity.opened[part]:,} ({capacity.found[part]:,})" for part in PARTS)
    return (
        f"riskiest {capacity.share:.1%} ({capacity.taken:,} decisions): {capacity.common:,} in common; "
        f"inspected with a result (of these detections): {known}"
    )
