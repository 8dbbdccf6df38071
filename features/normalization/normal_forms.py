"""Normal forms: one spelling for values that people write in many ways, so that history and alerts recognize them.

A normal form is deterministic. Fast rules make it equal for equal meanings in most cases. '' means missing. Normal forms of personal
data never leave the process: history turns them into keyed pseudonyms.

Here are the lists of words, and the forms of goods. Kernels compute the forms of names, addresses, phones and e-mails
(`names`, `addresses`, `phone_kernels`, `emails`); Python reads them with `features.rows.described_rows`.
"""

import string
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from unicodedata import decimal, normalize

from anyascii import anyascii

from consignments.records import Consignment, Item
from features.normalization.romanization import romanize

# Legal forms, titles and connecting words that one writer adds and another leaves out. Legal forms that are also personal
# names (SA, AS) are not listed: to merge two people is worse than to split one firm.
_LEGAL_FORMS_TEXT = """
    ltd limited inc incorporated llc llp plc corp corporation co company cia pty pte pvt private gmbh mbh ag kg kgaa ohg ug ev
    bv nv oy oyj ab aps srl sarl sas spa snc sro doo dooel kft zrt ooo zao oao pao jsc pjsc tov sdn bhd kk yk tbk ltda eirl lda
"""
LEGAL_FORMS = frozenset(_LEGAL_FORMS_TEXT.split())
# Legal forms and connecting words that are also names or initials of people: Doo, Zao, The, A.B. They are left out of a
# name only if another word shows that it is a firm's.
_PERSONAL_NAME_WORDS_TEXT = "co doo zao pao tov sas the ag kg ug ev bv nv oy ab kk yk"
PERSONAL_NAME_WORDS = frozenset(_PERSONAL_NAME_WORDS_TEXT.split())
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
LEGAL_FORM_PHRASES = (
    "주식회사",
    "유한책임회사",
    "유한회사",
    "합자회사",
    "(주)",
    "(유)",
    "有限责任公司",
    "有限責任公司",
    "股份有限公司",
    "股份公司",
    "有限公司",
    "株式会社",
    "有限会社",
    "合同会社",
    "(株)",
    "(有)",
)
HONORIFIC_PHRASES = ("님", "귀하", "귀중", "様", "御中")

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
POST_BOX_WORDS = frozenset(
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


def make_letter_table(kept: str = "", instead: str = " ") -> bytes:
    """Build a table for `bytes.translate`: letters become lower case, digits and `kept` stay, other characters become `instead`."""
    table = bytearray(instead.encode() * 256)
    for sign in string.ascii_letters + string.digits + kept:
        table[ord(sign)] = ord(sign.lower())
    return bytes(table)


LETTERS = make_letter_table()
LETTERS_IN_ADDRESSES = make_letter_table("-,/").replace(b"/", b"-")
OMITTED_SIGNS, OMITTED_ADDRESS_SIGNS = b".'`-", b".'`"
TEXT_SEPARATOR = " | "
MAX_CHARACTERS = 16_384
"""Maximum number of characters that are read of the texts of the goods."""
_CITY_CACHE_SIZE = 1 << 14
GMAIL_DOMAINS = frozenset(("gmail.com", "googlemail.com"))


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


@lru_cache(maxsize=_CITY_CACHE_SIZE)
def split_place_words(city: str | None) -> tuple[str, ...]:
    """Split the name of a city into words in normal form."""
    if not city:
        return ()
    return tuple(
        _to_latin(normalize("NFKC", city)).encode().translate(LETTERS, OMITTED_SIGNS).decode().split()
    )


def _to_latin(text: str) -> str:
    return anyascii(romanize(text))


def clean_hs(hs_code: str | None) -> str:
    """Return the digits of a Harmonized System code, those of any script in ASCII; '' if there are none."""
    if not hs_code:
        return ""
    if hs_code.isascii() and hs_code.isdigit():
        return hs_code
    return "".join(str(decimal(char)) for char in hs_code if char.isdecimal())


def get_goods_hs(c: Consignment) -> str:
    """Return the digits of the HS code of the goods, else of the first item that has one; '' if there is none."""
    code = clean_hs(c.hs_code)
    if code or not c.items:
        return code
    return next((code for item in c.items if (code := clean_hs(item.hs_code))), "")


def get_goods_text(c: Consignment) -> str:
    """Join the description and the distinct descriptions of the items by ' | ', as written; '' if there is none.

    If they have more than MAX_CHARACTERS together, the longest are cut to one length, so that a part of each is read.
    """
    return join_goods_texts(c.description, c.items or ())


def join_goods_texts(description: str | None, items: Sequence[Item]) -> str:
    """Join a description and the distinct descriptions of items as `get_goods_text` does."""
    if not items:
        return description or ""
    texts = dict.fromkeys(text for text in (description, *(item.description for item in items)) if text)
    joined = TEXT_SEPARATOR.join(texts)
    if len(joined) <= MAX_CHARACTERS:
        return joined
    room = MAX_CHARACTERS - len(TEXT_SEPARATOR) * (len(texts) - 1)
    longest = share_characters(list(map(len, texts)), room)
    return TEXT_SEPARATOR.join(text[:longest] for text in texts)


def share_characters(lengths: Sequence[int], room: int) -> int:
    """Return the largest number of characters to which all texts can be cut so that they fit.

    Examples
    --------
    >>> share_characters([3, 9, 9], 15)
    6
    """
    longest, too_long = 0, room + 1
    while too_long - longest > 1:
        middle = (longest + too_long) // 2
        if sum(min(length, middle) for length in lengths) <= room:
            longest = middle
        else:
            too_long = middle
    return longest
