"""Journeys of air waybills: places in order, their countries, and the airline."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

FLIGHT_FORM = re.compile(r"([A-Z0-9]{2}) ?\d{1,4}[A-Z]?$")
"""A flight number, led by the airline's two characters."""
CONSOLIDATION_FORM = re.compile(r"\bCONSOL(?:S|\.|IDAT\w*)?(?![A-Z])", re.IGNORECASE)
CITY_COUNTRIES = {
    "BJS": "CN", "BUE": "AR", "BUH": "RO", "CHI": "US", "DTT": "US", "JKT": "ID", "LON": "GB", "MIL": "IT", "MOW": "RU",
    "NYC": "US", "OSA": "JP", "PAR": "FR", "RIO": "BR", "ROM": "IT", "SAO": "BR", "SEL": "KR", "SPK": "JP", "STO": "SE",
    "TCI": "ES", "TYO": "JP", "WAS": "US", "YEA": "CA", "YMQ": "CA", "YTO": "CA",
}  # fmt: skip
"""Countries of the codes that stand for a city of several airports, which the table of airports does not have."""


def looks_consolidated(description: str | None) -> bool:
    """Check whether a description says that the goods are a consolidation."""
    return description is not None and CONSOLIDATION_FORM.search(description) is not None


def join_places(*places: str | None) -> tuple[str, ...]:
    """Join places in order; a place that repeats its predecessor is left out."""
    joined: list[str] = []
    for place in places:
        code = place.upper() if place else ""
        if code and (not joined or joined[-1] != code):
            joined.append(code)
    return tuple(joined)


def splice_stops(house: Sequence[str], master: Sequence[str]) -> Sequence[str]:
    """Insert the master's stops between its two ends in the house's route; a house without a route gets its master's."""
    if not house:
        return master
    if not master or master[0] not in house or master[-1] not in house:
        return house
    start, end = house.index(master[0]), len(house) - 1 - house[::-1].index(master[-1])
    return [*house[:start], *master, *house[end + 1 :]] if start <= end else house


def build_journey(places: Sequence[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the route and its two countries: those of the airports, else those of the parties."""
    ends = (places[0], places[-1]) if places else ("", "")
    return {
        "route": ">".join(places) or None,
        "departure_country": find_airport_country(ends[0]) or fields.get("sender_country"),
        "destination_country": find_airport_country(ends[1]) or fields.get("consignee_country"),
    }


def find_airline(flights: Iterable[tuple[str | None, str | None]]) -> str | None:
    """Name the airline of the first flight: the characters that lead its number, else the name given."""
    for number, name in flights:
        flight = FLIGHT_FORM.match(number or "")
        found = flight[1] if flight else name
        if found:
            return found
    return None


def find_airport_country(code: str) -> str | None:
    """Return the country of an IATA code of an airport or city, or None if it is not known."""
    return _load_countries().get(code)


@cache
def _load_countries() -> dict[str, str]:
    import airportsdata  # a quarter of a second, needed by readers of messages only

    airports = {code: airport["country"] for code, airport in airportsdata.load("IATA").items()}
    return CITY_COUNTRIES | airports
