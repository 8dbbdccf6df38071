"""Quality codes of messages as features: a flag for each code, and their number.

A consignment that came as a table has no reader and no codes: its flags are missing, not false.
"""

from math import nan

from consignments.messages.quality import QUALITY_CODES
from consignments.records import Consignment
from features.table import read_group

_QUALITY = read_group("quality.")
QUALITY_FEATURES = _QUALITY.features
_NOT_JUDGED = (nan,) * len(QUALITY_FEATURES)
_NO_CODES = dict.fromkeys(("codes", *QUALITY_CODES), 0.0)


def compute_quality_values(c: Consignment) -> tuple[float, ...]:
    """Compute the number of codes and their flags, NaN if no reader judged the message."""
    if c.quality is None and c.level is None and c.issued_at is None:
        return _NOT_JUDGED
    found = frozenset(c.quality or ())
    known = {code: 1.0 for code in found if code in QUALITY_CODES}
    return _QUALITY.arrange({**_NO_CODES, **known, "codes": float(len(found))})
