"""Character folding of goods texts: the normal form of each character.

Each character is folded by itself. Compatibility forms are composed; case and accents are dropped. Letters that look like Latin
letters or digits (confusables) become these. Other letters of European scripts are transliterated.
"""

from functools import cache, lru_cache
from typing import TypeVar
from unicodedata import category, combining, decimal, normalize

import numpy as np
from anyascii import anyascii
from numpy.typing import NDArray

from features.goods import kernels
from features.normalization.letters import is_invisible

# Letters that are read by their look, not by their sound. The first line of each pair looks like the second.
_LOOKALIKE_PAIRS = (
    ("авсԁеғԍһнііјкӏмпорԛгѕтуѵԝхзчбь", "abcdefghhiijklmnopqrstyvwx346b"),
    ("АВСЕНІЈКӀМОРԚЅТУѴԜХЗЧБ", "abcehijklmopqstyvwx346"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "abezhikmnoptyx"),
    ("αβεικνορςτυχγωημ", "abeikvopctuxywnu"),
    ("օոսհցԛᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢɑɡı", "onuhgqabcdeghijklmnoprtuvwyzagi"),
    ("@$€£¢", "aselc"),
)
LOOKALIKES = {
    char: latin for chars, latins in _LOOKALIKE_PAIRS for char, latin in zip(chars, latins, strict=True)
}
# Digits that are read as letters when names are searched; l reads as i.
DIGITS_FOR_LETTERS = dict(zip("0134578", "oieastb", strict=True))
_UNMAPPED_DIGITS = "269"
_HYPHENS = "−⁃˗‐‑‒–—―﹣－_"
_DOTS = "·•∙⋅。．｡․"
_PRIMES = "’‘‛′`´ʹʼ"
_COMMAS = "、，､"
_MARKS = (
    dict.fromkeys(_HYPHENS, "-")
    | dict.fromkeys(_DOTS, ".")
    | dict.fromkeys(_PRIMES, "'")
    | dict.fromkeys(_COMMAS, ",")
)
_ITEM_END = "|"
# Scripts whose other letters are transliterated: Latin, Greek, Cyrillic, Armenian and their extensions.
_EUROPEAN_BLOCKS = ((0x0080, 0x058F), (0x1D00, 0x1FFF), (0x2C60, 0x2C7F), (0xA640, 0xA69F), (0xA720, 0xA7FF))
# Large blocks whose letters are not folded: ideographs, Korean syllables, scripts of the supplementary planes.
_UNFOLDED_BLOCKS = (
    (0x3400, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0x12000, 0x1BFFF),
    (kernels.FOLD_SIZE, kernels.LAST_IDEOGRAPH),
)

Codes = TypeVar("Codes", int, NDArray[np.int64])
_UNASSIGNED_CATEGORIES = ("Cn", "Co")
"""Categories of unassigned code points. Each is folded to a blank."""


@cache
def build_fold_table() -> NDArray[np.uint32]:
    """Build the fold table of all code points below `FOLD_SIZE`, in the layout of `features.goods.kernels`."""
    codes = np.arange(kernels.FOLD_SIZE)
    table = (
        codes | (kernels.OTHER << kernels.KIND_AT) | (_compute_other_symbol(codes) << kernels.SYMBOL_AT)
    ).astype(np.uint32)
    several: list[int] = []
    others = np.ones(kernels.FOLD_SIZE, dtype=bool)
    for first, last in _UNFOLDED_BLOCKS:
        others[first : last + 1] = False
    for code in np.flatnonzero(others).tolist():
        if category(chr(code)) in _UNASSIGNED_CATEGORIES:
            table[code] = _encode_entry(" ", False)
            continue
        entries = [_encode_entry(char, lookalike) for char, lookalike in fold_character(chr(code))]
        if len(entries) == 1:
            table[code] = entries[0]
        elif entries:
            count, place = len(entries) << kernels.SYMBOL_AT, kernels.FOLD_SIZE + len(several)
            table[code] = kernels.SEVERAL | count | place
            several += entries
        else:
            table[code] = (kernels.DROPPED << kernels.KIND_AT) | kernels.LOOKALIKE * is_unseen(chr(code))
    return np.concatenate([table, np.array(several, dtype=np.uint32)])


def fold_character(char: str) -> list[tuple[str, bool]]:
    """Fold one character. Return its characters, each with True if it is a letter or digit read from a confusable."""
    if is_unfolded(char):
        return [(char, False)]
    if is_unseen(char) or category(char) in ("Mn", "Me", "Cs"):
        return []
    composed = char if char in LOOKALIKES else normalize("NFKC", char)
    alike = char in LOOKALIKES or ord(char) >= kernels.FIRST_NON_LATIN
    letters = "".join(_fold_composed(part) for part in composed)[: kernels.MAX_LETTERS]
    return [(letter, alike and letter.isascii() and letter.isalnum()) for letter in letters]


def is_unseen(char: str) -> bool:
    """Check if a character is invisible, or of a plane without letters."""
    return is_invisible(char) or ord(char) > kernels.LAST_IDEOGRAPH


def is_unfolded(char: str) -> bool:
    """Check if a character belongs to the large blocks whose letters are not folded."""
    return _is_within(ord(char), _UNFOLDED_BLOCKS)


def _is_within(code: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    for first, last in blocks:  # noqa: SIM110 - any() costs four times as much, and a restart waits
        if first <= code <= last:
            return True
    return False


def _fold_composed(char: str) -> str:
    """Fold one composed character."""
    if char in LOOKALIKES:
        return LOOKALIKES[char]
    if category(char)[0] in "ZC":
        return " "
    if (digit := decimal(char, None)) is not None:
        return str(digit)
    bare = _drop_accents(char.casefold())
    if len(bare) == 1 and bare in LOOKALIKES:
        return LOOKALIKES[bare]
    if category(char)[0] not in "LNM":
        return _MARKS.get(char, char)
    if _is_within(ord(char), _EUROPEAN_BLOCKS):
        return "".join(letter for letter in anyascii(bare).lower() if letter.isalnum())
    return bare


def _drop_accents(char: str) -> str:
    """Drop accents from letters of European scripts. Syllables of other scripts stay whole."""
    if not _is_within(ord(char[0]), _EUROPEAN_BLOCKS):
        return char
    return "".join(part for part in normalize("NFKD", char) if not combining(part)) or char


def _encode_entry(char: str, lookalike: bool) -> int:
    kind = _classify(char)
    symbol, mark = _choose_symbol(char, kind) << kernels.SYMBOL_AT, kernels.LOOKALIKE if lookalike else 0
    return ord(char) & kernels.CODE_MASK | (kind << kernels.KIND_AT) | symbol | mark


def _classify(char: str) -> int:
    if char == " ":
        return kernels.BLANK
    if char == _ITEM_END:
        return kernels.BREAK
    if "a" <= char <= "z":
        return kernels.LETTER
    if "0" <= char <= "9":
        return kernels.DIGIT
    return kernels.OTHER if is_unfolded(char) or category(char)[0] in "LNM" else kernels.MARK


def _choose_symbol(char: str, kind: int) -> int:
    if kind == kernels.DIGIT and char in _UNMAPPED_DIGITS:
        return 27 + _UNMAPPED_DIGITS.index(char)
    if kind in (kernels.LETTER, kernels.DIGIT):
        letter = DIGITS_FOR_LETTERS.get(char, char)
        return ord("i" if letter == "l" else letter) - ord("a") + 1
    return _compute_other_symbol(ord(char)) if kind == kernels.OTHER else 0


def _compute_other_symbol(codes: Codes) -> Codes:
    return kernels.FIRST_OTHER_SYMBOL + codes % (kernels.SYMBOLS - kernels.FIRST_OTHER_SYMBOL)


def fold_text(text: str) -> list[int]:
    """Return the fold entries of the characters of a text, without dropped characters."""
    return [entry for char in normalize("NFC", text) for entry in _fold_cached(char)]


@lru_cache(1024)
def _fold_cached(char: str) -> tuple[int, ...]:
    return tuple(_encode_entry(*stood) for stood in fold_character(char))
