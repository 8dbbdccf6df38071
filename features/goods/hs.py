"""The Harmonized System: the existing headings, and the goods family of each.

Headings are those of HS 2022. The family of a code is compared with the family that the words of the goods name.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.goods.kernels import (
    CHAPTER_KNOWN,
    CHEMICAL,
    COVER,
    FAMILY_MASK,
    HEADING_KNOWN,
    HS_TABLE_SIZE,
    MAX_FAMILIES,
    TYPICAL,
)

CODES_IN_CHAPTER, CODES_IN_HEADING = 10_000, 100

# Families in the order of their codes, from 1, with their chapters or headings. Later entries override earlier ones.
FAMILIES: dict[str, str] = {
    "food": "01-24",
    "supplement": "2106",
    "plant": "06 09 12 13 14 24",
    "feed": "23",
    "chemical": "25 27-29 31 32 35 36 37 38",
    "pharma": "30",
    "cosmetic": "33",
    "cleaning": "34",
    "plastic": "39 40",
    "leather": "41-43",
    "wood": "44-46",
    "paper": "47-49",
    "textile": "50-67",
    "glass": "68-70",
    "jewellery": "71",
    "metal": "26 72-83",
    "machine": "84 85",
    "vehicle": "86-89",
    "instrument": "90-92",
    "household": "94 96",
    "toy": "95",
    "other": "93 97",
}
FAMILY_CODES = {family: code for code, family in enumerate(FAMILIES, start=1)}
# Families that honest shippers confuse: an item of one is often declared under the other.
_RELATED_FAMILIES = """
    food supplement plant feed; supplement pharma; plant pharma cosmetic; chemical plastic cleaning cosmetic pharma;
    cosmetic cleaning; leather textile; plastic household toy machine leather; wood household toy; glass household;
    jewellery metal glass; metal machine vehicle household; machine instrument vehicle toy household; textile toy
    household; paper toy household wood; chemical metal
"""

# Correct headings of new psychoactive substances by their chemistry: cathinones, phenethylamines, fentanyls, nitazenes and
# cannabinoids (indoles, indazoles), benzodiazepines, tryptamines, plants; HS 2022.
TYPICAL_CODES = """
    292239 293399 293299 293499 292229 292149 293359 293391 293333 293334 293339 293220 290539 121190 130219
"""
# Headings under which they are hidden: other chemicals, pigments, resins, cosmetics, supplements, medicines, feed, tea.
COVER_HEADINGS = "3824 3815 3204 3206 3907 3910 3304 3307 2106 3004 2309 0902"
_CHEMICAL_CHAPTERS = "28 29 38"

# Headings of each chapter.
_HEADINGS = """
    01:1-6 02:1-10 03:1-9 04:1-10 05:1-2,4-8,10-11 06:1-4 07:1-14 08:1-14 09:1-10 10:1-8 11:1-9 12:1-14 13:1-2 14:1,4
    15:1-18,20-22 16:1-5 17:1-4 18:1-6 19:1-5 20:1-9 21:1-6 22:1-9 23:1-9 24:1-4 25:1-26,28-30 26:1-21 27:1-16
    28:1-37,39-47,49-50,52-53 29:1-42 30:1-6 31:1-5 32:1-15 33:1-7 34:1-7 35:1-7 36:1-6 37:1-7 38:1-27 39:1-26 40:1-17
    41:1-7,12-15 42:1-3,5-6 43:1-4 44:1-21 45:1-4 46:1-2 47:1-7 48:1-14,16-23 49:1-11 50:1-7 51:1-13 52:1-12 53:1-3,5-11
    54:1-8 55:1-16 56:1-9 57:1-5 58:1-11 59:1-11 60:1-6 61:1-17 62:1-17 63:1-10 64:1-6 65:1-2,4-7 66:1-3 67:1-4 68:1-15
    69:1-7,9-14 70:1-11,13-20 71:1-18 72:1-29 73:1-26 74:1-13,15,18-19 75:1-8 76:1-16 78:1-2,4,6 79:1-5,7 80:1-3,7
    81:1-6,8-13 82:1-15 83:1-11 84:1-68,70-87 85:1-19,21-49 86:1-9 87:1-16 88:1-2,4-7 89:1-8 90:1-8,10-33 91:1-14
    92:1-2,5-9 93:1-7 94:1-6 95:3-8 96:1-20 97:1-6
"""


class HsTables(NamedTuple):
    """The tables of HS codes that the text kernel reads.

    Attributes
    ----------
    codes : uint16 array, (1,000,000,)
        Family code and flags of each six-digit code; 0: no such chapter.
    friends : int64 array, (MOST_FAMILIES,)
        For each family, the bits of the families that fit it, including itself.
    """

    codes: NDArray[np.uint16]
    friends: NDArray[np.int64]


@cache
def build_hs_tables() -> HsTables:
    """Build the tables once per process."""
    return HsTables(_build_codes(), _build_friends())


def get_goods_family(hs: str) -> str | None:
    """Return the family of an HS code of two digits or more; None if its chapter does not exist.

    Examples
    --------
    >>> get_goods_family("293399"), get_goods_family("0902"), get_goods_family("77")
    ('chemical', 'plant', None)
    """
    code = int(build_hs_tables().codes[int(hs[:6].ljust(6, "0"))]) & FAMILY_MASK
    return list(FAMILIES)[code - 1] if code else None


def _build_codes() -> NDArray[np.uint16]:
    codes = np.zeros(HS_TABLE_SIZE, dtype=np.uint16)
    for family, numbers in FAMILIES.items():
        for first, last in map(_parse_span, numbers.split()):
            codes[first:last] = FAMILY_CODES[family]
    known = np.zeros(HS_TABLE_SIZE, dtype=np.uint16)
    for chapter, headings in (part.split(":") for part in _HEADINGS.split()):
        first, last = _parse_span(chapter)
        known[first:last] |= CHAPTER_KNOWN
        for heading in headings.split(","):
            low, _, high = heading.partition("-")
            known[
                first + int(low) * CODES_IN_HEADING : first + (int(high or low) + 1) * CODES_IN_HEADING
            ] |= HEADING_KNOWN
    for numbers, flag in (
        (TYPICAL_CODES, TYPICAL),
        (COVER_HEADINGS, COVER),
        (_CHEMICAL_CHAPTERS, CHEMICAL),
    ):
        for first, last in map(_parse_span, numbers.split()):
            known[first:last] |= flag
    return np.where(known, codes | known, 0).astype(np.uint16)


def _parse_span(numbers: str) -> tuple[int, int]:
    """Parse chapters, a heading or a subheading into a range of six-digit codes; the end is excluded.

    Examples
    --------
    >>> _parse_span("0902"), _parse_span("33-34")
    ((90200, 90300), (330000, 350000))
    """
    low, _, high = numbers.partition("-")
    width = 10 ** (6 - len(low))
    return int(low) * width, (int(high or low) + 1) * width


def _build_friends() -> NDArray[np.int64]:
    friends = np.zeros(MAX_FAMILIES, dtype=np.int64)
    for code in FAMILY_CODES.values():
        friends[code] = 1 << code
    friends[FAMILY_CODES["other"]] = -1  # fits all families
    for near in _RELATED_FAMILIES.split(";"):
        first, *others = (FAMILY_CODES[family] for family in near.split())
        for other in others:
            friends[first] |= 1 << other
            friends[other] |= 1 << first
    return friends
