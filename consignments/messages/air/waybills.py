"""Waybills of air cargo, whatever the format of their message: houses, direct waybills, and masters of consolidations."""

from collections.abc import Sequence

from consignments.messages.air.customs_notes import CustomsNote, decode_notes
from consignments.messages.air.journeys import looks_consolidated
from consignments.messages.parsed import MASTER_FIELDS, Declaration, MasterDetails

NOTES_FIRST = ("account_id", "payment")
"""Columns of which a customs note says more than the waybill itself."""


def add_notes(waybill: Declaration, notes: Sequence[CustomsNote]) -> None:
    """Add what customs notes say, after all that the waybill says itself."""
    decoded, waybill.extras = decode_notes(notes, waybill.doubts)
    for name, value in decoded.items():
        if name in NOTES_FIRST or not waybill.fields.get(name):
            waybill.fields[name] = value
    if not waybill.fields.get("account_id"):
        waybill.fields["account_id"] = waybill.extras.get("account_name")


def finish_waybill(waybill: Declaration) -> Declaration | MasterDetails:
    """Return a house or a direct waybill without empty fields, and the details of a master."""
    fields = {name: value for name, value in waybill.fields.items() if value is not None}
    waybill.fields = fields | {"channel": "air_cargo"}
    if waybill.level == "direct" and looks_consolidated(fields.get("description")):
        waybill.doubts.add("consolidation_undeclared")
    if waybill.level != "master":
        return waybill
    details = {name: fields[name] for name in MASTER_FIELDS if name in fields}
    return MasterDetails(fields["consignment_id"], details, waybill.issued_at, waybill)


def flag_piece_counts(houses: Sequence[Declaration], total: float | None, *, complete: bool) -> None:
    """Flag houses whose pieces together are not those of their master; a list that need not be complete may have fewer."""
    counts = [house.fields["pieces"] for house in houses]
    given = [count for count in counts if count is not None]
    all_given = complete and len(given) == len(counts)
    if total is not None and (sum(given) > total or (all_given and sum(given) != total)):
        for house in houses:
            house.doubts.add("piece_count_mismatch")
