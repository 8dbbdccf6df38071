"""The chapters and headings of the Harmonized System, 2022 edition: hs_headings.txt has `chapter:headings`."""

import re
from functools import cache
from importlib.resources import files

HS_FORM = re.compile(r"\d{4,14}", re.ASCII)
SEPARATORS = re.compile(r"[\s.\-]")


@cache
def list_headings() -> dict[int, tuple[range, ...]]:
    """Return the headings of each chapter, as numbers within it."""
    text = files("consignments.goods").joinpath("hs_headings.txt").read_text(encoding="utf-8")
    return {
        int(chapter): tuple(_parse_range(numbers) for numbers in headings.split(","))
        for chapter, headings in (part.split(":") for part in text.split())
    }


def _parse_range(numbers: str) -> range:
    low, _, high = numbers.partition("-")
    return range(int(low), int(high or low) + 1)


def has_heading(code: str) -> bool:
    """Check whether a code is four to fourteen digits that begin with an existing heading; separators do not matter."""
    digits = SEPARATORS.sub("", code)
    if not HS_FORM.fullmatch(digits):
        return False
    ranges = list_headings().get(int(digits[:2]), ())
    return any(int(digits[2:4]) in numbers for numbers in ranges)
