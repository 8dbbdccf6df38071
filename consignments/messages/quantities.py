"""Numbers, weights and moments in messages: a value that cannot be used becomes None with a quality code.

A weight stands in kilograms whatever its unit. The codes of units are those of UN/ECE Recommendation 20; what senders write
in their place is read with the code `unit_doubtful`.
"""

import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

from consignments.countries import parse_country
from consignments.doubts import Doubt, build_country_doubt
from consignments.messages.quality import QUALITY_CODES


class Doubts(set[str]):
    """Quality codes found while a declaration is read; `warnings` has those about one field, and each country that was read as its code."""

    def __init__(self, codes: Iterable[str] = ()) -> None:
        super().__init__(codes)
        self.warnings: dict[Doubt, None] = dict(codes.warnings) if isinstance(codes, Doubts) else {}

    def note(self, code: str, field: str | None) -> None:
        """Add a code, and the field that it is about."""
        self.add(code)
        if field is not None:
            self.warnings[Doubt(code, QUALITY_CODES[code], field)] = None


def read_country(text: str | None, field: str, doubts: Doubts) -> str | None:
    """Return the code of a country; a name or another code is converted with a warning, and what is not known stays as it is."""
    country = parse_country(text)
    if country is not None and country != (text or "").strip().upper():
        doubts.warnings[build_country_doubt(country, field)] = None
    return country


DECIMAL = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
MAX_NUMBER = 1e12
"""No weight, count or amount of a consignment is larger."""
POUND = 0.45359237
KILOGRAMS = {"KGM": 1.0, "LBR": POUND, "GRM": 0.001, "ONZ": 0.028349523125, "TNE": 1000.0}
"""Kilograms in one unit, by its code in UN/ECE Recommendation 20."""
DOUBTFUL_KILOGRAMS = {
    **dict.fromkeys(("", "K", "KG", "KGS", "KILO", "KILOS", "KILOGRAM", "KILOGRAMS"), 1.0),
    **dict.fromkeys(("L", "LB", "LBS", "POUND", "POUNDS"), POUND),
    **dict.fromkeys(("G", "GR", "GRAM", "GRAMS"), 0.001),
    **dict.fromkeys(("OZ", "OUNCE", "OUNCES"), 0.028349523125),
}
"""Kilograms in one unit, by what senders write who do not use the code."""
IMP_KILOGRAMS = {"K": 1.0, "L": POUND}
"""Kilograms in one unit of Cargo-IMP."""
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
FIRST_YEAR_OF_1900 = 69
SHORT_DATE = re.compile(r"(\d{1,2})([A-Z]{3})(\d{2}|\d{4})", re.ASCII)
MIN_YEAR, MAX_YEAR = 1900, 2200
"""A moment outside is a fault of its sender, and would not pass the conversions of zones."""


def parse_number(text: str | None, doubts: Doubts, field: str | None = None) -> float | None:
    """Read a number that is finite and not negative."""
    if text is None:
        return None
    if DECIMAL.fullmatch(text):
        number = float(text)
        if number <= MAX_NUMBER and math.isfinite(number):
            return number
    doubts.note("number_malformed", field)
    return None


def parse_kilograms(
    text: str | None, unit: str | None, doubts: Doubts, field: str | None = None
) -> float | None:
    """Return a weight in kilograms; without a unit it is kilograms, in doubt."""
    weight = parse_number(text, doubts, field)
    if weight is None:
        return None
    code = (unit or "").strip().upper()
    if code in KILOGRAMS:
        return weight * KILOGRAMS[code]
    doubts.note("unit_doubtful", field)
    factor = DOUBTFUL_KILOGRAMS.get(code)
    return None if factor is None else weight * factor


def is_weight_unit(unit: str | None) -> bool:
    """Check whether a code is a unit of weight."""
    code = (unit or "").strip().upper()
    return bool(code) and (code in KILOGRAMS or code in DOUBTFUL_KILOGRAMS)


def parse_moment(text: str | None) -> datetime | None:
    """Read an ISO 8601 moment as UTC; one without a zone is UTC; None if it is none."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_short_date(text: str) -> date | None:
    """Read a date such as 20JAN23 or 20JAN2023; None if it is none."""
    found = SHORT_DATE.fullmatch(text.strip().upper())
    if found is None or found[2] not in MONTHS:
        return None
    year = int(found[3])
    if len(found[3]) == 2:
        year += 1900 if year >= FIRST_YEAR_OF_1900 else 2000
    return build_date(year, MONTHS.index(found[2]) + 1, int(found[1]))


def build_date(year: int, month: int, day: int) -> date | None:
    """Build a date; None if there is no such day."""
    try:
        return date(year, month, day)
    except ValueError:
        return None


def complete_moment(day: int, month: int | None, clock: str, reference: datetime | None) -> datetime | None:
    """Complete a moment that lacks its year, or its month too: the latest one that is not after the next day of `reference`."""
    if reference is None:
        return None
    year, reference_month = reference.year, reference.month
    for months_back in range(13):
        back = reference_month + 1 - months_back
        candidate_year, candidate_month = (
            (year, back) if 1 <= back <= 12 else (year + (1 if back > 12 else -1), back % 12 or 12)
        )
        if month is not None and candidate_month != month:
            continue
        found = build_date(candidate_year, candidate_month, day)
        if found is None or int(clock[:2]) > 23 or int(clock[2:]) > 59:
            continue
        moment = datetime(found.year, found.month, found.day, int(clock[:2]), int(clock[2:]), tzinfo=UTC)
        if (moment - reference).total_seconds() <= 86_400:
            return moment
    return None


def find_moment_from(earliest: date, day: int, clock: str) -> datetime | None:
    """Return the first moment of a day of the month and a clock that is not before a local date, which may be one day ahead of UTC."""
    if int(clock[:2]) > 23 or int(clock[2:]) > 59:
        return None
    for ahead in range(-1, 3):
        years, month = divmod(earliest.month - 1 + ahead, 12)
        found = build_date(earliest.year + years, month + 1, day)
        if found is not None and (earliest - found).days <= 1:
            return datetime(found.year, found.month, found.day, int(clock[:2]), int(clock[2:]), tzinfo=UTC)
    return None
