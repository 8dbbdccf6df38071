"""Descriptions of goods that say nothing of them: vague terms (vague_terms.txt), endings of file names, and administrative text
(admin_text.toml).
"""

import re
import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files

FILE_ENDINGS = ("wpx", "doc", "docx", "pdf", "jpg", "jpeg", "png", "gif", "txt", "xls", "xlsx", "csv", "xml", "zip", "tif", "bmp")  # fmt: skip
WORDS = re.compile(r"[^\W_]+")


def read_vague_terms() -> list[str]:
    """Read the terms of vague_terms.txt, in their order."""
    text = files("consignments.goods").joinpath("vague_terms.txt").read_text(encoding="utf-8")
    lines = map(str.strip, text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def is_vague(description: str) -> bool:
    """Check whether a description is a vague term or a file ending and nothing else.

    Sources: Transport Canada, PACT guide, section 6.2 (unacceptable descriptions alone); EU ICS2, list of
    unacceptable goods descriptions (Delegated Regulation 2015/2446, Annex B, D.E. 18 05 000 000).
    """
    words = normalize_words(description)
    terms = _load_terms()
    return words in terms or (words.endswith("s") and words[:-1] in terms)


def normalize_words(text: str) -> str:
    """Return the words of a text in lower case, without accents, parted by single spaces."""
    if text.isascii():
        return " ".join(WORDS.findall(text.lower()))
    parts = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in parts if not unicodedata.combining(char))
    return " ".join(WORDS.findall(unicodedata.normalize("NFC", plain)))


@cache
def _load_terms() -> frozenset[str]:
    return frozenset((*read_vague_terms(), *FILE_ENDINGS))


MIN_WORD_LENGTH = 3
CACHED_TEXTS = 8_192  # texts of which the answer is remembered: goods repeat
MAX_READ_CHARACTERS = 600
"""A longer text always names goods or is cut anyway; the bound keeps hostile texts cheap."""


@lru_cache(maxsize=CACHED_TEXTS)
def is_admin_text(description: str) -> bool:
    """Check whether a description holds phrases of carriage and paper work and nothing that could be goods."""
    words = normalize_words(description[:MAX_READ_CHARACTERS])
    phrases, fillers = _load_patterns()
    rest, found = phrases.subn(" ", f" {words} ")
    others = (word for word in fillers.sub(" ", rest).split() if len(word) >= MIN_WORD_LENGTH)
    return found > 0 and all(any(char.isdigit() for char in word) for word in others)


@cache
def _load_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    text = files("consignments.goods").joinpath("admin_text.toml").read_text(encoding="utf-8")
    lists = tomllib.loads(text)
    return _compile_words(lists["phrases"]), _compile_words(lists["fillers"])


def _compile_words(phrases: list[str]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"(?<![^ ])(?:{'|'.join(map(re.escape, longest_first))})(?![^ ])")
