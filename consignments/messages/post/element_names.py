"""Names of elements in declarations, read as what they mean, in English and other languages of posts."""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from anyascii import anyascii

from consignments.messages.configuration import load_table
from consignments.records import SIDES

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
MAX_WORDS_OF_PHRASE = 4
MIN_LETTERS_INSIDE = 3
"""Shorter words are known only if they stand alone: `to` is not read in `total`."""
MAX_NAME_LENGTH = 60
MIN_LETTERS_AT_END = 4
"""A known word has at least so many if others stand before it without a break: `paino` in `kokonaispaino`."""
UNKNOWN = "unknown"


class Meaning(NamedTuple):
    """The meaning of one word or phrase of a name: `sides` sender, `party` postcode, `goods` hs_code, `weak` names, …"""

    section: str
    name: str


STOPS = {"importer": "consignee", "pickup": "sender", "delivery": "consignee"}
"""The party that imports, or stands where a parcel is fetched or brought, if no other name says who it is."""
NO_STOPS = {"pickup": Meaning("sides", "other"), "delivery": Meaning(UNKNOWN, "delivery")}
"""What these words mean where they say no party, as next to other words in `deliveryRoute`."""
IDENTIFIERS = {None: "identifier", "sender": "account", "declarant": "declarant"}
"""What a plain number is, by the party that has it."""
GOODS, NAME, NUMBER, WHOLE = (Meaning("weak", name) for name in ("goods", "names", "numbers", "wholes"))
ALONE = {"net": "net_weight", "gross": "gross_weight", "total": "total_value"}
"""What an amount means if nothing else is said."""
VALUES = ("value", "unit_value", "total_value")
AMOUNTS = (*VALUES, "postage", "quantity", "weight", "net_weight", "gross_weight")
PICKUP, QUALIFIER, CODE = Meaning("sides", "pickup"), Meaning("weak", "qualifiers"), Meaning("weak", "codes")
"""A word such as type or flag: the value says of which kind something is."""


@cache
def load_words() -> dict[str, dict[str, tuple[str, ...]]]:
    """Read the lists of words by section and meaning."""
    return {
        section: {name: tuple(words.split()) for name, words in table.items()}
        for section, table in load_table("post/element_words").items()
    }


@cache
def index_columns(section: str) -> dict[str, str]:
    """Index the columns of a section by fact."""
    return {fact: column for column, facts in load_words()[section].items() for fact in facts}


@cache
def _index_words() -> dict[str, Meaning]:
    sections = ("weak", "amounts", "units_in_names", "goods", "record", "party", "sides")
    return {
        word: Meaning(section, name)
        for section in sections
        for name, words in load_words()[section].items()
        for word in words
    }


@lru_cache(maxsize=4096)
def read_name(name: str) -> tuple[Meaning, ...]:
    """Read the meanings of a name, in order."""
    return tuple(_read_phrases(split_words(name)))


def split_words(name: str) -> list[str]:
    """Split a name into its words, in ASCII letters and lower case."""
    return [word.lower() for word in WORD.findall(anyascii(name[:MAX_NAME_LENGTH]))]


def _read_phrases(words: Sequence[str]) -> Iterator[Meaning]:
    known = _index_words()
    while words:
        counts = range(min(MAX_WORDS_OF_PHRASE, len(words)), 0, -1)
        phrases = ((count, "".join(words[:count])) for count in counts)
        found = ((count, known.get(each) or known.get(each.removesuffix("s"))) for count, each in phrases)
        count, meaning = next((each for each in found if each[1]), (1, None))
        yield from [meaning] if meaning else _split_joined(words[0])
        words = words[count:]


@lru_cache(maxsize=4096)
def _split_joined(text: str) -> list[Meaning]:
    """Read a word that is made of several known ones, or that ends in one."""
    for at in range(1, len(text) - MIN_LETTERS_INSIDE + 1):
        last, is_long = _index_words().get(text[at:]), at <= len(text) - MIN_LETTERS_AT_END
        before = _split_joined(text[:at]) if last else []
        if last and (is_long or UNKNOWN not in {each.section for each in before}):
            return [*before, last]
    known = _index_words().get(text) if len(text) >= MIN_LETTERS_INSIDE else None
    return [known or Meaning(UNKNOWN, text)]


class PlaceMeaning(NamedTuple):
    """The meaning of an element: a fact, of which party, and whether its own name says so."""

    fact: str | None
    side: str | None
    certain: bool


@lru_cache(maxsize=4096)
def read_place(place: tuple[str, ...]) -> PlaceMeaning:
    """Read what an element means by its own name and the names above it."""
    names = [read_part(part) for part in place]
    own, above = names[-1], names[-2] if len(names) > 1 else ()
    sides = [side for part in place for side in list_sides(part)]
    side = next((each for each in reversed(sides) if each not in STOPS), sides[-1] if sides else None)
    if sides and STOPS.get(sides[-1], side) != side and side not in STOPS:
        side = "other"
    weak = {each.name for each in own if each.section == "weak"}
    goods = any(GOODS in meanings and WHOLE not in meanings for meanings in names)
    is_apart = above[-1:] == (GOODS,) or list_sides(place[-1])
    fact, holder = _find_fact(own), _find_fact(above)
    inherited = None if is_apart else holder
    is_price = fact in VALUES and holder not in (None, "ignored", "tax", *AMOUNTS)
    if (inherited == "reference" or is_price) and split_words(place[-1]) != ["value"]:
        inherited = None  # an order has names and prices, and a product or service a price
    is_of_parcel = not weak.isdisjoint(("identifiers", "numbers")) and above and is_parcel(place[-2])
    is_inherited = not is_of_parcel and inherited in load_words()["facts"]["inherited"]
    is_known = all(each.section != UNKNOWN or each.name.isdecimal() for each in own)
    certain = is_known and not (is_price and holder == "service")
    charges = load_words()["facts"]["charges"]
    charged = [not set(split_words(part)).isdisjoint(charges) for part in place[-2:]]
    if fact == "date":
        is_plain = all(each.name == "date" or each.section == "weak" for each in own)
        certain = is_plain and holder is None and not any(charged)
    if fact in VALUES and (not is_inherited or inherited in VALUES):
        is_other = holder in ("tax", "ignored") or any(charged)
        fact = "ignored" if charged[-1] or (fact == "value" and is_other) else fact
    if goods and (fact, side) == ("country", "sender") and is_place(place, side):
        return PlaceMeaning("origin_country", None, certain)
    if inherited in load_words()["facts"]["specific"] and fact in ("country", "reference"):
        fact = inherited
    if fact is not None and fact != "value":
        return PlaceMeaning(fact, side, certain)
    if "names" in weak and (not is_inherited or inherited == "address"):
        known = certain and all(each.section != UNKNOWN for each in above)
        return PlaceMeaning("description" if goods and not side else "name", side, known)
    is_own = len(own) > 1 and inherited in index_columns("party_columns")
    if is_inherited and ((fact and not is_own) or weak - {"goods", "wholes"}):
        is_code = inherited == "address" and split_words(place[-1]) == ["code"]
        return PlaceMeaning("postcode" if is_code else inherited, side, not is_code)
    if fact is None and own and {each.section for each in own} <= {"sides", "weak"}:
        is_code = not weak.isdisjoint(("identifiers", "numbers", *(["codes"] if side else [])))
        if own[-1].section == "sides" and own[-1].name not in STOPS and (goods or not is_code):
            country = "origin_country" if goods and side == "sender" else "country"
            return PlaceMeaning(country if is_place(place, own[-1].name) else "name", side, False)
        if is_code:
            is_other = side is None and holder in ("tax", "ignored")
            other = None if is_other else IDENTIFIERS.get(side, "ignored")
            counted = "quantity" if {GOODS, NUMBER} <= {*own} else None
            return PlaceMeaning(counted if goods else other, side, False)
        if "goods" in weak:
            return PlaceMeaning("description", side, False)
    if fact is None and len(own) == 1 and own[0].section == "amounts":
        return PlaceMeaning(ALONE.get(own[0].name), side, False)
    return PlaceMeaning(fact, side, certain)


def is_parcel(part: str) -> bool:
    """Check whether the name of one element says that it is about parcels, and not about goods in them."""
    return not set(split_words(part)).isdisjoint(load_words()["roles"]["parcels"])


def is_place(place: Sequence[str], side: str | None) -> bool:
    """Check whether a name that says a side may be that of a country alone, as of an origin, and not of a party."""
    places = {*load_words()["roles"]["places"]}
    return any(side in list_sides(part) and places & {*split_words(part)} for part in place)


def read_part(part: str) -> tuple[Meaning, ...]:
    """Read the name of one element; a role in brackets is a side."""
    name, _, role = part.partition("[")
    meanings = read_name(name.removeprefix("@"))
    others = [each for each in meanings if each.name not in STOPS]
    is_party = all(each.section in ("sides", "party", "weak") for each in others)
    if not is_party or not (others or meanings[:1] == (PICKUP,)):
        meanings = tuple(NO_STOPS.get(each.name, each) for each in meanings)
    return (*meanings, *read_role(role.partition("=")[2].removesuffix("]")))


def list_sides(part: str) -> list[str]:
    """List the sides that the name of one element says."""
    return [each.name for each in read_part(part) if each.section == "sides"]


def read_role(code: str) -> tuple[Meaning, ...]:
    """Read the sides that a code of a party's role spells, else the side of which it is a known code."""
    roles = load_words()["roles"]
    spelled = tuple(each for each in read_name(code) if each.section == "sides")
    known = (Meaning("sides", side) for side in SIDES if code.lower() in roles[side])
    return spelled or tuple(known)


def _find_fact(meanings: Sequence[Meaning]) -> str | None:
    """Find the fact that a name says: the last one, or what it means with words before it."""
    facts = [each.name for each in meanings if each.section in ("party", "goods", "record")]
    amounts = {each.name for each in meanings if each.section == "amounts"}
    sections = {each.section for each in meanings}
    if not facts and "units_in_names" in sections and CODE not in meanings:
        facts = ["weight"]
    if not facts:
        return "ignored" if QUALIFIER in meanings and sections == {"weak"} else None
    *before, last = facts
    has_no_kind = last == "postage" or last in index_columns("party_columns")
    if "ignored" in facts or meanings[-1] == QUALIFIER or (QUALIFIER in meanings and has_no_kind):
        return "ignored"
    for each in load_words()["facts"]["compounds"]:
        compound, _, fact = each.partition("=")
        *others, end = compound.split("+")
        if end == last and amounts.union(before).issuperset(others):
            return fact
    return last
