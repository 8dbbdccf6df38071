"""Disagreement report: compares the scores of a challenger in shadow with the champion's for the same consignments.

Results are known only for inspected consignments, and most of these were selected by the champion. So counts of
detections favour the champion, and the report states this. `npsrisk compare` corrects for it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pandas as pd

from consignments.records import Consignment, Target
from consignments.visibility import list_positive_results
from serving.event_log.event_codec import EventCodec
from serving.event_log.reader import LogReader
from serving.shadow.challenger import ShadowCounters, ShadowScore
from serving.state.consignment_states import rank_outcome

BANDS = ("high", "elevated", "routine")
TOP_SHARES = (0.001, 0.01, 0.05)
MAX_EXAMPLES = 10
EXCLUDED_RESULTS = (None, "pending")
BOTH, CHAMPION_ALONE, CHALLENGER_ALONE = "both", "champion alone", "challenger alone"


class CapacityOverlap(msgspec.Struct):
    """The overlap of the riskiest decisions of both models: those of each, those in common, and results by part."""

    share: float
    taken: int
    common: int
    opened: dict[str, int]
    found: dict[str, int]

    def to_text(self) -> str:
        """Format the overlap as text."""
        known = ", ".join(f"{part} {count:,} ({self.found[part]:,})" for part, count in self.opened.items())
        return (
            f"riskiest {self.share:.1%} ({self.taken:,} decisions): {self.common:,} in common; "
            f"inspected with a result (of these detections): {known}"
        )


class DisagreementReport(msgspec.Struct):
    """The disagreement of a challenger with the models that decided; `bands` counts by band of the champion, then the challenger."""

    challenger: str
    target: Target
    tally: ShadowCounters
    champions: dict[str, int] = {}
    decisions: int = 0
    first: str = ""
    last: str = ""
    bands: dict[str, dict[str, int]] = {}
    rank_correlation: float | None = None
    capacities: list[CapacityOverlap] = []
    examples: list[ShadowScore] = []

    @property
    def other_band(self) -> int:
        """Return the number of decisions that the challenger would have put into another band."""
        return sum(count for mine, row in self.bands.items() for other, count in row.items() if mine != other)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain | {"other_band": self.other_band}

    def to_text(self) -> str:
        """Format the report as text."""
        t = self.tally
        lines = [
            f"{self.challenger} in shadow: {t.scored:,} decisions scored, {t.failed:,} failed, {t.unfit:,} without content"
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
            *(each.to_text() for each in self.capacities),
            "detections favour the champion, which selected most inspections; npsrisk compare corrects for it",
            *(
                f"  {each.decision_id} of {each.consignment_id}: {each.champion_score:.4f} {each.champion_band}, "
                f"challenger {each.score:.4f} {each.band}"
                for each in self.examples
            ),
        ]
        return "\n".join(lines)


def measure_disagreement(
    log: LogReader, challenger: str, target: Target, tally: ShadowCounters, opinions: Sequence[ShadowScore]
) -> DisagreementReport:
    """Compare the scores of a challenger with those of the champion for some decisions of a log, in order."""
    found = DisagreementReport(challenger, target, tally)
    if not opinions:
        return found
    rows = pd.DataFrame(map(msgspec.structs.astuple, opinions), columns=ShadowScore.__struct_fields__)
    counts = Counter(zip(rows["champion_band"], rows["band"], strict=True))
    ranks = rows[["champion_score", "score"]].rank()
    # Highest first; of equal scores the earlier one first.
    places = (-rows[["champion_score", "score"]]).rank(method="first").to_numpy()
    # NaN without a result
    positive = rows["consignment_id"].map(_load_results(log, target)).astype("float64")
    found.champions = dict(Counter(rows["champion"]).most_common())
    found.decisions = len(rows)
    found.first, found.last = (opinions[end].scored_at.isoformat() for end in (0, -1))
    found.bands = {band: {other: counts[band, other] for other in BANDS} for band in BANDS}
    if (ranks.nunique() > 1).all():
        found.rank_correlation = float(ranks["champion_score"].corr(ranks["score"]))
    for share in TOP_SHARES:
        count = max(1, round(share * len(rows)))
        champion, mine = (places <= count).T
        parts = {
            BOTH: positive[champion & mine],
            CHAMPION_ALONE: positive[champion & ~mine],
            CHALLENGER_ALONE: positive[mine & ~champion],
        }
        opened = {part: int(results.count()) for part, results in parts.items()}
        detected = {part: int(results.sum()) for part, results in parts.items()}
        found.capacities.append(CapacityOverlap(share, count, len(parts[BOTH]), opened, detected))
    apart = pd.Series(abs(places[:, 0] - places[:, 1])).sort_values(ascending=False, kind="stable")
    found.examples = [opinions[at] for at in apart[apart > 0].index[:MAX_EXAMPLES]]
    return found


def _load_results(log: LogReader, target: Target) -> dict[str, bool]:
    """Read for each consignment with a final result whether it is positive."""
    codec, positive = EventCodec(None, Consignment, ()), list_positive_results(target)
    standing: dict[str, tuple[tuple[int, int, int], str | None]] = {}
    for event in log.read_events(kinds=("outcome",)):
        name, ranked = event.consignment_id or "", rank_outcome(codec.outcomes.decode(event), event)
        standing[name] = max(ranked, standing.get(name, ranked))
    final = {name: result for name, (_, result) in standing.items() if result not in EXCLUDED_RESULTS}
    return {name: result in positive for name, result in final.items()}
