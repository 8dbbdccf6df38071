"""A text as an array of code points, and the record of tables and scratch arrays that the kernels of goods receive."""

from codecs import utf_32_le_encode
from functools import cache
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from features.goods.hs import build_codes, build_friends
from features.goods.kernels import MAX_FAMILIES, MAX_LETTERS, MAX_NGRAM, MIN_NGRAM
from features.goods.lexicon import load_text_tables
from features.normalization.normal_forms import MAX_CHARACTERS

_CODE_POINT = np.dtype(np.uint32)
_MAX_ENTRIES = MAX_LETTERS * MAX_CHARACTERS
_NGRAM_SIZES = MAX_NGRAM - MIN_NGRAM + 1
# Scratch arrays of a text, each as long as the longest text needs.
_SCRATCH = (
    ("entries", np.uint32, _MAX_ENTRIES),  # folded characters
    ("letters", np.uint32, _MAX_ENTRIES),  # those without separators, and the gap before each
    ("gaps", np.uint8, _MAX_ENTRIES + 1),
    ("families", np.int32, MAX_FAMILIES),
    ("chars", np.uint32, _MAX_ENTRIES + 2),  # words with single spaces
    ("seen", np.int32, 1 << (2 * _NGRAM_SIZES * (_MAX_ENTRIES + 2)).bit_length()),
    ("buckets", np.int32, _NGRAM_SIZES * (_MAX_ENTRIES + 2)),
)


@cache
def load_goods_tables() -> NDArray[Any]:
    """Build an array of one record, once per process: the arrays of `TextTables`, those of HS codes, and the scratch arrays."""
    arrays = load_text_tables()._asdict() | {"hs_codes": build_codes(), "friends": build_friends()}
    fields = [(name, array.dtype, array.shape) for name, array in arrays.items()]
    tables = np.zeros(1, np.dtype([*fields, *_SCRATCH], align=True))
    for name, array in arrays.items():
        tables[name][0] = array
    return tables


def encode_text(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text, composed (NFC) and cut at `MAX_CHARACTERS`. Any string is safe."""
    if not text.isascii():
        text = normalize("NFC", text[:MAX_CHARACTERS])
    points, _ = utf_32_le_encode(text[:MAX_CHARACTERS], "surrogatepass")
    return np.frombuffer(points, _CODE_POINT)
