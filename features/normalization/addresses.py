"""Postal addresses in normal form: country, postcode (else city), and the sorted words of the street line."""

import re
from functools import lru_cache
from unicodedata import normalize

from features.normalization.letters import (
    LETTERS,
    OMITTED_SIGNS,
    clean_country,
    keep_letters,
    make_letter_table,
    to_latin,
)
from features.normalization.word_lists import WORD_LISTS, read_variants

_LISTS = WORD_LISTS["addresses"]
_POST_BOX_WORDS = frozenset(_LISTS["post_box"].split())
_MAX_FLOOR = 99
_LETTERS_IN_ADDRESSES = make_letter_table("-,/").replace(b"/", b"-")
_OMITTED_ADDRESS_SIGNS = b".'`"
_POST_BOX = re.compile(
    r"\b(?:(?:(?:(?:g ?)?p ?o ?|post ?office |post ?)box|p ?o ?b|postfach|postbus|postbo[kx]s?|packstation|private bag"
    r"|(?:apartado|apdo|casilla)(?: (?:postal|aereo|de correos?))?|(?:boite|caixa|case) postale?|saseoham|sishuxiang"
    r"|abonentskiy yashchik)(?: (?:no|nr|number))? ?(\d*)|(?:a ya|a c|b ?p) ?(\d+)"
    r"|(?:poste|posta) restante|fermo ?posta|postlagernd|general delivery|lista de correos|do vostrebovaniya)"
)
"""Post boxes, and counters at which post is called for."""
POST_BOX = "pobox"
# Endings that are written joined, hyphenated or separate. They become separate words.
_STREET_ENDINGS = ("strasse", "straat", "str")
_KOREAN_ENDINGS = ("daero", "ro", "gil", "gu")
_KOREAN_FLAT = re.compile(r"\b(?:(\d+)dong[ ,]+)?(\d+)ho\b")
_ORDINAL = re.compile(r"(\d+)(st|nd|rd|th)?")
_IN_A_BUILDING = ("apt", "fl", "bldg", "blk")
_NUMBERED_WORDS = frozenset(_IN_A_BUILDING)
_DIGITS = re.compile(r"\d+")
_EXCLUDED_WORDS = frozenset(("", ","))
_US_ZIP_LENGTH = 5
_CACHED_CITIES = 1 << 14


def _read_address_words() -> dict[str, str]:
    words = read_variants(_LISTS["variants"]) | dict.fromkeys(_LISTS["omitted"].split(), "")
    for floor in range(1, _MAX_FLOOR + 1):
        words |= dict.fromkeys((f"{floor}f", f"{floor}fl", f"{floor}cheung"), f"fl{floor}")
    return words


ADDRESS_WORDS = _read_address_words()


def normalize_address(
    address: str | None, city: str | None, postcode: str | None, country: str | None
) -> str:
    """Normalize a postal address to country, postcode (else city), and its sorted words in normal form.

    >>> normalize_address("45 Teheran-ro, 101-1203", "Seoul", "06232", "KR")
    'KR|06232|101-1203 45 ro teheran'
    >>> normalize_address("Flat 3, 12 Harbour Street", "London", "E1 6AN", "GB")
    'GB|e16an|12 apt3 harbour st'
    """
    if not address:
        return ""
    home = clean_country(country)
    words = split_street_words(address, home)
    if not words:
        return ""
    code = keep_letters(postcode) if postcode else ""
    if home == "US":
        code = code[:_US_ZIP_LENGTH]
    town = split_place_words(city)
    repeated = {code, home.lower(), *town}
    if postcode and " " in postcode:
        repeated.update(postcode.lower().split())
    kept = words - repeated or words
    return f"{home}|{code or ''.join(town)}|{' '.join(sorted(kept))}"


def find_door(address: str) -> str:
    """Reduce a normal form to country, postcode (else city), numbers without flat and floor, and two letters of the street's longest word.

    A post box, and a street without a number, are no door: strangers share them.

    >>> find_door("GB|e16an|12 apt3 harbour st"), find_door("GB|e16an|pobox12")
    ('GB|e16an|12|ha', '')
    """
    if not address or POST_BOX in address:
        return ""
    home, code, words = address.split("|", 2)
    numbers: list[str] = []
    name = ""
    for word in words.split():
        found = _DIGITS.findall(word)
        if found and not word.startswith(_IN_A_BUILDING):
            numbers += found
        elif not found and len(word) > len(name):
            name = word
    return f"{home}|{code}|{' '.join(sorted(numbers))}|{name[:2]}" if numbers else ""


def split_street_words(address: str, home: str) -> set[str]:
    """Split a street line into words in normal form. The country `home` defines the endings of street names."""
    if not address.isascii():
        address = to_latin(normalize("NFKC", address))
    line = address.replace("#", " apt ").replace(",", " , ")
    line = line.encode().translate(_LETTERS_IN_ADDRESSES, _OMITTED_ADDRESS_SIGNS).decode()
    if "-" in line:
        line = _read_hyphens(line)
    words = line.split()
    if not _POST_BOX_WORDS.isdisjoint(words) or "saseoham" in line or "sishuxiang" in line:
        words = _POST_BOX.sub(rf" {POST_BOX}\1\2 ", line).split()
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
        rest = word
        while rest.endswith(endings):
            ending = next(ending for ending in endings if rest.endswith(ending))
            head = rest[: -len(ending)]
            if not head or head.isdigit():
                break
            words.add(ADDRESS_WORDS.get(ending, ending))
            rest = head
        words.add(rest)


@lru_cache(_CACHED_CITIES)
def split_place_words(city: str | None) -> tuple[str, ...]:
    """Split the name of a city into words in normal form."""
    if not city:
        return ()
    latin = to_latin(normalize("NFKC", city))
    return tuple(latin.encode().translate(LETTERS, OMITTED_SIGNS).decode().split())
