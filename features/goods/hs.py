"""The Harmonized System: the existing headings, and the goods family of each.

Headings are those of HS 2022. The family of a code is compared with the family that the words of the goods name.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.goods.hs_headings import list_headings
from features.goods.kernels import (
    CHAPTER_KNOWN,
    CHEMICAL,
    COVER,
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


class HsTables(NamedTuple):
    """The tables of HS codes that the text kernel reads."""

    codes: NDArray[np.uint16]  # family and flags of each six-digit code; 0: no such chapter
    friends: NDArray[np.int64]  # for each family, the bits of the families that fit it, including itself


@cache
def build_hs_tables() -> HsTables:
    """Build the tables once per process."""
    return HsTables(_build_codes(), _build_friends())


def _build_codes() -> NDArray[np.uint16]:
    codes = np.zeros(HS_TABLE_SIZE, dtype=np.uint16)
    for family, numbers in FAMILIES.items():
        for first, last in map(_parse_span, numbers.split()):
            codes[first:last] = FAMILY_CODES[family]
    known = np.zeros(HS_TABLE_SIZE, dtype=np.uint16)
    for chapter, headings in list_headings().items():
        first, last = chapter * CODES_IN_CHAPTER, (chapter + 1) * CODES_IN_CHAPTER
        known[first:last] |= CHAPTER_KNOWN
        for span in headings:
            low, high = first + span.start * CODES_IN_HEADING, first + span.stop * CODES_IN_HEADING
            known[low:high] |= HEADING_KNOWN
    for numbers, flag in (
        (TYPICAL_CODES, TYPICAL),
        (COVER_HEADINGS, COVER),
        (_CHEMICAL_CHAPTERS, CHEMICAL),
    ):
        for first, last in map(_parse_span, numbers.split()):
            known[first:last] |= flag
    return np.where(known, codes | known, 0).astype(np.uint16)


def _parse_span(numbers: str) -> tuple[int, int]:
    """Parse chapters, a heading or a subheading into a range of six-digit codes; the end is excluded."""
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
