"""Quality codes of messages as features: a flag for each code, and their number.

A consignment that came as a table has no reader and no codes: its flags are missing, not false.
"""

from functools import lru_cache
from math import nan

from consignments.messages.quality import QUALITY_CODES
from consignments.records import Consignment
from features.normalization.normal_forms import NormalForms
from features.spec import Feature

CODES = tuple(QUALITY_CODES)
CACHE_SIZE = 1 << 12


class QualityFeatures:
    """Features of the quality codes."""

    features = (
        Feature("quality.codes", "count", "data_quality"),
        *(Feature(f"quality.{code}", "flag", "data_quality") for code in CODES),
    )

    def compute(self, c: Consignment, forms: NormalForms) -> tuple[float, ...]:  # noqa: ARG002
        """Compute one number for each feature, NaN if no reader judged the message."""
        if c.quality is None and c.level is None and c.issued_at is None:
            return NOT_JUDGED
        return _count_codes(c.quality or ())


NOT_JUDGED = (nan,) * len(QualityFeatures.features)


@lru_cache(maxsize=CACHE_SIZE)
def _count_codes(codes: tuple[str, ...]) -> tuple[float, ...]:
    found = frozenset(codes)
    return (float(len(found)), *(float(code in found) for code in CODES))
