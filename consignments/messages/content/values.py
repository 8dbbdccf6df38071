"""Values of messages as values of the record: texts without what deceives the eye, numbers, weights, moments, amounts of goods.

A value that cannot be used becomes None with a quality code. A weight stands in kilograms whatever its unit. The codes of units are
those of UN/ECE Recommendation 20; what senders write in their place is read with the code `unit_doubtful`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from math import isclose
from typing import Any

from consignments.countries import parse_country
from consignments.doubts import Doubt, build_country_doubt
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.quality import QUALITY_CODES
from consignments.records import Item, get_fields
from consignments.timestamps import EPOCH

Fields = dict[str, Any]
ITEM_COLUMNS = tuple(field.name for field in get_fields(Item))


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


DECIMAL = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
WITH_COMMA = re.compile(r"0,\d+|\d+,(?!\d{3}$)\d+", re.ASCII)
"""A number with a decimal comma; with three digits behind it the comma may part thousands."""
MAX_NUMBER = 1e12
"""No weight, count or amount of a consignment is larger."""
KILOGRAMS: dict[str, float] = load_table("content/units")["codes"]
"""Kilograms in one unit, by its code in UN/ECE Recommendation 20."""
DOUBTFUL_KILOGRAMS = {name: KILOGRAMS[code] for name, code in load_codes("content/units", "others").items()}
"""Kilograms in one unit, by what senders write who do not use the code."""
POUND, OUNCE = KILOGRAMS["LBR"], KILOGRAMS["ONZ"]


def parse_number(text: str | None, doubts: Doubts, field: str | None = None) -> float | None:
    """Read a number that is finite and not negative."""
    if text is None:
        return None
    if DECIMAL.fullmatch(text):
        number = float(text)
        if number <= MAX_NUMBER:
            return number
    doubts.note("number_malformed", field)
    return None


def parse_decimal(text: str | None, doubts: Doubts, field: str | None = None) -> float | None:
    """Read a number as `parse_number` does, also one with a decimal comma, as posts of many countries write it."""
    if text is not None and WITH_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return parse_number(text, doubts, field)


def parse_kilograms(
    text: str | None, unit: str | None, doubts: Doubts, field: str | None = None
) -> float | None:
    """Return a weight in kilograms if its unit is known; without a unit, or with another than a code, it is in doubt."""
    weight = parse_number(text, doubts, field)
    if weight is None:
        return None
    code = (unit or "").strip().upper()
    if code not in KILOGRAMS:
        doubts.note("unit_doubtful", field)
    factor = get_unit_factor(code) if code else 1.0
    return None if factor is None else weight * factor


def convert_weight(weight: float | None, unit: str | None, doubts: Doubts, field: str) -> float | None:
    """Return a weight in kilograms by its unit, code or common abbreviation; of an unknown one it is kilograms, in doubt."""
    factor = get_unit_factor(unit)
    if weight is not None and factor is None:
        doubts.note("unit_doubtful", field)
    return weight if weight is None or factor in (None, 1.0) else round(weight * (factor or 1.0), 9)


def get_unit_factor(unit: str | None) -> float | None:
    """Return the kilograms in a unit of weight, by its code or common abbreviation; None if it is not known."""
    code = (unit or "").strip().upper().rstrip(".")
    return KILOGRAMS.get(code) or DOUBTFUL_KILOGRAMS.get(code)


MIN_YEAR, MAX_YEAR = 1900, 2200
"""A moment outside is a fault of its sender, and would not pass the conversions of zones."""
DAY = timedelta(days=1)
DOTNET_DATE = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/")
DAY_FIRST = re.compile(r"^(\d{2})[.-](\d{2})[.-](\d{4})\b")
YEAR_FIRST = re.compile(r"^(\d{4})[/.](\d{2})[/.](\d{2})\b")
COMPACT_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2})?)?Z?", re.ASCII)


def parse_time(value: Any) -> datetime | None:
    """Read a moment, without a zone in UTC: ISO 8601, 20260310, 202603101200, 2026/03/10, 10.03.2026, /Date(…)/, (milli)seconds since 1970."""
    text = YEAR_FIRST.sub(r"\1-\2-\3", DAY_FIRST.sub(r"\3-\2-\1", clean_text(value) or ""))
    dotnet, compact = DOTNET_DATE.fullmatch(text), COMPACT_TIME.fullmatch(text)
    try:
        if dotnet or (text.isdigit() and text.isascii() and len(text) in (10, 13)):
            moment = EPOCH + timedelta(milliseconds=int(dotnet[1] if dotnet else text.ljust(13, "0")))
        elif compact:
            year, month, day, hour, minute, second = map(int, compact.groups("0"))
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_short_date(text: str, forms: Iterable[str] = ("%d%b%y", "%d%b%Y")) -> date | None:
    """Read a date in one of some forms, such as 20JAN23 and 20JAN2023; None if it is in none."""
    for form in forms:
        with suppress(ValueError):
            return datetime.strptime(text.strip(), form).date()
    return None


def complete_moment(day: int, month: int | None, clock: str, reference: datetime | None) -> datetime | None:
    """Complete a moment that lacks its year, or its month too: the latest one that is not after the next day of `reference`."""
    if reference is None:
        return None
    found = (each for each in _list_moments(reference, day, clock) if month in (None, each.month))
    return max((each for each in found if each - reference <= DAY), default=None)


def find_moment_from(earliest: date, day: int, clock: str) -> datetime | None:
    """Return the first moment of a day of the month and a clock that is not before a local date, which may be one day ahead of UTC."""
    found = _list_moments(earliest, day, clock)
    return min((each for each in found if earliest - each.date() <= DAY), default=None)


def _list_moments(near: date, day: int, clock: str) -> Iterator[datetime]:
    """Yield the moments of a day and a clock such as 1830 in the eleven months before a date, in its own and in two later ones."""
    for months in range(near.month - 12, near.month + 2):
        years, month = divmod(months, 12)
        with suppress(ValueError):
            yield datetime(near.year + years, month + 1, day, int(clock[:2]), int(clock[2:]), tzinfo=UTC)


HIDDEN = re.compile(
    "[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters without width that reorder or hide text; joiners stay, scripts need them."""
LINE_BREAK = re.compile("[\t-\r\x85\u2028\u2029]")
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
MAX_TEXT_CHARACTERS = 20_000
"""Nothing reads a longer text; the record cuts at less, with a code."""


def clean_text(value: Any) -> str | None:
    """Return a text or number on one line, without control characters and hidden ones; None if nothing is left."""
    if isinstance(value, str):
        text = value[:MAX_TEXT_CHARACTERS]
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float):
        text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    elif isinstance(value, int):
        text = str(value)
    else:
        return None
    if text.isascii() and text.isprintable():
        return text.strip() or None
    if LINE_BREAK.search(text):
        text = " ".join(text.split())
    return SURROGATE.sub("\ufffd", HIDDEN.sub("", CONTROL.sub(" ", text))).strip() or None


def join_lines(*lines: str | None, separator: str = ", ") -> str | None:
    """Join the texts that are there, each once."""
    return separator.join(dict.fromkeys(line for line in lines if line)) or None


def build_party(side: str, given: Mapping[str, Any], doubts: Doubts) -> Fields:
    """Return the columns of a sender or consignee from the parts of it that a message names; an address may have several lines."""
    box = given.get("box")
    return {
        f"{side}_name": given.get("name"),
        f"{side}_address": join_lines(*given.get("lines", ()), box and f"PO Box {box}"),
        f"{side}_city": given.get("city"),
        f"{side}_postcode": given.get("postcode"),
        f"{side}_country": read_country(given.get("country"), f"{side}_country", doubts),
        f"{side}_phone": given.get("phone"),
        f"{side}_email": given.get("email"),
    }


MAX_ITEM_KILOGRAMS = 50.0
"""Posts carry at most 20 or 30 kg, some 50 (UPU Convention, Regulations); more is likely grams read as kilograms."""
MIN_ITEM_KILOGRAMS = 0.001
"""Less than a gram is likely kilograms read as grams."""
NET_TOLERANCE, NET_TOLERANCE_KG = 1.05, 0.005
"""Net weights are rounded: their sum may exceed the gross weight by this much."""
SUM_TOLERANCE = 0.005


def get_first(items: Iterable[Mapping[str, Any]], name: str) -> Any:
    """Return the first value of a name that is not None."""
    for item in items:
        if (value := item.get(name)) is not None:
            return value
    return None


def summarize_items(items: Iterable[Mapping[str, Any]]) -> Fields:
    """Return what a record says of its goods as a whole: what the first of its items that says it says."""
    return {name: get_first(items, name) for name in ("description", "hs_code", "origin_country")}


def sum_all(numbers: Sequence[float | None]) -> float | None:
    """Return the sum of numbers; None if there are none, or one of them is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def add_goods(fields: Fields, items: list[Fields], postage_currency: str | None, doubts: Doubts) -> None:
    """Fill what a record leaves to its items, and choose its currency; postage, or values of items, in another one are left out."""
    valued = [item for item in items if item["value"] is not None]
    currencies = list(dict.fromkeys(item["currency"] for item in valued if item["currency"]))
    of_items = currencies[0] if currencies else get_first(items, "currency")
    total = None
    if len(currencies) > 1:  # there is no sum
        doubts.add("currency_mixed")
        for item in items:
            if item["currency"] not in (None, of_items):
                item["value"] = None
    elif valued:
        total = round(sum(item["value"] for item in valued), 6)
    for name, value in summarize_items(items).items():
        fields[name] = fields.get(name) or value
    if fields.get("declared_value") is None:
        fields["declared_value"] = total
    own, postage = fields.get("currency"), fields.get("postage")
    fields["currency"] = own or of_items or postage_currency
    if own and of_items and own != of_items:
        doubts.add("currency_mixed")
    if postage is not None and postage_currency not in (None, fields["currency"]):
        doubts.add("currency_mixed")
        fields["postage"] = None
    if fields.get("pieces") is None:
        fields["pieces"] = sum_all([item["quantity"] for item in items])


def find_unit_doubts(gross_kg: float | None, items: list[Fields], channel: str) -> set[str]:
    """Find weights that cannot be right in the unit they were read in."""
    nets = [item["net_weight_kg"] for item in items if item.get("net_weight_kg") is not None]
    weights = [weight for weight in (gross_kg, *nets) if weight]
    implausible = channel == "postal" and any(
        not MIN_ITEM_KILOGRAMS <= weight <= MAX_ITEM_KILOGRAMS for weight in weights
    )
    too_heavy = gross_kg is not None and sum(nets) > gross_kg * NET_TOLERANCE + NET_TOLERANCE_KG
    return {"unit_doubtful"} if implausible or too_heavy else set()


def settle_basis(
    items: list[Fields], column: str, basis: str | None, total: float | None, doubts: Doubts
) -> None:
    """Multiply amounts `per unit` to those of whole items; without a basis a declared total decides which they are."""
    amounts = [(item, item[column], item["quantity"]) for item in items if item[column] is not None]
    per_unit = basis == "per unit"
    if basis is None and amounts and any((item["quantity"] or 1.0) != 1.0 for item in items):
        plain = sum(amount for _, amount, _ in amounts)
        multiplied = sum(amount * (count or 1.0) for _, amount, count in amounts)
        if total is None or not _is_close(total, plain):
            per_unit = total is not None and _is_close(total, multiplied)
            if not per_unit:
                doubts.note("unit_doubtful", f"items.{column}")
    if per_unit:
        for item, amount, count in amounts:
            item[column] = amount if count is None else round(amount * count, 9)


def _is_close(total: float, amount: float) -> bool:
    return isclose(amount, total, rel_tol=SUM_TOLERANCE, abs_tol=SUM_TOLERANCE)
