"""Telephone numbers in normal form: `+`, calling code and national digits.

A full parser takes tens of microseconds per number. History and plausibility checks need less: the number, its calling code, and
a check of its length.
"""

from functools import lru_cache
from typing import NamedTuple

from anyascii import anyascii

from features.normalization.letters import clean_country


class NumberingPlan(NamedTuple):
    """The numbering plan of a country: its calling code, and the possible lengths of a national number."""

    calling_code: str
    shortest: int
    longest: int


# Country, calling code (ITU-T E.164) and length in digits of fixed and mobile national numbers without trunk prefix.
_PLANS_TEXT = """
    AC247:5 AD376:6-9 AE971:8-9 AF93:9 AG1:10 AI1:10 AL355:8-9 AM374:8 AO244:9 AR54:10-11 AS1:10 AT43:4-13
    AU61:9 AW297:7 AX358:6-10 AZ994:9 BA387:8-9 BB1:10 BD880:6-10 BE32:8-9 BF226:8 BG359:6-9 BH973:8 BI257:8
    BJ229:10 BL590:9 BM1:10 BN673:7 BO591:8 BQ599:7 BR55:10-11 BS1:10 BT975:7-8 BW267:7-8 BY375:9 BZ501:7
    CA1:10 CC61:9 CD243:7-10 CF236:8 CG242:9 CH41:9 CI225:10 CK682:5 CL56:9 CM237:9 CN86:7-11 CO57:8-10
    CR506:8 CU53:6-10 CV238:7 CW599:7-8 CX61:9 CY357:8 CZ420:9 DE49:5-15 DJ253:8 DK45:8 DM1:10 DO1:10
    DZ213:8-9 EC593:8-9 EE372:7-8 EG20:8-10 EH212:9 ER291:7 ES34:9 ET251:9 FI358:5-10 FJ679:7 FK500:5 FM691:7
    FO298:6 FR33:9 GA241:7-8 GB44:9-10 GD1:10 GE995:9 GF594:9 GG44:10 GH233:9 GI350:8 GL299:6 GM220:7-9
    GN224:8-9 GP590:9 GQ240:9 GR30:10 GT502:8 GU1:10 GW245:9 GY592:7 HK852:8 HN504:8 HR385:8-9 HT509:8
    HU36:8-9 ID62:7-12 IE353:7-10 IL972:8-12 IM44:10 IN91:10 IO246:7 IQ964:8-10 IR98:6-10 IS354:7-9 IT39:6-12
    JE44:10 JM1:10 JO962:8-9 JP81:9-10 KE254:7-9 KG996:9 KH855:8-9 KI686:5-8 KM269:7 KN1:10 KP850:8-10
    KR82:5-10 KW965:8 KY1:10 KZ7:10 LA856:8-10 LB961:7-8 LC1:10 LI423:7-9 LK94:9 LR231:7-9 LS266:8 LT370:8
    LU352:4-11 LV371:8 LY218:9 MA212:9 MC377:8-9 MD373:8 ME382:8 MF590:9 MG261:9 MH692:7 MK389:8 ML223:8
    MM95:6-10 MN976:8-10 MO853:8 MP1:10 MQ596:9 MR222:8 MS1:10 MT356:8 MU230:7-8 MV960:7 MW265:7-9 MX52:10
    MY60:8-10 MZ258:8-9 NA264:8-9 NC687:6 NE227:8 NF672:6 NG234:10 NI505:8 NL31:9-11 NO47:8 NP977:8-10 NR674:7
    NU683:4-7 NZ64:8-10 OM968:8 PA507:7-8 PE51:8-9 PF689:8 PG675:7-8 PH63:6-10 PK92:9-10 PL48:7-9 PM508:6-9
    PR1:10 PS970:8-9 PT351:9 PW680:7 PY595:7-9 QA974:8 RE262:9 RO40:6-9 RS381:7-12 RU7:10 RW250:8-9 SA966:9
    SB677:5-7 SC248:7 SD249:9 SE46:7-9 SG65:8 SH290:4-5 SI386:8 SJ47:8 SK421:6-9 SL232:8 SM378:8-10 SN221:9
    SO252:6-9 SR597:6-7 SS211:9 ST239:7 SV503:8 SX1:10 SY963:8-9 SZ268:8 TA290:4 TC1:10 TD235:8 TG228:8
    TH66:8-9 TJ992:9 TK690:4-7 TL670:7-8 TM993:8 TN216:8 TO676:5-7 TR90:10 TT1:10 TV688:5-7 TW886:8-9 TZ255:9
    UA380:9 UG256:9 US1:10 UY598:8 UZ998:9 VA39:6-11 VC1:10 VE58:10 VG1:10 VI1:10 VN84:9-10 VU678:5-7 WF681:6
    WS685:5-10 XK383:8-12 YE967:7-9 YT262:9 ZA27:5-9 ZM260:9 ZW263:9
"""


def _read_plan(word: str) -> tuple[str, NumberingPlan]:
    code, _, lengths = word[2:].partition(":")
    shortest, _, longest = lengths.partition("-")
    return word[:2], NumberingPlan(code, int(shortest), int(longest or shortest))


PLANS: dict[str, NumberingPlan] = dict(_read_plan(word) for word in _PLANS_TEXT.split())
CALLING_CODES = frozenset(plan.calling_code for plan in PLANS.values())

# Calling codes whose leading zero is also dialled from abroad.
ZERO_KEEPING_CODES = frozenset(
    PLANS[country].calling_code for country in ("IT", "VA", "SM", "CI", "CG", "BJ")
)
# Trunk prefixes other than 0.
TRUNK_PREFIXES = {"RU": "8", "KZ": "8", "BY": "80", "TM": "8", "HU": "06"}
# Minimum number of digits after its own calling code, if a number without + is read as international.
MIN_SURE_NATIONAL_DIGITS = 9
MAX_NUMBER_DIGITS = 15  # ITU-T E.164
MIN_NUMBER_DIGITS = 7
MIN_EXTENDED_DIGITS = 5  # digits before an extension
# Digits before a second number. "/" also separates an area code: 06221/123456, +49 (0)33701/12345.
MIN_DIGITS_BEFORE_SLASH = 9
# If this many last digits are equal or count up, the number is invented.
DUMMY_DIGITS = 7
_EXIT_CODE, _NORTH_AMERICAN_EXIT_CODE, _NORTH_AMERICA = "00", "011", "1"
_COUNTING_DIGITS = "01234567890123456789"
_CACHED_NUMBERS = 1 << 14
_NON_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte < 58)


@lru_cache(_CACHED_NUMBERS)
def normalize_phone(phone: str | None, country: str | None) -> str:
    """Normalize a number to `+`, calling code and national digits; '' if there is none.

    Examples
    --------
    >>> normalize_phone("010-5550-1234", "KR"), normalize_phone("0082 (0)10 5550 1234", None)
    ('+821055501234', '+821055501234')
    """
    if not phone:
        return ""
    text = phone if phone.isascii() else anyascii(phone)
    if "x" in text or "X" in text or "#" in text or "/" in text or ";" in text:
        text = _cut_extension(text)
    digits = text.encode().translate(None, _NON_DIGITS).decode()
    home = clean_country(country)
    if "+" in text[:4]:
        code = find_calling_code(digits)
        if code:
            return _join_number(code, digits[len(code) :])
    return _read_unmarked(digits, home)


def find_calling_code(digits: str) -> str:
    """Find the calling code of the digits of an international number; '' if it is unknown."""
    for length in (1, 2, 3):
        if digits[:length] in CALLING_CODES:
            return digits[:length]
    return ""


def check_phone(form: str, country: str) -> tuple[bool, bool]:
    """Check if the length or the digits of a number in normal form are implausible, and if it is of another country than this one."""
    if not form.startswith("+"):
        return not MIN_NUMBER_DIGITS <= len(form) <= MAX_NUMBER_DIGITS or _is_dummy(form), False
    plan = PLANS.get(country)
    if plan and form.startswith(plan.calling_code, 1):
        national = len(form) - 1 - len(plan.calling_code)
        return not plan.shortest <= national <= plan.longest or _is_dummy(form), False
    fits = MIN_NUMBER_DIGITS <= len(form) - 1 <= MAX_NUMBER_DIGITS
    return not fits or _is_dummy(form), plan is not None


def _is_dummy(form: str) -> bool:
    """Check if a number ends in equal digits, or in digits that count up."""
    end = form[-DUMMY_DIGITS:]
    return end == end[:1] * DUMMY_DIGITS or end in _COUNTING_DIGITS


def _cut_extension(text: str) -> str:
    """Remove an extension and a second number."""
    lowered = text.lower().replace("ext", "x")
    for mark in "x#;/":
        head, found, _ = lowered.partition(mark)
        digits = "".join(filter(str.isdigit, head)).removeprefix(_EXIT_CODE)
        if found and len(digits) >= (MIN_DIGITS_BEFORE_SLASH if mark == "/" else MIN_EXTENDED_DIGITS):
            lowered = head
    return lowered


def _read_unmarked(digits: str, home: str) -> str:
    """Parse a number without `+`: with international prefix, with its own calling code, or national."""
    plan = PLANS.get(home)
    if digits[:1] == "0":
        for exit_code in _get_exit_codes(plan):
            code = find_calling_code(digits.removeprefix(exit_code)) if digits.startswith(exit_code) else ""
            if code:
                return _join_number(code, digits[len(exit_code) + len(code) :])
    if plan is None:
        return digits if digits.strip("0") else ""
    if _has_own_code(digits, plan):
        return _join_number(plan.calling_code, digits[len(plan.calling_code) :])
    trunk = TRUNK_PREFIXES.get(home, "")
    if trunk and digits.startswith(trunk) and plan.shortest <= len(digits) - len(trunk) <= plan.longest:
        digits = digits[len(trunk) :]
    return _join_number(plan.calling_code, digits)


def _get_exit_codes(plan: NumberingPlan | None) -> tuple[str, ...]:
    american = plan is not None and plan.calling_code == _NORTH_AMERICA
    return (_EXIT_CODE, _NORTH_AMERICAN_EXIT_CODE) if american else (_EXIT_CODE,)


def _has_own_code(digits: str, plan: NumberingPlan) -> bool:
    if not digits.startswith(plan.calling_code):
        return False
    national = len(digits) - len(plan.calling_code)
    surely = len(digits) > plan.longest or national >= MIN_SURE_NATIONAL_DIGITS
    return surely and plan.shortest <= national <= plan.longest


def _join_number(code: str, national: str) -> str:
    """Join calling code and national number without the trunk zero."""
    kept = national if code in ZERO_KEEPING_CODES else national.lstrip("0")
    return f"+{code}{kept}" if kept.strip("0") else ""
