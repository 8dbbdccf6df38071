"""Waybills of air cargo, whatever the format of their message: houses, direct waybills, and masters of consolidations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from consignments.messages.air.customs_notes import CustomsNote, decode_notes
from consignments.messages.air.journeys import looks_consolidated
from consignments.messages.content.values import Doubts, Fields
from consignments.messages.parsed import MASTER_FIELDS, Declaration, Level, MasterDetails, Purpose

NOTES_FIRST = ("account_id", "payment")
"""Columns of which a customs note says more than the waybill itself."""


class Header(NamedTuple):
    """Header of a message; `type_code` is UN/EDIFACT 1001: 740 direct waybill, 741 master, 703 house, 785 house manifest, 962 status."""

    type_code: str | None = None
    issued_at: datetime | None = None
    purpose: Purpose = "create"
    sender: str | None = None


@dataclass
class Waybill:
    """The facts that a message has of one waybill."""

    header: Header
    level: Level
    place: str = "waybill"
    partial: bool = False
    fields: Fields = field(default_factory=dict)
    extras: dict[str, str] = field(default_factory=dict)
    doubts: Doubts = field(default_factory=Doubts)

    def add_notes(self, notes: Sequence[CustomsNote]) -> None:
        """Add what customs notes say, after all that the waybill says itself."""
        decoded = decode_notes(notes, self.doubts)
        for name, value in decoded.fields.items():
            if name in NOTES_FIRST or not self.fields.get(name):
                self.fields[name] = value
        if not self.fields.get("account_id"):
            self.fields["account_id"] = decoded.extras.get("account_name")
        self.extras = decoded.extras

    def build(self) -> Declaration | MasterDetails:
        """Make a declaration of a house or a direct waybill, and the details of a master."""
        fields = {name: value for name, value in self.fields.items() if value is not None}
        fields["channel"] = "air_cargo"
        if self.level == "direct" and looks_consolidated(fields.get("description")):
            self.doubts.add("consolidation_undeclared")
        _, issued_at, purpose, _ = self.header
        declaration = Declaration(
            fields, issued_at, self.level, purpose, self.doubts, self.place, self.partial, self.extras
        )
        if self.level != "master":
            return declaration
        details = {name: fields[name] for name in MASTER_FIELDS if name in fields}
        return MasterDetails(fields["consignment_id"], details, issued_at, declaration)


def flag_piece_counts(houses: Sequence[Waybill], total: float | None, *, complete: bool) -> None:
    """Flag houses whose pieces together are not those of their master; a list that need not be complete may have fewer."""
    counts = [house.fields["pieces"] for house in houses]
    given = [count for count in counts if count is not None]
    all_given = complete and len(given) == len(counts)
    if total is not None and (sum(given) > total or (all_given and sum(given) != total)):
        for house in houses:
            house.doubts.add("piece_count_mismatch")
