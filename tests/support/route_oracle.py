"""The features of the route in plain Python: the oracle of the kernels in `features.route`."""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from consignments.identifiers import normalize_identifier, parse_awb, parse_s10
from consignments.records import Consignment
from features.normalization.normal_forms import NormalForms
from features.route import (
    AIRPORT_COUNTRIES,
    IATA_LENGTH,
    IMPC_LENGTH,
    ROUTE_FEATURES,
    S10_SERVICES,
    TRANSIT_HUBS,
)


class RouteFacts(NamedTuple):
    """The facts that a route gives by itself.

    Attributes
    ----------
    legs : float
        Number of places minus one.
    odd_places : float
        Share of places in neither IATA nor IMPC form.
    repeats : float
        1 if a place occurs twice, else 0.
    countries : tuple of str
        Country of each place in order, '' if unknown.
    places : str
        The places in order, with > before and after each.
    """

    legs: float
    odd_places: float
    repeats: float
    countries: tuple[str, ...]
    places: str


NO_ROUTE = RouteFacts(nan, nan, nan, (), "")


class RouteFeatures:
    """The features of route, countries and identifier."""

    features = ROUTE_FEATURES

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the features of the route. A feature is NaN if a compared value is missing."""
        way = _compare_route(
            DeclaredRoute(
                c.route,
                c.departure_country,
                c.destination_country,
                c.sender_country,
                c.origin_country,
                c.consignee_country,
            )
        )
        return way + _identifier_values(c, c.departure_country)


class DeclaredRoute(NamedTuple):
    """The declared route, and the declared countries that it is compared with."""

    route: str | None
    departure_country: str | None
    destination_country: str | None
    sender_country: str | None
    origin_country: str | None
    consignee_country: str | None


def _compare_route(declared: DeclaredRoute) -> tuple[float, ...]:
    """Compare a route with its countries."""
    departure, destination = (
        _clean_country(declared.departure_country),
        _clean_country(declared.destination_country),
    )
    sender, origin = _clean_country(declared.sender_country), _clean_country(declared.origin_country)
    way = parse_route(declared.route) if declared.route else NO_ROUTE
    between = _countries_between(way.countries, departure, destination)
    at_hub = departure in TRANSIT_HUBS
    return (
        0.0 if way.countries else 1.0,
        way.legs,
        way.odd_places,
        way.repeats,
        float(len(between)) if way.countries else nan,
        nan if not way.countries else 0.0 if between.isdisjoint(TRANSIT_HUBS) else 1.0,
        _compare_values(way.countries[0], departure) if way.countries else nan,
        _compare_values(way.countries[-1], destination) if way.countries else nan,
        1.0
        if at_hub and (_compare_values(departure, sender) == 1.0 or _compare_values(departure, origin) == 1.0)
        else 0.0,
        _compare_values(departure, sender),
        _compare_values(departure, origin),
        _compare_values(origin, sender),
        _compare_values(_clean_country(declared.consignee_country), destination),
    )


def parse_route(route: str) -> RouteFacts:
    """Parse a route into its facts.

    Examples
    --------
    >>> parse_route("PVG>HKG>ICN")
    RouteFacts(legs=2.0, odd_places=0.0, repeats=0.0, countries=('CN', 'HK', 'KR'), places='>PVG>HKG>ICN>')
    """
    places = [place for part in route.upper().split(">") if (place := part.strip())]
    if not places:
        return NO_ROUTE
    odd = sum(not _has_known_form(place) for place in places)
    repeats = float(len(set(places)) < len(places))
    return RouteFacts(
        len(places) - 1.0,
        odd / len(places),
        repeats,
        tuple(map(get_place_country, places)),
        f">{'>'.join(places)}>",
    )


def get_place_country(place: str) -> str:
    """Return the country of an IATA or IMPC code, '' if unknown."""
    if len(place) == IMPC_LENGTH and _has_known_form(place):
        return place[:2]
    return AIRPORT_COUNTRIES.get(place, "")


def _countries_between(countries: tuple[str, ...], departure: str, destination: str) -> frozenset[str]:
    """Return the known countries of a route other than departure and destination."""
    if len(countries) < 3:
        return frozenset()
    return frozenset(countries[1:-1]) - {"", departure, destination, countries[0], countries[-1]}


def _has_known_form(place: str) -> bool:
    if not place.isascii():
        return False
    if len(place) == IATA_LENGTH:
        return place.isalpha()
    return len(place) == IMPC_LENGTH and place[:-1].isalpha() and place[-1].isalnum()


def _clean_country(code: str | None) -> str:
    return code.strip().upper() if code else ""


def _compare_values(one: str, other: str) -> float:
    """Return 1 if two known values differ, 0 if they are equal, NaN if either is unknown."""
    return (0.0 if one == other else 1.0) if one and other else nan


def _identifier_values(c: Consignment, departure: str | None) -> tuple[float, ...]:
    identifier = normalize_identifier(c.consignment_id)
    master_missing = 0.0 if c.master_id else 1.0
    awb = parse_awb(identifier) if identifier.lstrip()[:1].isdigit() else None
    if awb:
        master = parse_awb(c.master_id) if c.master_id else None
        differs = nan if master is None else 0.0 if master.number == awb.number else 1.0
        other_channel = 0.0 if c.channel == "air_cargo" else 1.0
        return 0.0, 0.0 if awb.check_holds else 1.0, other_channel, nan, nan, master_missing, differs
    s10 = parse_s10(identifier)
    if s10:
        services = S10_SERVICES.get(s10.service[0])
        known = c.service and c.service.strip().casefold()
        service = nan if not (services and c.service) else 0.0 if known in services else 1.0
        wrong = 0.0 if s10.check_holds else 1.0
        other_channel = 0.0 if c.channel == "postal" else 1.0
        other_country = _compare_values(s10.country, _clean_country(departure))
        return 0.0, wrong, other_channel, other_country, service, master_missing, nan
    return 1.0, nan, nan, nan, nan, master_missing, nan
