"""Customs office of a consignment by its place of destination, from a table `place,office`.

Messages of air cargo and post name no customs office. The most specific place counts: the end of the route, then the country.
"""

import csv
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from consignments.errors import BadSetting
from consignments.records import Consignment

COLUMNS = ["place", "office"]
MAX_OFFICE_CHARACTERS = 100


class OfficeTable(NamedTuple):
    """The office of each place, in capitals: an airport (IATA), a mail office (IMPC) or a country (ISO 3166-1 alpha-2)."""

    offices: dict[str, str]

    @classmethod
    def read(cls, path: Path, where: str = "NPSRISK_OFFICES_FILE") -> "OfficeTable":
        """Read a CSV file in UTF-8 with the columns `place` and `office`, each place once; `where` is the setting or option that names it."""
        try:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                rows = [[value.strip() for value in row] for row in csv.reader(lines) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _build_fault(where, f"{path}: {getattr(error, 'strerror', None) or error}") from error
        if not rows or rows[0] != COLUMNS:
            raise _build_fault(where, f"{path}: the first line is not place,office")
        found: dict[str, str] = {}
        for number, row in enumerate(rows[1:], start=2):
            if fault := _find_fault(row, found):
                raise _build_fault(where, f"{path} line {number}: {fault}")
            found[row[0].upper()] = row[1]
        return cls(found)

    def find_office(self, c: Consignment) -> str | None:
        """Find the office of a consignment's destination.

        Examples
        --------
        >>> table = OfficeTable({"ICN": "Incheon", "KR": "Seoul"})
        >>> table.find_office(Consignment("180-12345675/A", "air_cargo", route="PVG>ICN", destination_country="KR"))
        'Incheon'
        """
        places = (c.route or "").rpartition(">")[2], c.destination_country or ""
        return next((self.offices[name] for place in places if (name := place.upper()) in self.offices), None)


def complete_office(c: Consignment, office: str | None, table: OfficeTable) -> Consignment:
    """Return a consignment with its own office, else a given one, else that of its destination, if there is any."""
    found = c.office or office or table.find_office(c)
    return c if found in (None, c.office) else structs.replace(c, office=found)


def _find_fault(row: list[str], found: dict[str, str]) -> str | None:
    if len(row) != len(COLUMNS) or not all(row) or not row[1].isprintable():
        return "not a place and an office"
    if len(row[1]) > MAX_OFFICE_CHARACTERS:
        return "an office of more than 100 characters"
    return f"{row[0]} occurs twice" if row[0].upper() in found else None


def _build_fault(where: str, got: str) -> BadSetting:
    what, expected = (
        "the table of offices cannot be used",
        "CSV with the columns place,office, each place once",
    )
    return BadSetting(what, where=where, got=got, expected=expected)
