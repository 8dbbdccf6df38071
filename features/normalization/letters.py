"""Letters of any script: as lower-case ASCII, and without invisible characters."""

import string
from unicodedata import category, normalize

from anyascii import anyascii

from features.normalization.romanization import romanize


def make_letter_table(kept: str = "", instead: str = " ") -> bytes:
    """Build a table for `bytes.translate`: letters become lower case, digits and `kept` stay, other characters become `instead`."""
    table = bytearray(instead.encode() * 256)
    for sign in string.ascii_letters + string.digits + kept:
        table[ord(sign)] = ord(sign.lower())
    return bytes(table)


LETTERS = make_letter_table()
OMITTED_SIGNS = b".'`-"
NON_LETTERS = bytes(code for code in range(256) if not chr(code).isalnum() or code >= 128)
NON_DIGITS = bytes(code for code in range(256) if not 48 <= code < 58)
HANGUL_FILLERS = "\u115f\u1160\u3164\uffa0"


def fold_to_ascii(text: str) -> str:
    """Convert text of any script to lower-case ASCII letters with single spaces.

    >>> fold_to_ascii("  Straße  №5"), fold_to_ascii("Москва")
    ('strasse no5', 'moskva')
    """
    if not text.isascii():
        text = anyascii(normalize("NFKC", text))
    return " ".join(text.lower().split())


def to_latin(text: str) -> str:
    """Convert composed text of any script to ASCII; Hangul as on Korean street signs."""
    return anyascii(romanize(text))


def keep_letters(text: str) -> str:
    """Return the letters and digits of a text in lower-case ASCII."""
    if text.isascii() and text.isalnum():
        return text.lower()
    return fold_to_ascii(text).encode().translate(None, NON_LETTERS).decode()


def is_invisible(char: str) -> bool:
    """Check if a character is a format (category Cf: without width, a soft hyphen, a tag) or a filler of Hangul."""
    return category(char) == "Cf" or char in HANGUL_FILLERS


def drop_invisible(text: str) -> str:
    """Remove the invisible characters of a text."""
    return text if text.isascii() else "".join(char for char in text if not is_invisible(char))


def clean_country(country: str | None) -> str:
    """Return a country in capitals, without spaces around it and invisible characters; '' if it is missing."""
    return drop_invisible(country).strip().upper() if country else ""
