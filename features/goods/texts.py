"""Goods texts as kernels read them: arrays of code points."""

from codecs import utf_32_le_encode
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from features.normalization.normal_forms import MAX_CHARACTERS

_CODE_POINT = np.dtype(np.uint32)


def encode_text(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text, composed (NFC) and cut at `MAX_CHARACTERS`. Any string is safe."""
    if not text.isascii():
        text = normalize("NFC", text[:MAX_CHARACTERS])
    points, _ = utf_32_le_encode(text[:MAX_CHARACTERS], "surrogatepass")
    return np.frombuffer(points, _CODE_POINT)
