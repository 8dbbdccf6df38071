"""The reference profile of a bundle: counts of the traffic of the test period, with which later traffic is compared."""

from typing import Annotated

import msgspec
from msgspec import Meta

from consignments.errors import BundleRefused
from features.spec import Spec
from models.reasons.usual import UsualValues

Count = Annotated[int, Meta(ge=0)]
Counts = list[Count]
MISSING_BIN = -1  # position of the missing values in the counts of a feature: the last


class SourceActivity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The activity of a source of data, for example an office or a carrier: its arrivals, of the quieter half twice."""

    arrivals: Count
    longest_silence_days: Count


class ReferenceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The profile of the traffic of a period, as counts: bin k has values from edge k-1 on and below edge k, the last the missing ones."""

    first_day: str
    days: Annotated[int, Meta(ge=1)]
    capacity: Annotated[int, Meta(ge=1)]
    expected_precision: float | None
    channels: dict[str, Count]
    edges: list[list[float]]
    features: dict[str, list[Counts]]  # by channel, as the next two
    means: dict[str, list[float | None]]
    spreads: dict[str, list[float | None]]
    score_edges: list[float]
    scores: dict[str, Counts]  # by part of the traffic, such as `channel:postal`
    mix: dict[str, dict[str, Count]]  # by column and value
    missing: dict[str, dict[str, Count]]  # by channel and column
    sizes: dict[str, dict[str, list[float]]]
    sources: dict[str, dict[str, SourceActivity]]  # by column and value
    usual: UsualValues

    def require_fit(self, spec: Spec, where: str) -> None:
        """Raise `BundleRefused` if the profile has other features than the spec, or counts that do not fit its edges."""
        bins = [len(edges) + 2 for edges in self.edges]
        tables = [[len(counts) for counts in each] for each in self.features.values()]
        moments = [len(each) for each in (*self.means.values(), *self.spreads.values())]
        scores = [len(counts) for counts in self.scores.values()]
        if (
            len(bins) != len(spec)
            or any(each != bins for each in tables)
            or any(each != len(spec) for each in moments)
            or any(each != len(self.score_edges) + 1 for each in scores)
            or any(not set(spec.names).issuperset(each) for each in self.usual.values())
        ):
            raise BundleRefused(
                "the reference profile does not fit the features", where=where, todo="train the model again"
            )
