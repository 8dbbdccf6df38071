"""The reference: what traffic looked like when a model was judged, as counts, so that later traffic can be held against it.

It is part of the bundle and holds no consignment and nobody's data: how often each feature fell into which bin, how often
codes of offices, carriers and countries came, what was missing, and how sure of itself the model was at capacity.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from consignments.errors import BundleRefused
from features.spec import Spec

Count = Annotated[int, Meta(ge=0)]
Counts = list[Count]
MISSING_BIN = -1
"""Place of the missing values in a feature's counts: the last."""


class SourceActivity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sender of data, as an office or a carrier.

    Attributes
    ----------
    arrivals : int
        Consignments of the whole period.
    longest_silence_days : int
        Most UTC days in a row without one.
    """

    arrivals: Count
    longest_silence_days: Count


class ReferenceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Traffic of a period, in counts.

    Attributes
    ----------
    first_day : str
        ISO 8601, UTC.
    days : int
    capacity : int
        Inspections for each office and UTC day.
    expected_precision : float or None
        Mean score of what capacity takes: the share of finds that calibrated scores promise.
    channels : dict
        Channel to its consignments.
    edges : list of list of float
        For each feature of the spec where its bins part; bin k holds values from edge k-1 on and below edge k.
    features : dict
        Channel to the counts of each feature: one for each bin, and the missing ones last.
    means, spreads : dict
        Channel to each feature's mean and standard deviation over its values; None where it has none.
    score_edges : list of float
    scores : dict
        Part of the traffic, as `channel:postal` or `office:Incheon`, to the counts of its scores.
    mix : dict
        Column to value to consignments; '' is missing.
    missing : dict
        Channel to column to how many consignments lack it.
    sizes : dict
        Part of the traffic to column to its quantiles, see `training.monitoring.traffic_profile.QUANTILES`, of values above zero.
    sources : dict
        Column to value to what came from there.
    medians : list or None
        Each feature's median over its values in all channels, None where it has none; None in bundles of before it was kept.
    channel_medians : dict
        Channel to the medians over its values; empty in bundles of before they were kept.
    """

    first_day: str
    days: Annotated[int, Meta(ge=1)]
    capacity: Annotated[int, Meta(ge=1)]
    expected_precision: float | None
    channels: dict[str, Count]
    edges: list[list[float]]
    features: dict[str, list[Counts]]
    means: dict[str, list[float | None]]
    spreads: dict[str, list[float | None]]
    score_edges: list[float]
    scores: dict[str, Counts]
    mix: dict[str, dict[str, Count]]
    missing: dict[str, dict[str, Count]]
    sizes: dict[str, dict[str, list[float]]]
    sources: dict[str, dict[str, SourceActivity]]
    medians: list[float | None] | None = None
    channel_medians: dict[str, list[float | None]] = {}

    def require_fit(self, spec: Spec, where: str) -> None:
        """Refuse a reference of other features than the spec's, or one whose counts do not fit its edges.

        Raises
        ------
        BundleRefused
        """
        bins = [len(edges) + 2 for edges in self.edges]
        tables = [[len(counts) for counts in each] for each in self.features.values()]
        of_features = [*self.means.values(), *self.spreads.values(), *self.channel_medians.values()]
        if self.medians is not None:
            of_features.append(self.medians)
        moments = [len(each) for each in of_features]
        scores = [len(counts) for counts in self.scores.values()]
        if (
            len(bins) != len(spec)
            or any(each != bins for each in tables)
            or any(each != len(spec) for each in moments)
            or any(each != len(self.score_edges) + 1 for each in scores)
        ):
            raise BundleRefused(
                "a reference that does not fit the features", where=where, todo="train the model again"
            )
