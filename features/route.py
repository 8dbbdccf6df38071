"""Features of the route: countries that differ, detours, hubs, and the identifier of the consignment.

Countries are facts about goods and their transport. Nothing is derived from the people.
"""

from functools import lru_cache
from math import nan
from operator import attrgetter

from consignments.identifiers import S10, Awb, normalize_identifier, parse_awb, parse_s10
from consignments.records import Consignment
from features.normalization.word_lists import WORD_LISTS, read_variants
from features.table import read_group

_LISTS = WORD_LISTS["routes"]
AIRPORT_COUNTRIES = read_variants(_LISTS["airports"])
TRANSIT_HUBS = tuple(_LISTS["transit_hubs"].split())
IATA_LENGTH = 3
IMPC_LENGTH = 6

S10_SERVICES = {first: tuple(services.split()) for first, services in _LISTS["services"].items()}

_ROUTE = read_group("route.")
ROUTE_FEATURES = _ROUTE.features
_CACHED_ROUTES = 1 << 12
Values = dict[str, float]


_ENDS = ("departure", "destination", "sender", "origin", "consignee")
_GET_DECLARED = attrgetter("route", *(f"{end}_country" for end in _ENDS))


def compute_route_values(c: Consignment) -> tuple[float, ...]:
    """Compute the features of route, countries and identifier. A feature is NaN if a compared value is missing."""
    return _ROUTE.arrange({**_describe_way(_GET_DECLARED(c)), **_describe_identifier(c)})


def join_places(route: str) -> str:
    """Return the places of a route in capitals, with > before and after each; '' if it has none."""
    places = _split_places(route)
    return f">{'>'.join(places)}>" if places else ""


def _split_places(route: str) -> list[str]:
    return [place for part in route.upper().split(">") if (place := part.strip())]


@lru_cache(_CACHED_ROUTES)
def _describe_way(declared: tuple[str | None, ...]) -> Values:
    """Describe the places of a route, and compare them and the declared countries. Most consignments share both with many others."""
    route, *countries = declared
    departure, destination, sender, origin, consignee = map(_clean_country, countries)
    differs = 1.0 in (_compare(departure, sender), _compare(departure, origin))
    return {
        **_describe_places(_split_places(route or ""), departure, destination),
        "departure_is_hub": 1.0 if departure in TRANSIT_HUBS and differs else 0.0,
        "departure_not_sender": _compare(departure, sender),
        "departure_not_origin": _compare(departure, origin),
        "origin_not_sender": _compare(origin, sender),
        "consignee_elsewhere": _compare(consignee, destination),
    }


def _describe_places(places: list[str], departure: str, destination: str) -> Values:
    if not places:
        return {"missing": 1.0, **_NO_PLACES}
    countries = list(map(get_place_country, places))
    between = _list_between(countries, departure, destination)
    return {
        "missing": 0.0,
        "legs": len(places) - 1.0,
        "odd_places": sum(not _has_known_form(place) for place in places) / len(places),
        "repeats": float(len(set(places)) < len(places)),
        "transit_countries": float(len(between)),
        "via_hub": 0.0 if between.isdisjoint(TRANSIT_HUBS) else 1.0,
        "starts_elsewhere": _compare(countries[0], departure),
        "ends_elsewhere": _compare(countries[-1], destination),
    }


def list_hubs(route: str, departure: str, destination: str) -> list[str]:
    """List the transit hubs between the ends of a route, as `route.via_hub` finds them, in alphabetical order."""
    countries = list(map(get_place_country, _split_places(route)))
    between = _list_between(countries, _clean_country(departure), _clean_country(destination))
    return sorted(between.intersection(TRANSIT_HUBS))


def _list_between(countries: list[str], departure: str, destination: str) -> set[str]:
    return set(countries[1:-1]).difference(("", departure, destination, *countries[:1], *countries[-1:]))


_NO_PLACES = dict.fromkeys(
    ["legs", "odd_places", "repeats", "transit_countries", "via_hub", "starts_elsewhere", "ends_elsewhere"],
    nan,
)


def get_place_country(place: str) -> str:
    """Return the country of an IATA or IMPC code, '' if unknown."""
    if len(place) == IMPC_LENGTH and _has_known_form(place):
        return place[:2]
    return AIRPORT_COUNTRIES.get(place, "")


def _has_known_form(place: str) -> bool:
    """Check for the form of an IATA code, or of an IMPC code, whose last sign may be a digit."""
    if not place.isascii():
        return False
    if len(place) == IATA_LENGTH:
        return place.isalpha()
    return len(place) == IMPC_LENGTH and place[:-1].isalpha() and place[-1].isalnum()


def _clean_country(code: str | None) -> str:
    return code.strip().upper() if code else ""


def _compare(one: str, other: str) -> float:
    """Return 1 if two known values differ, 0 if they are equal, NaN if either is unknown."""
    return (0.0 if one == other else 1.0) if one and other else nan


def _describe_identifier(c: Consignment) -> Values:
    identifier = normalize_identifier(c.consignment_id)
    values = {
        "identifier_unknown": 0.0,
        "check_digit_wrong": nan,
        "identifier_other_channel": nan,
        "identifier_other_country": nan,
        "identifier_other_service": nan,
        "master_missing": 0.0 if c.master_id else 1.0,
        "master_differs": nan,
    }
    awb = parse_awb(identifier) if identifier.lstrip()[:1].isdigit() else None
    if awb:
        return values | _compare_awb(c, awb)
    s10 = parse_s10(identifier)
    return values | (_compare_s10(c, s10) if s10 else {"identifier_unknown": 1.0})


def _compare_awb(c: Consignment, awb: Awb) -> Values:
    master = parse_awb(c.master_id) if c.master_id else None
    return {
        "check_digit_wrong": 0.0 if awb.check_holds else 1.0,
        "identifier_other_channel": 0.0 if c.channel == "air_cargo" else 1.0,
        "master_differs": _compare(awb.number, master.number if master else ""),
    }


def _compare_s10(c: Consignment, s10: S10) -> Values:
    services = S10_SERVICES.get(s10.service[0])
    service = nan
    if services and c.service:
        service = 0.0 if c.service.strip().casefold() in services else 1.0
    return {
        "check_digit_wrong": 0.0 if s10.check_holds else 1.0,
        "identifier_other_channel": 0.0 if c.channel == "postal" else 1.0,
        "identifier_other_country": _compare(s10.country, _clean_country(c.departure_country)),
        "identifier_other_service": service,
    }
