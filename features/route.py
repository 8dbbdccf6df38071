"""Features of the route: countries that differ, detours, hubs, and the identifier of the consignment.

Countries are facts about goods and their transport. Nothing is derived from the people.
"""

from functools import lru_cache
from math import nan
from typing import NamedTuple

from consignments.identifiers import S10, Awb, normalize_identifier, parse_awb, parse_s10
from consignments.records import Consignment
from features.table import read_group

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
TRANSIT_HUBS = ("HK", "SG", "AE", "MY", "NL", "DE")
IATA_LENGTH = 3
IMPC_LENGTH = 6

# First letter of an S10 service indicator, and the services that use it.
S10_SERVICES = {
    "E": ("ems", "express"),
    "C": ("parcel",),
    "H": ("ecommerce", "small_packet", "parcel"),
    "L": ("letter", "small_packet", "ecommerce"),
    "R": ("letter", "small_packet", "ecommerce"),
    "U": ("letter", "small_packet", "ecommerce"),
    "V": ("letter", "small_packet", "ecommerce", "parcel"),
}

_ROUTE = read_group("route.")
ROUTE_FEATURES = _ROUTE.features
_CACHED_ROUTES = 1 << 12
Values = dict[str, float]


class _DeclaredRoute(NamedTuple):
    """The declared route, and the declared countries that it is compared with."""

    route: str | None
    departure: str | None
    destination: str | None
    sender: str | None
    origin: str | None
    consignee: str | None


def compute_route_values(c: Consignment) -> tuple[float, ...]:
    """Compute the features of route, countries and identifier. A feature is NaN if a compared value is missing."""
    declared = _DeclaredRoute(
        c.route,
        c.departure_country,
        c.destination_country,
        c.sender_country,
        c.origin_country,
        c.consignee_country,
    )
    return _ROUTE.arrange({**_describe_way(declared), **_describe_identifier(c)})


def join_places(route: str) -> str:
    """Return the places of a route in capitals, with > before and after each; '' if it has none."""
    places = _split_places(route)
    return f">{'>'.join(places)}>" if places else ""


def _split_places(route: str) -> list[str]:
    return [place for part in route.upper().split(">") if (place := part.strip())]


@lru_cache(_CACHED_ROUTES)
def _describe_way(declared: _DeclaredRoute) -> Values:
    """Describe the places of a route, and compare them and the declared countries. Most consignments share both with many others."""
    departure, destination, sender, origin, consignee = map(_clean_country, declared[1:])
    differs = 1.0 in (_compare(departure, sender), _compare(departure, origin))
    return {
        **_describe_places(_split_places(declared.route or ""), departure, destination),
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
    between = set(countries[1:-1]) - {"", departure, destination, countries[0], countries[-1]}
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
