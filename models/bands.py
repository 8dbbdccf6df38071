"""Risk bands: cut-offs on the probability. Each band has a fixed share of all traffic."""

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from consignments.errors import BadInput
from models.arrays import Floats

Band = Literal["high", "elevated", "routine"]
HIGH_SHARE = 0.005  # share of validation traffic that is `high`
ELEVATED_SHARE = 0.02  # share of validation traffic, next below `high`, that is `elevated`


class Bands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cut-offs on the probability. A score that reaches a cut-off is in its band."""

    high: Annotated[float, Meta(ge=0)]
    elevated: Annotated[float, Meta(ge=0)]

    def assign(self, score: float) -> Band:
        """Return the band of one score."""
        if score >= self.high:
            return "high"
        return "elevated" if score >= self.elevated else "routine"

    def assign_all(self, scores: Floats) -> list[Band]:
        """Return the band of each score."""
        return [self.assign(score) for score in scores.tolist()]

    @classmethod
    def from_scores(cls, scores: Floats) -> "Bands":
        """Compute the cut-offs so that at most `HIGH_SHARE` of the traffic is high, and so on. Ties stay below."""
        if not len(scores):
            what = "there is no traffic to compute the bands from"
            raise BadInput(what, where="later rows", todo="use a longer period")
        falling = np.sort(scores)[::-1]
        shares = HIGH_SHARE, HIGH_SHARE + ELEVATED_SHARE
        # Just above the first score that exceeds the share.
        high, elevated = (float(np.nextafter(falling[int(share * len(falling))], 2.0)) for share in shares)
        return cls(high=high, elevated=elevated)
