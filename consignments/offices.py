"""Customs office of a consignment by its place of destination, from a table `place,office`.

Messages of air cargo and post name no customs office. The most specific place counts: the end of the route, then the country.
"""

import csv
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from consignments.errors import BadSetting
from consignments.records import TEXT_LIMITS, Consignment

COLUMNS = ["place", "office"]
MAX_OFFICE_CHARACTERS = TEXT_LIMITS[Consignment]["office"]


class OfficeTable(NamedTuple):
    """The office of each place, in capitals: an airport (IATA), a mail office (IMPC) or a country (ISO 3166-1 alpha-2)."""

    offices: dict[str, str]

    @classmethod
    def read(cls, path: Path, where: str = "NPSRISK_OFFICES_FILE") -> "OfficeTable":
        """Read a CSV file with the columns `place` and `office`; `where` is the setting or option that names it."""
        found: dict[str, str] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                rows = [[value.strip() for value in row] for row in csv.reader(lines) if row]
            fault = "" if rows[:1] == [COLUMNS] else ": the first line is not place,office"
            for number, row in enumerate(rows[1:], start=2):
                fault = fault or _find_fault(row, found, number)
                found[row[0].upper()] = row[-1]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            fault = f": {getattr(error, 'strerror', None) or error}"
        if fault:
            raise BadSetting(
                "the table of offices cannot be used",
                where=where,
                got=f"{path}{fault}",
                expected="CSV with the columns place,office, each place once",
            )
        return cls(found)

    def find_office(self, c: Consignment) -> str | None:
        """Find the office of a consignment's destination.

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


def _find_fault(row: list[str], found: dict[str, str], number: int) -> str:
    if len(row) != len(COLUMNS) or not all(row) or not row[1].isprintable():
        return f" line {number}: not a place and an office"
    if len(row[1]) > MAX_OFFICE_CHARACTERS:
        return f" line {number}: an office of more than {MAX_OFFICE_CHARACTERS} characters"
    return f" line {number}: {row[0]} occurs twice" if row[0].upper() in found else ""
