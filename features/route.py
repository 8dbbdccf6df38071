"""Features of the route: countries that differ, detours, hubs, and the identifier of the consignment.

Countries are facts about goods and their transport. Nothing is derived from the people. A country is a number: 0 is unknown, two letters
have a number from 1 on, and another text has the number of the declared country that first has it.
"""

import numpy as np

from consignments.identifiers import AWB_MODULUS, S10_EXCEPTIONS, S10_WEIGHTS
from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import (
    FOLDED,
    MAX_FOLDED,
    TOO_LONG,
    UPPER,
    check_composed,
    is_same_text,
    is_space,
    read_letters,
)
from features.normalization.record_kernels import FIELDS, find_fields, has_text
from features.normalization.tables import DECLARED_COUNTRIES
from features.normalization.text_codes import TextCodes, find_code
from features.normalization.words import HYPHEN, SPACE, is_digit
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

ROUTE_FEATURES = (
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

(
    NO_ROUTE, LEGS, ODD_PLACES, REPEATS, TRANSIT_COUNTRIES, VIA_HUB, STARTS_ELSEWHERE, ENDS_ELSEWHERE, DEPARTURE_IS_HUB,
    DEPARTURE_NOT_SENDER, DEPARTURE_NOT_ORIGIN, ORIGIN_NOT_SENDER, CONSIGNEE_ELSEWHERE, IDENTIFIER_UNKNOWN, CHECK_DIGIT_WRONG,
    OTHER_CHANNEL, OTHER_COUNTRY, OTHER_SERVICE, MASTER_MISSING, MASTER_DIFFERS,
) = range(len(ROUTE_FEATURES))  # fmt: skip
ROUTE, IDENTIFIER, CHANNEL, SERVICE, MASTER = find_fields(
    "route", "consignment_id", "channel", "service", "master_id"
)
COUNTRY_FIELDS = tuple(
    map(
        FIELDS.index,
        ("departure_country", "destination_country", "sender_country", "origin_country", "consignee_country"),
    )
)
DEPARTURE, DESTINATION, SENDER, ORIGIN, CONSIGNEE = map(np.int64, range(DECLARED_COUNTRIES))
ROUTE_ROOM, IDENTIFIER_ROOM = (np.int64(place * MAX_FOLDED) for place in (5, 6))
"""Where texts are in `letters`: each declared country has room before them, and an identifier that Python composed has twice its room."""
FIRST_LETTER, LETTERS, GREATER, SLASH, ZERO = ord("A"), 26, ord(">"), ord("/"), ord("0")
FIRST_OTHER_COUNTRY = 1 + LETTERS * LETTERS
S10_SIZE, S10_DIGITS, AWB_PREFIX, AWB_DIGITS = 13, 9, 3, 11
CHECK_OF_10, CHECK_OF_11 = S10_EXCEPTIONS[10], S10_EXCEPTIONS[11]
NO_NUMBER = np.int64(-1)
SERVICES = tuple(sorted({service for services in S10_SERVICES.values() for service in services}))
ROUTE_WORDS = {word: place for place, word in enumerate((*SERVICES, "postal", "air_cargo"))}
"""The words that the kernel compares with, as a list of a `TextCodes`."""
POSTAL, AIR_CARGO = ROUTE_WORDS["postal"], ROUTE_WORDS["air_cargo"]
SERVICE_FLAGS = tuple(
    sum(1 << ROUTE_WORDS[service] for service in S10_SERVICES.get(chr(FIRST_LETTER + place), ()))
    for place in range(LETTERS)
)
"""For each first letter of a service indicator, a flag for each service that uses it."""


def fill_places(tables: Tables) -> None:
    """Fill the country of each airport."""
    for name, country in AIRPORT_COUNTRIES.items():
        place = 0
        for letter in name:
            place = place * LETTERS + ord(letter) - FIRST_LETTER
        tables.airports[place] = _number_country(country)


def _number_country(country: str) -> int:
    return 1 + LETTERS * (ord(country[0]) - FIRST_LETTER) + ord(country[1]) - FIRST_LETTER


HUB_NUMBERS = tuple(map(_number_country, TRANSIT_HUBS))


def join_places(route: str) -> str:
    """Return the places of a route in capitals, with > before and after each; '' if it has none.

    Examples
    --------
    >>> join_places("pvg > HKG>ICN")
    '>PVG>HKG>ICN>'
    """
    places = [place for part in route.upper().split(">") if (place := part.strip())]
    return f">{'>'.join(places)}>" if places else ""


@kernel
def write_route(tables: Tables, data: Array, codes: TextCodes, words: Int, row: Array) -> Int:
    """Write the features of route, countries and identifier. Return 0, or what is needed first.

    Parameters
    ----------
    tables : Tables
    data : uint8 array
    codes : TextCodes
    words : int
        Position of the list that ROUTE_WORDS is.
    row : float32 array
    """
    for place in range(DECLARED_COUNTRIES):
        fault = _read_country(tables, data, place)
        if fault < 0:
            return fault
    places = read_places(tables, data)
    if places < 0:
        return places
    _write_way(tables, places, row)
    _write_countries(tables, row)
    return _write_identifier(tables, data, codes, words, row)


@kernel
def _read_country(tables: Tables, data: Array, place: Int) -> Int:
    """Read a declared country. Return its number, or what is needed first."""
    country, field = tables.countries[place], COUNTRY_FIELDS[place]
    country[0] = 0
    start = end = place * MAX_FOLDED
    if has_text(tables, field):
        start, end = read_letters(tables, data, tables.fields[field], UPPER, start)
        if start < 0:
            return start
    country[1], country[2] = start, end
    if end - start == 2 and _is_letter(tables, start) and _is_letter(tables, start + 1):
        country[0] = _number_letters(tables, start)
    elif end > start:
        first = 0
        while not is_same_text(
            tables.letters, tables.countries[first, 1], tables.countries[first, 2], start, end
        ):
            first += 1
        country[0] = FIRST_OTHER_COUNTRY + first
    return country[0]


@kernel
def _is_letter(tables: Tables, at: Int) -> Bool:
    return FIRST_LETTER <= tables.letters[at] < FIRST_LETTER + LETTERS


@kernel
def _number_letters(tables: Tables, at: Int) -> Int:
    letters = tables.letters
    return 1 + LETTERS * (int(letters[at]) - FIRST_LETTER) + int(letters[at + 1]) - FIRST_LETTER


@kernel
def _is_hub(country: Int) -> Bool:
    for hub in HUB_NUMBERS:
        if country == hub:
            return True
    return False


@kernel
def read_places(tables: Tables, data: Array) -> Int:
    """Read the places of the route: where each is in `letters` (`starts`, `ends`), and its country (`roles`). Return their number, or what is needed first."""
    if not has_text(tables, ROUTE):
        return 0
    start, end = read_letters(tables, data, tables.fields[ROUTE], UPPER, ROUTE_ROOM)
    if start < 0:
        return start
    count, first = 0, start
    for at in range(start, end + 1):
        if at < end and tables.letters[at] != GREATER:
            continue
        last = at
        while first < last and is_space(tables, tables.letters[first]):
            first += 1
        while last > first and is_space(tables, tables.letters[last - 1]):
            last -= 1
        if last > first:
            tables.starts[count], tables.ends[count] = first, last
            tables.roles[count] = _find_place_country(tables, first, last)
            count += 1
        first = at + 1
    return count


@kernel
def _has_known_form(tables: Tables, start: Int, end: Int) -> Bool:
    """Check for the form of an IATA code, or of an IMPC code, whose last sign may be a digit."""
    size = end - start
    if size != IATA_LENGTH and size != IMPC_LENGTH:
        return False
    for at in range(start, end - 1):
        if not _is_letter(tables, at):
            return False
    return _is_letter(tables, end - 1) or (size == IMPC_LENGTH and is_digit(tables.letters[end - 1]))


@kernel
def _find_place_country(tables: Tables, start: Int, end: Int) -> Int:
    """Return the country of a place, 0 if it is unknown."""
    if not _has_known_form(tables, start, end):
        return 0
    if end - start == IMPC_LENGTH:
        return _number_letters(tables, start)
    place = 0
    for at in range(start, end):
        place = place * LETTERS + int(tables.letters[at]) - FIRST_LETTER
    return tables.airports[place]


@kernel
def _write_way(tables: Tables, places: Int, row: Array) -> None:
    """Write what the places of the route say by themselves, and compared with departure and destination."""
    row[NO_ROUTE] = 1.0 if places == 0 else 0.0
    if places == 0:
        for slot in range(LEGS, ENDS_ELSEWHERE + 1):
            row[slot] = np.nan
        return
    odd, repeats = 0, 0.0
    for place in range(places):
        start, end = tables.starts[place], tables.ends[place]
        odd += 0 if _has_known_form(tables, start, end) else 1
        for other in range(place):
            if repeats == 0.0 and is_same_text(
                tables.letters, start, end, tables.starts[other], tables.ends[other]
            ):
                repeats = 1.0
    row[LEGS] = places - 1.0
    row[ODD_PLACES] = odd / places
    row[REPEATS] = repeats
    departure, destination = tables.countries[DEPARTURE, 0], tables.countries[DESTINATION, 0]
    _write_transit(tables, places, departure, destination, row)
    row[STARTS_ELSEWHERE] = _compare(tables.roles[0], departure)
    row[ENDS_ELSEWHERE] = _compare(tables.roles[places - 1], destination)


@kernel
def _write_transit(tables: Tables, places: Int, departure: Int, destination: Int, row: Array) -> None:
    """Write the number of known countries between the ends of a route, other than those and the declared ones, and if one is a hub."""
    countries, count, hub = tables.roles, 0, 0.0
    for place in range(1, places - 1):
        country = countries[place]
        new = country != 0 and country != departure and country != destination
        new = new and country != countries[0] and country != countries[places - 1]
        for other in range(1, place):
            new = new and countries[other] != country
        if new:
            count += 1
            hub = 1.0 if _is_hub(country) else hub
    row[TRANSIT_COUNTRIES] = count
    row[VIA_HUB] = hub


@kernel
def _compare(one: Int, other: Int) -> float:
    """Return 1 if two known values differ, 0 if they are equal, NaN if either is unknown."""
    if one == 0 or other == 0:
        return np.nan
    return 0.0 if one == other else 1.0


@kernel
def _write_countries(tables: Tables, row: Array) -> None:
    departure, destination = tables.countries[DEPARTURE, 0], tables.countries[DESTINATION, 0]
    sender, origin = tables.countries[SENDER, 0], tables.countries[ORIGIN, 0]
    differs = _compare(departure, sender) == 1.0 or _compare(departure, origin) == 1.0
    row[DEPARTURE_IS_HUB] = 1.0 if differs and _is_hub(departure) else 0.0
    row[DEPARTURE_NOT_SENDER] = _compare(departure, sender)
    row[DEPARTURE_NOT_ORIGIN] = _compare(departure, origin)
    row[ORIGIN_NOT_SENDER] = _compare(origin, sender)
    row[CONSIGNEE_ELSEWHERE] = _compare(tables.countries[CONSIGNEE, 0], destination)


@kernel
def _write_identifier(tables: Tables, data: Array, codes: TextCodes, words: Int, row: Array) -> Int:
    """Write what the identifier says, in the normal form of `consignments.identifiers`. Return 0, or what is needed first."""
    row[IDENTIFIER_UNKNOWN] = 1.0
    for slot in range(CHECK_DIGIT_WRONG, OTHER_SERVICE + 1):
        row[slot] = np.nan
    row[MASTER_MISSING] = 0.0 if has_text(tables, MASTER) else 1.0
    row[MASTER_DIFFERS] = np.nan
    start, end = _load_identifier(tables, data)
    if start < 0:
        return start
    fault, channel = _find_word(tables, data, codes, words, CHANNEL)
    if fault < 0:
        return fault
    number = _read_waybill(tables, start, end)
    if number >= 0:
        row[IDENTIFIER_UNKNOWN] = 0.0
        row[CHECK_DIGIT_WRONG] = 0.0 if number // 10 % 10**7 % AWB_MODULUS == number % 10 else 1.0
        row[OTHER_CHANNEL] = 0.0 if channel == AIR_CARGO else 1.0
        return _compare_master(tables, data, number, row)
    if not _join_item(tables, start, end):
        return 0
    row[IDENTIFIER_UNKNOWN] = 0.0
    row[CHECK_DIGIT_WRONG] = 0.0 if _holds_check_digit(tables) else 1.0
    row[OTHER_CHANNEL] = 0.0 if channel == POSTAL else 1.0
    row[OTHER_COUNTRY] = _compare(_number_letters(tables, S10_SIZE - 2), tables.countries[DEPARTURE, 0])
    flags = SERVICE_FLAGS[int(tables.letters[0]) - FIRST_LETTER]
    if flags != 0 and has_text(tables, SERVICE):
        fault, service = _find_word(tables, data, codes, words, SERVICE)
        if fault < 0:
            return fault
        row[OTHER_SERVICE] = 0.0 if service >= 0 and flags >> service & 1 else 1.0
    return 0


@kernel
def _load_identifier(tables: Tables, data: Array) -> tuple[Int, Int]:
    """Write the identifier, composed (NFC) and in capitals, into `letters`. Return its start and end, or what is needed first."""
    text = tables.fields[IDENTIFIER]
    if text[0] < 0:
        return IDENTIFIER_ROOM, IDENTIFIER_ROOM
    if text[2] < 0:
        fault = check_composed(tables, data, text[0], text[1])
        if fault < 0:
            return fault, fault
    elif text[3] - text[2] > MAX_FOLDED:
        return TOO_LONG, TOO_LONG
    else:
        text = text[2:]
    start, end = read_letters(tables, data, text, UPPER, IDENTIFIER_ROOM)
    return start, end


@kernel
def _find_word(tables: Tables, data: Array, codes: TextCodes, words: Int, field: Int) -> tuple[Int, Int]:
    """Return 0 or what is needed first, and the position of a value in ROUTE_WORDS in any case; NO_NUMBER if it is another one."""
    if not has_text(tables, field):
        return START, NO_NUMBER
    # The room of the identifier is still in use.
    start, end = read_letters(tables, data, tables.fields[field], FOLDED, ROUTE_ROOM)
    if start < 0:
        return start, NO_NUMBER
    return START, find_code(codes, words, tables.letters, start, end)


@kernel
def _read_waybill(tables: Tables, start: Int, end: Int) -> Int:
    """Return the eleven digits of a waybill, with blanks and hyphens anywhere and a house after a slash; NO_NUMBER if it is none."""
    number, count = 0, 0
    for at in range(start, end):
        letter = int(tables.letters[at])
        if letter == SLASH:
            return number if count == AWB_DIGITS and at + 1 < end else NO_NUMBER
        if is_digit(letter) and count < AWB_DIGITS:
            number = 10 * number + letter - ZERO
            count += 1
        elif letter != SPACE and letter != HYPHEN:
            return NO_NUMBER
    return number if count == AWB_DIGITS else NO_NUMBER


@kernel
def _compare_master(tables: Tables, data: Array, number: Int, row: Array) -> Int:
    """Compare the number with that of the master, which has at most one separator, after its prefix. Return 0, or what is needed first."""
    if not has_text(tables, MASTER):
        return 0
    start, end = read_letters(tables, data, tables.fields[MASTER], UPPER, IDENTIFIER_ROOM)
    if start < 0:
        return start
    if end - start > AWB_DIGITS:
        separator = start + AWB_PREFIX
        if tables.letters[separator] == SPACE or tables.letters[separator] == HYPHEN:
            for at in range(separator, start, -1):
                tables.letters[at] = tables.letters[at - 1]
            start += 1
    for at in range(start, min(start + AWB_DIGITS, end)):
        if not is_digit(tables.letters[at]):
            return 0
    master = _read_waybill(tables, start, end)
    if master >= 0 and (end - start == AWB_DIGITS or tables.letters[start + AWB_DIGITS] == SLASH):
        row[MASTER_DIFFERS] = 0.0 if master == number else 1.0
    return 0


@kernel
def _join_item(tables: Tables, start: Int, end: Int) -> Bool:
    """Write an S10 identifier without blanks and hyphens to the beginning of `letters`. Return False if it is none."""
    letters, size = tables.letters, 0
    for at in range(start, end):
        letter = letters[at]
        if letter == SPACE or letter == HYPHEN:
            continue
        if size == S10_SIZE:
            return False
        letters[size] = letter
        size += 1
    if size != S10_SIZE:
        return False
    for at in range(S10_SIZE):
        fits = is_digit(letters[at]) if 2 <= at < 2 + S10_DIGITS else _is_letter(tables, at)
        if not fits:
            return False
    return True


@kernel
def _holds_check_digit(tables: Tables) -> Bool:
    """Check the check digit of the S10 identifier at the beginning of `letters`, as `consignments.identifiers.compute_check_digit`."""
    total = 0
    for place in range(len(S10_WEIGHTS)):
        total += S10_WEIGHTS[place] * (int(tables.letters[2 + place]) - ZERO)
    check = 11 - total % 11
    if check == 10:
        check = CHECK_OF_10
    elif check == 11:
        check = CHECK_OF_11
    return int(tables.letters[2 + len(S10_WEIGHTS)]) - ZERO == check
