"""The Harmonized System: the existing headings, and the goods family of each.

Headings are those of HS 2022. The family of a code is compared with the family that the words of the goods name.
"""

import numpy as np
from numpy.typing import NDArray

from consignments.goods.hs_headings import list_headings
from features.goods import kernels as kernel
from features.normalization.word_lists import WORD_LISTS

CODES_IN_CHAPTER, CODES_IN_HEADING = 10_000, 100

_LISTS = WORD_LISTS["goods"]
FAMILIES: dict[str, str] = _LISTS["families"]
FAMILY_CODES = {family: code for code, family in enumerate(FAMILIES, start=1)}
TYPICAL_CODES, COVER_HEADINGS = _LISTS["typical"], _LISTS["cover"]


def build_codes() -> NDArray[np.uint16]:
    """Build the table of the family and flags of each six-digit code; 0: no such chapter."""
    codes = np.zeros(kernel.HS_TABLE_SIZE, dtype=np.uint16)
    for family, numbers in FAMILIES.items():
        for first, last in map(_parse_span, numbers.split()):
            codes[first:last] = FAMILY_CODES[family]
    known = np.zeros(kernel.HS_TABLE_SIZE, dtype=np.uint16)
    for chapter, headings in list_headings().items():
        first, last = chapter * CODES_IN_CHAPTER, (chapter + 1) * CODES_IN_CHAPTER
        known[first:last] |= kernel.CHAPTER_KNOWN
        for span in headings:
            low, high = first + span.start * CODES_IN_HEADING, first + span.stop * CODES_IN_HEADING
            known[low:high] |= kernel.HEADING_KNOWN
    for numbers, flag in (
        (TYPICAL_CODES, kernel.TYPICAL),
        (COVER_HEADINGS, kernel.COVER),
        (_LISTS["chemical"], kernel.CHEMICAL),
    ):
        for first, last in map(_parse_span, numbers.split()):
            known[first:last] |= flag
    return np.where(known, codes | known, 0).astype(np.uint16)


def _parse_span(numbers: str) -> tuple[int, int]:
    """Parse chapters, a heading or a subheading into a range of six-digit codes; the end is excluded."""
    low, _, high = numbers.partition("-")
    width = 10 ** (6 - len(low))
    return int(low) * width, (int(high or low) + 1) * width


def build_friends() -> NDArray[np.int64]:
    """Build for each family the bits of the families that fit it, including itself."""
    friends = np.zeros(kernel.MAX_FAMILIES, dtype=np.int64)
    for code in FAMILY_CODES.values():
        friends[code] = 1 << code
    friends[FAMILY_CODES["other"]] = -1  # fits all families
    for near in _LISTS["related"].split(";"):
        first, *others = (FAMILY_CODES[family] for family in near.split())
        for other in others:
            friends[first] |= 1 << other
            friends[other] |= 1 << first
    return friends
