"""Features of the route: countries that differ, detours, hubs, and the identifier of the consignment.

Countries are facts about goods and their transport. Nothing is derived from the people.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import nan
from typing import NamedTuple

from consignments.identifiers import normalize_identifier, parse_awb, parse_s10
from consignments.records import Consignment
from features.normalization.normal_forms import NormalForms
from features.spec import Feature

# Airports of air mail and air cargo by country (IATA codes). A place that is not listed has no known country.
_AIRPORTS_TEXT = """
    AE: DXB DWC SHJ AUH  AR: EZE  AT: VIE LNZ  AU: SYD MEL BNE PER ADL  AZ: GYD  BD: DAC  BE: BRU LGG ANR OST  BG: SOF
    BH: BAH  BR: GRU VCP GIG CWB  CA: YYZ YVR YUL YHM YYC YMX  CH: ZRH GVA BSL  CL: SCL  CO: BOG MDE  CY: LCA  CZ: PRG
    CN: PVG SHA PEK PKX CAN SZX HGH XMN TAO TSN CTU TFU CKG WUH CGO NKG DLC SHE KMG XIY CSX FOC NGB URC HFE EHU TNA WEH YNT
    DE: FRA LEJ CGN MUC HHN BER HAM DUS STR NUE HAJ  DK: CPH BLL  EC: UIO GYE  EE: TLL  EG: CAI  ES: MAD BCN ZAZ VLC VIT AGP
    ET: ADD  FI: HEL  FR: CDG ORY LYS MRS TLS  GB: LHR LGW STN EMA MAN BHX EDI GLA LTN  GE: TBS  GR: ATH  HK: HKG  HR: ZAG
    HU: BUD  ID: CGK DPS SUB  IE: DUB SNN ORK  IL: TLV  IN: DEL BOM MAA BLR HYD CCU AMD COK  IQ: BGW  IR: IKA THR  IT: MXP FCO BGY
    JO: AMM  JP: NRT HND KIX NGO FUK CTS OKA  KE: NBO MBA  KH: PNH  KR: ICN GMP PUS CJU TAE  KW: KWI  KZ: ALA NQZ  LA: VTE
    LK: CMB  LT: VNO KUN  LU: LUX  LV: RIX  MA: CMN  MM: RGN  MO: MFM  MN: UBN  MX: MEX GDL MTY NLU  MY: KUL PEN BKI
    NG: LOS ABV  NL: AMS MST RTM EIN  NO: OSL BGO  NP: KTM  NZ: AKL CHC WLG  OM: MCT  PE: LIM  PA: PTY  PH: MNL CRK CEB
    PK: KHI LHE ISB  PL: WAW KTW GDN POZ WRO  PT: LIS OPO  QA: DOH  RO: OTP CLJ  RS: BEG  RU: SVO DME VKO LED OVB VVO SVX KHV
    SA: RUH JED DMM  SE: ARN GOT MMX  SG: SIN  SI: LJU  SK: BTS  TH: BKK DMK HKT  TN: TUN  TR: IST SAW ESB  TW: TPE KHH TSA
    UA: KBP LWO  UG: EBB  US: JFK EWR LAX ORD MIA SFO ATL DFW IAH SEA BOS ANC CVG MEM SDF PHL IAD HNL OAK ONT DEN PHX IND LCK RFD
    UZ: TAS  VN: SGN HAN DAD  ZA: JNB CPT  TZ: DAR  ZM: LUN  GH: ACC  SN: DSS  CI: ABJ  CM: DLA  RW: KGL  MU: MRU  BY: MSQ
"""


def _read_airports() -> dict[str, str]:
    countries: dict[str, str] = {}
    country = ""
    for word in _AIRPORTS_TEXT.split():
        if word.endswith(":"):
            country = word[:-1]
        else:
            countries[word] = country
    return countries


AIRPORT_COUNTRIES = _read_airports()
# Places through which traffickers redirect consignments when the direct route is monitored.
TRANSIT_HUBS = frozenset(("HK", "SG", "AE", "MY", "NL", "DE"))
IATA_LENGTH = 3
IMPC_LENGTH = 6
ROUTE_CACHE_SIZE = 1 << 16
COMPARISON_CACHE_SIZE = 1 << 13

# First letter of an S10 service indicator, and the services that use it.
S10_SERVICES = {
    "E": frozenset(("ems", "express")),
    "C": frozenset(("parcel",)),
    "H": frozenset(("ecommerce", "small_packet", "parcel")),
    "L": frozenset(("letter", "small_packet", "ecommerce")),
    "R": frozenset(("letter", "small_packet", "ecommerce")),
    "U": frozenset(("letter", "small_packet", "ecommerce")),
    "V": frozenset(("letter", "small_packet", "ecommerce", "parcel")),
}


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

    features = (
        Feature("route.missing", "flag", "route_unknown"),
        Feature("route.legs", "count", "detour"),
        Feature(
            "route.odd_places",
            "share",
            "route_unknown",
        ),
        Feature("route.repeats", "flag", "detour"),
        Feature(
            "route.transit_countries",
            "count",
            "detour",
        ),
        Feature("route.via_hub", "flag", "detour"),
        Feature(
            "route.starts_elsewhere",
            "flag",
            "route_disagrees",
        ),
        Feature(
            "route.ends_elsewhere",
            "flag",
            "route_disagrees",
        ),
        Feature(
            "route.departure_is_hub",
            "flag",
            "detour",
        ),
        Feature(
            "route.departure_not_sender",
            "flag",
            "countries_disagree",
        ),
        Feature(
            "route.departure_not_origin",
            "flag",
            "countries_disagree",
        ),
        Feature(
            "route.origin_not_sender",
            "flag",
            "countries_disagree",
        ),
        Feature(
            "route.consignee_elsewhere",
            "flag",
            "countries_disagree",
        ),
        Feature(
            "route.identifier_unknown",
            "flag",
            "identifier",
        ),
        Feature("route.check_digit_wrong", "flag", "identifier"),
        Feature(
            "route.identifier_other_channel",
            "flag",
            "identifier",
        ),
        Feature(
            "route.identifier_other_country",
            "flag",
            "identifier",
        ),
        Feature(
            "route.identifier_other_service",
            "flag",
            "identifier",
        ),
        Feature(
            "route.master_missing",
            "flag",
            "master",
        ),
        Feature(
            "route.master_differs",
            "flag",
            "master",
        ),
    )

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:  # noqa: ARG002 - the shape of a group
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


@lru_cache(maxsize=COMPARISON_CACHE_SIZE)
def _compare_route(declared: DeclaredRoute) -> tuple[float, ...]:
    """Compare a route with its countries. Results are cached, because most consignments share them."""
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


@lru_cache(maxsize=ROUTE_CACHE_SIZE)
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
        service = nan if not (services and c.service) else 0.0 if c.service in services else 1.0
        wrong = 0.0 if s10.check_holds else 1.0
        other_channel = 0.0 if c.channel == "postal" else 1.0
        other_country = _compare_values(s10.country, _clean_country(departure))
        return 0.0, wrong, other_channel, other_country, service, master_missing, nan
    return 1.0, nan, nan, nan, nan, master_missing, nan
