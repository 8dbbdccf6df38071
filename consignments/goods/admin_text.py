"""Administrative text in the place of a goods description: admin_text.toml."""

import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files

from consignments.goods.vague_terms import normalize_words

MIN_WORD_LENGTH = 3
CACHED_TEXTS = 8_192
"""Texts of which the answer is remembered: goods repeat."""
MAX_READ_CHARACTERS = 600
"""A longer text always names goods or is cut anyway; the bound keeps hostile texts cheap."""


@lru_cache(maxsize=CACHED_TEXTS)
def is_admin_text(description: str) -> bool:
    """Check whether a description holds phrases of carriage and paper work and nothing that could be goods."""
    words = normalize_words(description[:MAX_READ_CHARACTERS])
    phrases, fillers = _load_patterns()
    rest, found = phrases.subn(" ", f" {words} ")
    return found > 0 and not any(map(_may_name_goods, fillers.sub(" ", rest).split()))


def _may_name_goods(word: str) -> bool:
    return len(word) >= MIN_WORD_LENGTH and not any(char.isdigit() for char in word)


@cache
def _load_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    text = files("consignments.goods").joinpath("admin_text.toml").read_text(encoding="utf-8")
    lists = tomllib.loads(text)
    return _compile_words(lists["phrases"]), _compile_words(lists["fillers"])


def _compile_words(phrases: list[str]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"(?<![^ ])(?:{'|'.join(map(re.escape, longest_first))})(?![^ ])")
