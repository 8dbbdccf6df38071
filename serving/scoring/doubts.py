"""Doubts about a consignment that is scored all the same: of its fields, and of what the reader of its message left out."""

from consignments.doubts import Doubt, correct_consignment
from consignments.messages.quality import QUALITY_CODES
from consignments.records import Consignment

LOSSES = {
    "volume_in_weight_unit": "gross_weight_kg",
    "piece_count_mismatch": "pieces",
    "check_digit": "consignment_id",
    "identifier_missing": "consignment_id",
    "identifier_malformed": "consignment_id",
    "identifier_repeated": "consignment_id",
    "link_unresolved": None,
    "currency_mixed": "declared_value",
    "unit_doubtful": None,
    "number_malformed": None,
    "text_cut": None,
}
"""Quality codes of what was left out or may be wrong, with the field; the other codes say what the sender did not declare."""


def find_doubts(c: Consignment) -> tuple[Consignment, list[Doubt]]:
    """Return a consignment with its countries corrected, and the doubts about it."""
    c, doubts = correct_consignment(c)
    losses = (code for code in c.quality or () if code in LOSSES)
    return c, doubts + [Doubt(code, QUALITY_CODES[code], LOSSES[code]) for code in losses]
