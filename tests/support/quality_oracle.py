"""The flags of quality codes in plain Python: the oracle of the kernel in `features.quality`."""

from math import nan

from consignments.messages.quality import QUALITY_CODES
from consignments.records import Consignment
from features.normalization.normal_forms import NormalForms
from features.quality import QUALITY_FEATURES


class QualityFeatures:
    """Features of the quality codes."""

    features = QUALITY_FEATURES

    def compute(self, c: Consignment, forms: NormalForms) -> tuple[float, ...]:
        """Compute one number for each feature, NaN if no reader judged the message."""
        if c.quality is None and c.level is None and c.issued_at is None:
            return (nan,) * len(QUALITY_FEATURES)
        found = frozenset(c.quality or ())
        return (float(len(found)), *(float(code in found) for code in QUALITY_CODES))
