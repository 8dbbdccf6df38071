"""Normal forms: one spelling for values that people write in many ways, so that history and alerts recognize them.

A normal form is deterministic. Fast rules make it equal for equal meanings in most cases. '' means missing. Normal forms of personal
data never leave the process: history turns them into keyed pseudonyms.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import decimal

from consignments.records import Consignment, Item
from features.normalization.addresses import normalize_address
from features.normalization.emails import normalize_email
from features.normalization.names import normalize_name
from features.normalization.phones import normalize_phone

TEXT_SEPARATOR = " | "
CHAPTER_DIGITS, HEADING_DIGITS = 2, 4
MAX_CHARACTERS = 16_384
"""Maximum number of characters that are read of the texts of the goods."""


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


class DeclaredTexts(NamedTuple):
    """Texts of a consignment: what features read, and what a reason quotes as it was written."""

    goods: str = ""
    hs: str = ""
    route: str = ""
    departure_country: str = ""
    destination_country: str = ""
    origin_country: str = ""
    sender_country: str = ""
    consignee_country: str = ""
    currency: str = ""
    carrier: str = ""
    sender_name: str = ""
    consignee_name: str = ""


DECLARED_COLUMNS = DeclaredTexts._fields[2:]


def get_declared_texts(c: Consignment) -> DeclaredTexts:
    """Return what a consignment declares."""
    plain = (getattr(c, name) or "" for name in DECLARED_COLUMNS)
    return DeclaredTexts(get_goods_text(c), get_goods_hs(c), *plain)


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


def normalize_goods(c: Consignment) -> NormalForms:
    """Compute the normal forms of the goods only. Those of the parties, which take most of the time, are ''."""
    return NormalForms("", "", "", "", "", "", "", "", get_goods_hs(c), get_goods_text(c))


def clean_hs(hs_code: str | None) -> str:
    """Return the digits of a Harmonized System code, those of any script in ASCII; '' if there are none."""
    if not hs_code:
        return ""
    if hs_code.isascii() and hs_code.isdigit():
        return hs_code
    return "".join(str(decimal(char)) for char in hs_code if char.isdecimal())


def get_goods_hs(c: Consignment) -> str:
    """Return the digits of the HS code of the goods, else of the first item that has one; '' if there is none."""
    return find_goods_hs(c.hs_code, c.items or ())


def find_goods_hs(hs_code: str | None, items: Sequence[Item]) -> str:
    """Find the HS code of goods and items as `get_goods_hs` does."""
    code = clean_hs(hs_code)
    if code or not items:
        return code
    return next((code for item in items if (code := clean_hs(item.hs_code))), "")


def get_goods_text(c: Consignment) -> str:
    """Join the description and the distinct descriptions of the items by ' | ', as written; '' if there is none."""
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
    # The longest are cut to one length, so that a part of each is read.
    longest = share_characters(list(map(len, texts)), room)
    return TEXT_SEPARATOR.join(text[:longest] for text in texts)


def share_characters(lengths: Sequence[int], room: int) -> int:
    """Return the largest number of characters to which all texts can be cut so that they fit."""
    sizes = range(1, room + 1)
    return bisect_right(sizes, room, key=lambda longest: sum(min(each, longest) for each in lengths))
