"""Normal forms in plain Python: the oracle of the kernels in `features.normalization`."""

import re
from unicodedata import category, normalize

from anyascii import anyascii

from consignments.records import Consignment
from features.normalization.normal_forms import (
    ADDRESS_WORDS,
    GMAIL_DOMAINS,
    HONORIFIC_PHRASES,
    LEGAL_FORM_PHRASES,
    LETTERS,
    LETTERS_IN_ADDRESSES,
    NAME_WORDS,
    OMITTED_ADDRESS_SIGNS,
    OMITTED_SIGNS,
    PERSONAL_NAME_WORDS,
    POST_BOX_WORDS,
    NormalForms,
    fold_to_ascii,
    get_goods_hs,
    get_goods_text,
    rotate_to_smallest,
    split_place_words,
)
from features.normalization.phones import (
    CALLING_CODES,
    DUMMY_DIGITS,
    MAX_NUMBER_DIGITS,
    MIN_DIGITS_BEFORE_SLASH,
    MIN_EXTENDED_DIGITS,
    MIN_NUMBER_DIGITS,
    MIN_SURE_NATIONAL_DIGITS,
    PLANS,
    TRUNK_PREFIXES,
    ZERO_KEEPING_CODES,
    NumberingPlan,
)
from features.normalization.romanization import romanize
from features.parties import BUSINESS_WORDS

EXIT_CODE, NORTH_AMERICAN_EXIT_CODE = "00", "011"
NORTH_AMERICA = "1"
COUNTING_DIGITS = "01234567890123456789"
LEGAL_FORMS_IN_SCRIPTS = re.compile("|".join(map(re.escape, LEGAL_FORM_PHRASES)))
_HONORIFICS_IN_SCRIPTS = re.compile(rf"(?:{'|'.join(HONORIFIC_PHRASES)})\s*$")
_POST_BOX = re.compile(
    r"\b(?:(?:p ?o ?|post ?office |post ?)box|p ?o ?b|postfach|postbus|apartado|casilla|boite postale|saseoham)"
    r"(?: (?:no|nr|number))? ?(\d+)"
)
# Endings that are written joined, hyphenated or separate. They become separate words.
_STREET_ENDINGS = ("strasse", "straat", "str")
_KOREAN_ENDINGS = ("daero", "ro", "gil", "gu")
_NON_LETTERS = bytes(code for code in range(256) if not chr(code).isalnum() or code >= 128)
_KOREAN_FLAT = re.compile(r"\b(?:(\d+)dong[ ,]+)?(\d+)ho\b")
_ORDINAL = re.compile(r"(\d+)(st|nd|rd|th)?")
_NUMBERED_WORDS = frozenset(("apt", "fl", "bldg", "blk"))
_EXCLUDED_WORDS = frozenset(("", ","))
_US_ZIP_LENGTH = 5


def normalize_consignment(c: Consignment) -> NormalForms:
    """Compute all normal forms of a consignment. The text of the goods keeps its spelling."""
    return NormalForms(
        normalize_name(c.sender_name),
        normalize_address(c.sender_address, c.sender_city, c.sender_postcode, c.sender_country),
        normalize_phone(c.sender_phone, c.sender_country),
        normalize_email(c.sender_email),
        normalize_name(c.consignee_name),
        normalize_address(c.consignee_address, c.consignee_city, c.consignee_postcode, c.consignee_country),
        normalize_phone(c.consignee_phone, c.consignee_country),
        normalize_email(c.consignee_email),
        get_goods_hs(c),
        get_goods_text(c),
    )


def read_country(country: str | None) -> str:
    """Return a country in capitals, without blanks around it and invisible characters; '' if it is missing."""
    return _drop_invisible(country).strip().upper() if country else ""


def _drop_invisible(text: str) -> str:
    return "".join(char for char in text if category(char) != "Cf")


def normalize_name(name: str | None) -> str:
    """Normalize the name of a person or firm: remove case, script, punctuation, word order, legal form and title.

    The letters are rotated to the smallest rotation. So the position of the family name and spaces inside a given name do not
    matter, but the sequence of the letters does. A name with digits is not rotated.

    Examples
    --------
    >>> normalize_name("KIM, Min-su") == normalize_name("Mr Minsu Kim"), normalize_name("Su-min Kim") == normalize_name("Min-su Kim")
    (True, False)
    """
    if not name:
        return ""
    if not name.isascii():
        name = _HONORIFICS_IN_SCRIPTS.sub("", LEGAL_FORMS_IN_SCRIPTS.sub(" ", normalize("NFKC", name)))
        name = _to_latin(name)
    words = name.encode().translate(LETTERS, OMITTED_SIGNS).decode().split()
    letters = "".join(words)
    if len(words) > 1:
        firm = not (BUSINESS_WORDS - PERSONAL_NAME_WORDS).isdisjoint(words)
        kept = (
            word if word in PERSONAL_NAME_WORDS and not firm else NAME_WORDS.get(word, word) for word in words
        )
        letters = "".join(kept) or letters
    return rotate_to_smallest(letters) if letters.isalpha() else letters


def normalize_address(
    address: str | None, city: str | None, postcode: str | None, country: str | None
) -> str:
    """Normalize a postal address to country, postcode (else city), and its sorted words in normal form.

    The number of a flat, a floor or a post box stays with its word. Words of city, postcode and country in the street line are
    dropped. The result is '' without a street line.

    Examples
    --------
    >>> normalize_address("45 Teheran-ro, 101-1203", "Seoul", "06232", "KR")
    'KR|06232|101-1203 45 ro teheran'
    >>> normalize_address("Flat 3, 12 Harbour Street", "London", "E1 6AN", "GB")
    'GB|e16an|12 apt3 harbour st'
    """
    if not address:
        return ""
    home = read_country(country)
    words = split_street_words(address, home)
    if not words:
        return ""
    code = _keep_letters(postcode) if postcode else ""
    if home == "US":
        code = code[:_US_ZIP_LENGTH]
    town = split_place_words(city)
    repeated = {code, home.lower(), *town}
    if postcode and " " in postcode:
        repeated.update(postcode.lower().split())
    kept = words - repeated or words
    return f"{home}|{code or ''.join(town)}|{' '.join(sorted(kept))}"


def split_street_words(address: str, home: str) -> set[str]:
    """Split a street line into words in normal form. The country `home` defines the endings of street names."""
    if not address.isascii():
        address = _to_latin(normalize("NFKC", address))
    line = address.replace("#", " apt ").replace(",", " , ")
    line = line.encode().translate(LETTERS_IN_ADDRESSES, OMITTED_ADDRESS_SIGNS).decode()
    if "-" in line:
        line = _read_hyphens(line)
    words = line.split()
    if not POST_BOX_WORDS.isdisjoint(words):
        words = _POST_BOX.sub(r" pobox\1 ", line).split()
    elif home == "KR" and "ho" in line:
        words = _KOREAN_FLAT.sub(_format_korean_flat, line).split()
    words = list(map(ADDRESS_WORDS.get, words, words))
    if not _NUMBERED_WORDS.isdisjoint(words):
        words = _bind_numbers(words)
    distinct = set(words)
    if "str" in line:
        _split_endings(distinct, _STREET_ENDINGS)
    if home == "KR":
        _split_endings(distinct, _KOREAN_ENDINGS)
    return distinct - _EXCLUDED_WORDS


def _read_hyphens(line: str) -> str:
    """Resolve hyphens: keep 101-1203, join 45-gil, split teheran-ro."""
    read, *rest = line.split("-")
    for part in rest:
        if not read[-1:].isdigit():
            read = f"{read} {part}"
        elif part[:1].isdigit():
            read = f"{read}-{part}"
        else:
            read += part
    return read


def _format_korean_flat(found: re.Match[str]) -> str:
    """Rewrite 101dong 1203ho as 101-1203, and 1203ho alone as a flat."""
    building, flat = found.groups()
    return f"{building}-{flat}" if building else f"apt{flat}"


def _bind_numbers(words: list[str]) -> list[str]:
    """Join flats and floors with their number, so that sorting keeps them together. Drop them if there is no number."""
    bound: list[str] = []
    taken = False
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if taken:
            taken = False
        elif word == "apt":
            taken = after[-1:].isdigit() or after[:1].isdigit() or len(after) == 1
            taken = taken and "-" not in after and after != ","
            bound += ["apt" + after] if taken else []
        elif word in ("bldg", "blk") and after.isdigit():
            taken = True
            bound.append(word + after)
        elif word == "fl":
            taken = _bind_floor(bound, after)
        else:
            bound.append(word)
    return bound


def _bind_floor(bound: list[str], after: str) -> bool:
    """Add a floor to the words so far. Return True if it used the number after it."""
    before = _ORDINAL.fullmatch(bound[-1]) if bound else None
    if before and (before[2] or not after.isdigit()):
        bound[-1] = "fl" + before[1]
        return False
    if after.isdigit():
        bound.append("fl" + after)
        return True
    return False


def _split_endings(words: set[str], endings: tuple[str, ...]) -> None:
    """Split "hauptstrasse" into "haupt" and "st". Keep "45gil", because the number names the lane."""
    for word in [word for word in words if word.endswith(endings)]:
        words.remove(word)
        words.update(_strip_endings(word, endings))


def _strip_endings(word: str, endings: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the endings of a word."""
    parts = []
    while word.endswith(endings):
        ending = next(ending for ending in endings if word.endswith(ending))
        head = word[: -len(ending)]
        if not head or head.isdigit():
            break
        parts.append(ADDRESS_WORDS.get(ending, ending))
        word = head
    return (*parts, word)


def _to_latin(text: str) -> str:
    return anyascii(romanize(text))


def _keep_letters(text: str) -> str:
    """Return the letters and digits of a text in lower-case ASCII."""
    if text.isascii() and text.isalnum():
        return text.lower()
    return fold_to_ascii(text).encode().translate(None, _NON_LETTERS).decode()


_EMAIL_EDGES = ">." + "".join(filter(str.isspace, map(chr, range(0x3001))))


def normalize_email(email: str | None) -> str:
    """Normalize an e-mail address: lower case, no +tags, and no dots if the provider ignores them.

    Examples
    --------
    >>> normalize_email("J.Doe+shop@Googlemail.com")
    'jdoe@gmail.com'
    """
    if not email:
        return ""
    address = normalize("NFKC", _drop_invisible(email)).strip().casefold()
    address = address.rpartition("<")[2].removeprefix("mailto:").strip(_EMAIL_EDGES)
    local, at, domain = address.rpartition("@")
    if not at:
        return address
    local = local.partition("+")[0] or local
    if domain in GMAIL_DOMAINS:
        local, domain = local.replace(".", "") or local, "gmail.com"
    return f"{local}@{domain}"


_NON_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte < 58)


def normalize_phone(phone: str | None, country: str | None) -> str:
    """Normalize a number to `+`, calling code and national digits; '' if there is none.

    Parameters
    ----------
    phone : str or None
        Number as written: with `+`, `00`, a trunk zero, brackets, an extension.
    country : str or None
        ISO 3166-1 alpha-2 country of its owner, for a national number. Without it a national number stays plain digits.

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
    home = read_country(country)
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
    """Check a number in normal form.

    Parameters
    ----------
    form : str
        Result of `normalize_phone`; '' for a filler.
    country : str
        ISO 3166-1 alpha-2 country of its owner's address; '' if unknown.

    Returns
    -------
    implausible, foreign : bool
        True if its length or its digits are not plausible; True if its calling code is not that of the country.
    """
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
    return end == end[:1] * DUMMY_DIGITS or end in COUNTING_DIGITS


def _cut_extension(text: str) -> str:
    """Remove an extension and a second number."""
    lowered = text.lower().replace("ext", "x")
    for mark in "x#;/":
        head, found, _ = lowered.partition(mark)
        digits = "".join(filter(str.isdigit, head)).removeprefix(EXIT_CODE)
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
    american = plan is not None and plan.calling_code == NORTH_AMERICA
    return (EXIT_CODE, NORTH_AMERICAN_EXIT_CODE) if american else (EXIT_CODE,)


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
