"""Doubts about a record that is accepted all the same: what was read otherwise than it was written, and what cannot be.

JSON, messages and tables take their corrections from here. `GBR` and `China` are read as the countries that they are. A code that
does not exist, a weight or a year that cannot be, stays: it is often what an officer should see, and a model learns what it means.
A text never repeats a value, which could be anything.
"""

from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import structs

from consignments.countries import find_country, load_countries
from consignments.identifiers import parse_awb
from consignments.records import Consignment, about, get_fields

RecordT = TypeVar("RecordT", bound=msgspec.Struct)
ConsignmentT = TypeVar("ConsignmentT", bound=Consignment)

COUNTRIES = frozenset(load_countries().values())
"""ISO 3166-1 alpha-2, with AN (Netherlands Antilles, until 2010) and XK (Kosovo, as the Universal Postal Union uses it)."""
CURRENCIES = frozenset(files("consignments").joinpath("currencies.txt").read_text(encoding="utf-8").split())
"""ISO 4217: currencies in which goods are declared, and those withdrawn since 2014."""
FIRST_YEAR, LAST_YEAR = 1990, 2100  # years of a time; advance data of earlier years do not exist
COUNTRY_CONVERTED, NO_COUNTRY = "the country was read as its code", "the country is not known"
NO_CURRENCY = "the currency is no code of ISO 4217"
NO_WAYBILL = "the number of the air waybill is missing: three digits of the airline and eight more"


class Doubt(msgspec.Struct, frozen=True):
    """One doubt about a record."""

    code: Annotated[str, about("machine-readable code of the warning")]
    text: Annotated[str, about("what is doubtful, and how it was read")]
    field: Annotated[
        str | None, about("field of the record, or property of a message; null if it is neither")
    ] = None


class CodeRule(NamedTuple):
    """The codes that a field may hold, the function that reads another text as one of them, and the doubt about any other."""

    known: frozenset[str]
    find: Callable[[str], str | None]
    code: str
    text: str


class RangeRule(NamedTuple):
    """The smallest and the largest value that a field can have, and the doubt about any other."""

    low: Any
    high: Any
    text: str
    code: str = "implausible_value"


Rule = CodeRule | RangeRule
COUNTRY = CodeRule(COUNTRIES, lru_cache(maxsize=4_096)(find_country), "unknown_country", NO_COUNTRY)
CURRENCY = CodeRule(CURRENCIES, lambda _: None, "unknown_currency", NO_CURRENCY)
YEAR = RangeRule(
    datetime(FIRST_YEAR, 1, 1, tzinfo=UTC),
    datetime(LAST_YEAR, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    f"the year is before {FIRST_YEAR} or after {LAST_YEAR}",
)
DAY = RangeRule(date(1900, 1, 1), date(LAST_YEAR, 12, 31), f"the year is before 1900 or after {LAST_YEAR}")
OPENED_LATER = "the account was opened after the consignment was received"
NUMBERS = {
    "gross_weight_kg": RangeRule(0.0, 1e6, "the value is more than 1,000,000 kg"),
    "pieces": RangeRule(0.0, 1e6, "the value is more than 1,000,000 pieces"),
    "declared_value": RangeRule(0.0, 1e13, "the value is more than 10,000,000,000,000"),
}
"""Largest numbers that can be. An aircraft carries 250,000 kg at most."""


@cache
def list_rules(record: type[msgspec.Struct]) -> dict[str, Rule]:
    """List the rules of a record type, by field; a declared column may have any name, so the kind decides too."""
    rules: dict[str, Rule] = {}
    kinds: dict[str, Rule] = {"time": YEAR, "date": DAY}
    for field in get_fields(record):
        codes = COUNTRY if field.name.endswith("country") else {"currency": CURRENCY}.get(field.name)
        rule = codes if field.kind == "string" else kinds.get(field.kind, NUMBERS.get(field.name))
        if rule is not None:
            rules[field.name] = rule
    return rules


def correct_consignment(c: ConsignmentT) -> tuple[ConsignmentT, list[Doubt]]:
    """Return a consignment with countries as their codes, and the doubts about it.

    >>> c, doubts = correct_consignment(Consignment("RB123456785GB", "postal", sender_country="GBR"))
    >>> c.sender_country, [(doubt.code, doubt.field) for doubt in doubts]
    ('GB', [('country_read_as', 'sender_country')])
    """
    corrected, doubts = correct_record(c)
    if c.channel == "air_cargo" and parse_awb(c.consignment_id) is None and not parse_awb(c.master_id or ""):
        doubts.append(_build_doubt("no_waybill", NO_WAYBILL, "consignment_id"))
    opened, received_at = c.account_opened_on, c.received_at
    if opened is not None and received_at is not None and (opened - received_at.date()).days > 1:
        doubts.append(_build_doubt(DAY.code, OPENED_LATER, "account_opened_on"))
    return corrected, doubts


def correct_record(record: RecordT) -> tuple[RecordT, list[Doubt]]:
    """Return a record of any type with countries as their codes, and the doubts about its values, each once for a field."""
    changes: dict[str, Any] = {}
    doubts: dict[Doubt, None] = {}
    for name, rule in list_rules(type(record)).items():
        value = getattr(record, name)
        if value is None:
            continue
        read, doubt = correct_value(value, rule)
        if read is not value:
            changes[name] = read
            doubts[build_country_doubt(read, name)] = None
        elif doubt:
            doubts[_build_doubt(rule.code, doubt, name)] = None
    items = [correct_record(item) for item in getattr(record, "items", None) or ()]
    if found := [structs.replace(each, field=f"items.{each.field}") for _, own in items for each in own]:
        changes["items"] = tuple(item for item, _ in items)
        doubts |= dict.fromkeys(found)
    return (structs.replace(record, **changes) if changes else record), list(doubts)


def correct_value(value: Any, rule: Rule) -> tuple[Any, str]:
    """Return a value as what it is, and the text of the doubt about it, which is empty if there is none."""
    if isinstance(rule, RangeRule):
        return value, "" if rule.low <= value <= rule.high else rule.text
    if is_code(value, rule.known):
        return value, ""
    found = rule.find(value)
    return (value, rule.text) if found is None else (found, COUNTRY_CONVERTED)


def build_country_doubt(code: str, field: str) -> Doubt:
    """Build the doubt about a country that was read as its code."""
    return _build_doubt("country_read_as", f"the country was read as {code}", field)


def _build_doubt(code: str, text: str, field: str) -> Doubt:
    return Doubt(code, f"{text[0].upper()}{text[1:]}.", field)


def find_code_lists(record: type[msgspec.Struct]) -> dict[str, frozenset[str]]:
    """Find the columns of a record that hold codes of a standard list, with their codes."""
    return {name: rule.known for name, rule in list_rules(record).items() if isinstance(rule, CodeRule)}


def count_unknown_codes(values: Collection[str | None], known: frozenset[str]) -> int:
    """Count the given values that are no code of a list."""
    unknown = {value for value in set(values) - known if value is not None and not is_code(value, known)}
    return sum(value in unknown for value in values) if unknown else 0


def is_code(value: str, known: frozenset[str]) -> bool:
    """Check if a value is a known code; it may be in small letters and have spaces around it."""
    return value in known or value.strip().upper() in known
