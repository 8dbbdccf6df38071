"""Telephone numbers in normal form: `+`, calling code and national digits.

A full parser takes tens of microseconds per number. History and plausibility checks need less: the number, its calling code, and
a check of its length.
"""

from functools import lru_cache
from typing import NamedTuple

from anyascii import anyascii

from features.normalization.letters import NON_DIGITS, clean_country
from features.normalization.word_lists import WORD_LISTS


class NumberingPlan(NamedTuple):
    """The numbering plan of a country: its calling code, and the possible lengths of a national number."""

    calling_code: str
    shortest: int
    longest: int


_LISTS = WORD_LISTS["phones"]


def _read_plan(word: str) -> tuple[str, NumberingPlan]:
    code, _, lengths = word[2:].partition(":")
    shortest, _, longest = lengths.partition("-")
    return word[:2], NumberingPlan(code, int(shortest), int(longest or shortest))


PLANS: dict[str, NumberingPlan] = dict(_read_plan(word) for word in _LISTS["plans"].split())
CALLING_CODES = frozenset(plan.calling_code for plan in PLANS.values())

# Calling codes whose leading zero is also dialled from abroad.
ZERO_KEEPING_CODES = frozenset(PLANS[country].calling_code for country in _LISTS["zero_kept"].split())
TRUNK_PREFIXES: dict[str, str] = _LISTS["trunk_prefixes"]
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


@lru_cache(_CACHED_NUMBERS)
def normalize_phone(phone: str | None, country: str | None) -> str:
    """Normalize a number to `+`, calling code and national digits; '' if there is none.

    >>> normalize_phone("010-5550-1234", "KR"), normalize_phone("0082 (0)10 5550 1234", None)
    ('+821055501234', '+821055501234')
    """
    if not phone:
        return ""
    text = phone if phone.isascii() else anyascii(phone)
    if "x" in text or "X" in text or "#" in text or "/" in text or ";" in text:
        text = _cut_extension(text)
    digits = text.encode().translate(None, NON_DIGITS).decode()
    home = clean_country(country)
    if "+" in text[:4]:
        code = find_calling_code(digits)
        if code:
            return _join_number(code, digits[len(code) :])
    return _read_unmarked(digits, home)


def find_calling_code(digits: str) -> str:
    """Find the calling code of the digits of an international number; '' if it is unknown."""
    return next((digits[:length] for length in (1, 2, 3) if digits[:length] in CALLING_CODES), "")


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
        is_american = plan is not None and plan.calling_code == _NORTH_AMERICA
        for exit_code in (_EXIT_CODE, _NORTH_AMERICAN_EXIT_CODE) if is_american else (_EXIT_CODE,):
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
