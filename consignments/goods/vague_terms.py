"""Descriptions that say nothing of the goods: vague_terms.txt, and endings of file names."""

import re
import unicodedata
from functools import cache
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
