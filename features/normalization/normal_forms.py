"""Normal forms: one spelling for values that people write in many ways, so that history and alerts recognize them.

A normal form is deterministic. Fast rules make it equal for equal meanings in most cases. '' means missing. Normal forms of personal
data never leave the process: history turns them into keyed pseudonyms.
"""

import re
import string
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

from anyascii import anyascii

from consignments.records import Consignment, Item
from features.normalization.phones import normalize_phone
from features.normalization.romanization import romanize

__all__ = [
    "NormalForms",
    "clean_hs",
    "fold_to_ascii",
    "get_goods_hs",
    "get_goods_text",
    "make_letter_table",
    "normalize_address",
    "normalize_consignment",
    "normalize_email",
    "normalize_goods",
    "normalize_name",
    "normalize_phone",
    "rotate_to_smallest",
    "split_place_words",
    "split_street_words",
]

# Legal forms, titles and connecting words that one writer adds and another leaves out. Legal forms that are also personal
# names (SA, AS) are not listed: to merge two people is worse than to split one firm.
_LEGAL_FORMS_TEXT = """
    ltd limited inc incorporated llc llp plc corp corporation co company cia pty pte pvt private gmbh mbh ag kg kgaa ohg ug ev
    bv nv oy oyj ab aps srl sarl sas spa snc sro doo dooel kft zrt ooo zao oao pao jsc pjsc tov sdn bhd kk yk tbk ltda eirl lda
"""
LEGAL_FORMS = frozenset(_LEGAL_FORMS_TEXT.split())
_OMITTED_NAME_WORDS = (
    "mr mrs ms miss dr prof sir madam herr frau monsieur mme mlle senor senora the and und et"
)
# Words of firms' names that are often abbreviated.
_NAME_WORDS_TEXT = """
    trading: trdg trd
    import: imp impt
    export: exp expt
    technology: tech technologies
    international: intl
    manufacturing: mfg
    industries: ind
    electronics: elec
    brothers: bros
    group: grp
"""
# Legal forms in scripts that write no space around them, longest first, and courtesy words after a name.
LEGAL_FORMS_IN_SCRIPTS = re.compile(
    r"주식회사|유한책임회사|유한회사|합자회사|\(주\)|\(유\)"
    r"|有限责任公司|有限責任公司|股份有限公司|股份公司|有限公司|株式会社|有限会社|合同会社|\(株\)|\(有\)"
)
_HONORIFICS_IN_SCRIPTS = re.compile(r"(?:님|귀하|귀중|様|御中)\s*$")

# Words of addresses and their normal form; '' is dropped.
_ADDRESS_WORDS_TEXT = """
    st: street str saint strasse straat
    rd: road
    ave: avenue av avenida
    blvd: boulevard blv bvd
    ln: lane
    dr: drive drv
    ct: court
    cl: close
    sq: square
    pl: place
    ter: terrace
    cres: crescent
    hwy: highway
    pkwy: parkway
    bldg: building bld
    blk: block
    ctr: center centre
    ind: industrial
    est: estate
    dist: district
    n: north
    s: south
    e: east
    w: west
    apt: apartment apartments appartement apartamento apto appt flat unit suite ste room rm wohnung whg kv
    fl: floor flr f etage piso stock cheung
    c: calle
"""
_OMITTED_ADDRESS_WORDS = "no nr num number numero ndeg and the of"
_POST_BOX = re.compile(
    r"\b(?:(?:p ?o ?|post ?office |post ?)box|p ?o ?b|postfach|postbus|apartado|casilla|boite postale|saseoham)"
    r"(?: (?:no|nr|number))? ?(\d+)"
)
_POST_BOX_WORDS = frozenset(
    ("box", "pobox", "pob", "postfach", "postbus", "apartado", "casilla", "postale", "saseoham")
)
_MAX_FLOOR = 99


def _read_words(text: str) -> dict[str, str]:
    """Parse lines of `normal word: variants` into a mapping from variants to the normal word."""
    lines = [line.split(":") for line in text.strip().splitlines()]
    return {word: ours.strip() for ours, others in lines for word in others.split()}


def _read_address_words() -> dict[str, str]:
    words = _read_words(_ADDRESS_WORDS_TEXT)
    words |= dict.fromkeys(_OMITTED_ADDRESS_WORDS.split(), "")
    for floor in range(1, _MAX_FLOOR + 1):
        words |= dict.fromkeys((f"{floor}f", f"{floor}fl", f"{floor}cheung"), f"fl{floor}")
    return words


NAME_WORDS = _read_words(_NAME_WORDS_TEXT) | dict.fromkeys([*LEGAL_FORMS, *_OMITTED_NAME_WORDS.split()], "")
ADDRESS_WORDS = _read_address_words()
# Endings that are written joined, hyphenated or separate. They become separate words.
_STREET_ENDINGS = ("strasse", "straat", "str")
_KOREAN_ENDINGS = ("daero", "ro", "gil", "gu")


def make_letter_table(kept: str = "", instead: str = " ") -> bytes:
    """Build a table for `bytes.translate`: letters become lower case, digits and `kept` stay, other characters become `instead`."""
    table = bytearray(instead.encode() * 256)
    for sign in string.ascii_letters + string.digits + kept:
        table[ord(sign)] = ord(sign.lower())
    return bytes(table)


# Translating bytes takes a fifth of the time of translating a string, which took most of the time of a normal form.
_LETTERS = make_letter_table()
_LETTERS_IN_ADDRESSES = make_letter_table("-,/").replace(b"/", b"-")
_OMITTED_SIGNS, _OMITTED_ADDRESS_SIGNS = b".'`-", b".'`"
_NON_LETTERS = bytes(code for code in range(256) if not chr(code).isalnum() or code >= 128)
_KOREAN_FLAT = re.compile(r"\b(?:(\d+)dong[ ,]+)?(\d+)ho\b")
_ORDINAL = re.compile(r"(\d+)(st|nd|rd|th)?")
_NUMBERED_WORDS = frozenset(("apt", "fl", "bldg", "blk"))
_EXCLUDED_WORDS = frozenset(("", ","))
_CITY_CACHE_SIZE = _STREET_CACHE_SIZE = 1 << 14
SENDER_CACHE_SIZE = 1 << 12
"""Number of cached names and addresses. Three of four simulated senders are in the cache."""
_US_ZIP_LENGTH = 5
_GMAIL = frozenset(("gmail.com", "googlemail.com"))


class NormalForms(NamedTuple):
    """The normal forms of one consignment; '' if missing. All except `hs` and `text` are personal data."""

    sender_name: str
    sender_address: str
    sender_phone: str
    sender_email: str
    consignee_name: str
    consignee_address: str
    consignee_phone: str
    consignee_email: str
    hs: str
    text: str


def normalize_consignment(c: Consignment) -> NormalForms:
    """Compute all normal forms of a consignment. The text of the goods keeps its spelling."""
    return NormalForms(
        _normalize_sender_name(c.sender_name),
        _normalize_sender_address(c.sender_address, c.sender_city, c.sender_postcode, c.sender_country),
        normalize_phone(c.sender_phone, c.sender_country),
        normalize_email(c.sender_email),
        normalize_name(c.consignee_name),
        normalize_address(c.consignee_address, c.consignee_city, c.consignee_postcode, c.consignee_country),
        normalize_phone(c.consignee_phone, c.consignee_country),
        normalize_email(c.consignee_email),
        get_goods_hs(c),
        get_goods_text(c),
    )


def normalize_goods(c: Consignment) -> NormalForms:
    """Compute the normal forms of the goods only. Those of the parties, which take most of the time, are ''."""
    return NormalForms("", "", "", "", "", "", "", "", get_goods_hs(c), get_goods_text(c))


def fold_to_ascii(text: str) -> str:
    """Convert text of any script to lower-case ASCII letters with single spaces.

    Compatibility forms are composed first (NFKC). Then other scripts are transliterated.

    Examples
    --------
    >>> fold_to_ascii("  Straße  №5"), fold_to_ascii("Москва")
    ('strasse no5', 'moskva')
    """
    if not text.isascii():
        text = anyascii(normalize("NFKC", text))
    return " ".join(text.lower().split())


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
    words = name.encode().translate(_LETTERS, _OMITTED_SIGNS).decode().split()
    letters = "".join(words)
    if len(words) > 1:
        letters = "".join(map(NAME_WORDS.get, words, words)) or letters
    return rotate_to_smallest(letters) if letters.isalpha() else letters


def rotate_to_smallest(letters: str) -> str:
    """Return the rotation of a text that sorts first."""
    first = min(letters)
    twice = letters + letters
    best = letters
    start = letters.find(first)
    while start >= 0:
        turned = twice[start : start + len(letters)]
        if turned < best:
            best = turned
        start = letters.find(first, start + 1)
    return best


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
    home = country.strip().upper() if country else ""
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


@lru_cache(maxsize=_CITY_CACHE_SIZE)
def split_place_words(city: str | None) -> tuple[str, ...]:
    """Split the name of a city into words in normal form."""
    if not city:
        return ()
    return tuple(
        _to_latin(normalize("NFKC", city)).encode().translate(_LETTERS, _OMITTED_SIGNS).decode().split()
    )


def split_street_words(address: str, home: str) -> set[str]:
    """Split a street line into words in normal form. The country `home` defines the endings of street names."""
    if not address.isascii():
        address = _to_latin(normalize("NFKC", address))
    line = address.replace("#", " apt ").replace(",", " , ")
    line = line.encode().translate(_LETTERS_IN_ADDRESSES, _OMITTED_ADDRESS_SIGNS).decode()
    if "-" in line:
        line = _read_hyphens(line)
    words = line.split()
    if not _POST_BOX_WORDS.isdisjoint(words):
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


@lru_cache(_STREET_CACHE_SIZE)
def _strip_endings(word: str, endings: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the endings of a word. The result is cached, because consignees of one street or quarter share it."""
    parts = []
    while word.endswith(endings):
        ending = next(ending for ending in endings if word.endswith(ending))
        head = word[: -len(ending)]
        if not head or head.isdigit():
            break
        parts.append(ADDRESS_WORDS.get(ending, ending))
        word = head
    return (*parts, word)


# Only senders are cached: most send many consignments. Consignees recur too rarely for a cache.
_normalize_sender_name = lru_cache(SENDER_CACHE_SIZE)(normalize_name)
_normalize_sender_address = lru_cache(SENDER_CACHE_SIZE)(normalize_address)


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
    address = email.strip().lower() if email.isascii() else normalize("NFKC", email).strip().casefold()
    address = address.rpartition("<")[2].removeprefix("mailto:").strip(_EMAIL_EDGES)
    local, at, domain = address.rpartition("@")
    if not at:
        return address
    local = local.partition("+")[0] or local
    if domain in _GMAIL:
        local, domain = local.replace(".", "") or local, "gmail.com"
    return f"{local}@{domain}"


def clean_hs(hs_code: str | None) -> str:
    """Return the digits of a Harmonized System code; '' if there are none."""
    if not hs_code:
        return ""
    if hs_code.isascii() and hs_code.isdigit():
        return hs_code
    return "".join(char for char in hs_code if "0" <= char <= "9")


def get_goods_hs(c: Consignment) -> str:
    """Return the digits of the HS code of the goods, else of the first item that has one; '' if there is none."""
    code = clean_hs(c.hs_code)
    if code or not c.items:
        return code
    return next((code for item in c.items if (code := clean_hs(item.hs_code))), "")


def get_goods_text(c: Consignment) -> str:
    """Join the description and the distinct descriptions of the items by ' | ', as written; '' if there is none."""
    return join_goods_texts(c.description, c.items or ())


def join_goods_texts(description: str | None, items: Sequence[Item]) -> str:
    """Join a description and the distinct descriptions of items as `get_goods_text` does."""
    if not items:
        return description or ""
    texts = [description, *(item.description for item in items)]
    return " | ".join(dict.fromkeys(text for text in texts if text))
