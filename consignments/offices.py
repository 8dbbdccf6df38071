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
        """Read a table of places.

        Parameters
        ----------
        path : Path
            CSV in UTF-8 with the columns `place` and `office`, each place once.
        where : str
            Setting or option that names the file, for errors.

        Raises
        ------
        BadSetting
            The file cannot be read, or a row is not valid.
        """
        try:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                rows = [[value.strip() for value in row] for row in csv.reader(lines) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _bad_file(where, f"{path}: {getattr(error, 'strerror', None) or error}") from error
        if not rows or rows[0] != COLUMNS:
            raise _bad_file(where, f"{path}: the first line is not place,office")
        found: dict[str, str] = {}
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(COLUMNS) or not all(row) or not row[1].isprintable():
                raise _bad_file(where, f"{path} line {number}: not a place and an office")
            if len(row[1]) > MAX_OFFICE_CHARACTERS:
                raise _bad_file(where, f"{path} line {number}: an office of more than 100 characters")
            if row[0].upper() in found:
                raise _bad_file(where, f"{path} line {number}: {row[0]} occurs twice")
            found[row[0].upper()] = row[1]
        return cls(found)

    def find_office(self, c: Consignment) -> str | None:
        """Find the office of a consignment's destination.

        Examples
        --------
        >>> table = OfficeTable({"ICN": "Incheon", "KR": "Seoul"})
        >>> table.find_office(Consignment("180-12345675/A", "air_cargo", route="PVG>ICN", destination_country="KR"))
        'Incheon'
        >>> table.find_office(Consignment("RB123456785GB", "postal", destination_country="KR"))
        'Seoul'
        """
        places = (c.route or "").rpartition(">")[2], c.destination_country or ""
        return next((self.offices[name] for place in places if (name := place.upper()) in self.offices), None)


def complete_office(c: Consignment, office: str | None, table: OfficeTable) -> Consignment:
    """Return a consignment with its office.

    Parameters
    ----------
    c : Consignment
        Its own office counts first.
    office : str or None
        Office of all consignments that name none.
    table : OfficeTable
        Offices of destinations, if `office` is None.

    Returns
    -------
    Consignment
        Without an office if none of these names one.
    """
    if c.office:
        return c
    found = office or table.find_office(c)
    return c if found is None else structs.replace(c, office=found)


def _bad_file(where: str, got: str) -> BadSetting:
    return BadSetting(
        "the table of offices cannot be used",
        where=where,
        got=got,
        expected="CSV with the columns place,office, each place once",
    )
