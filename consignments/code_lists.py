"""Lists of codes of a consignment in a table, as its quality codes: JSON text in the canonical frame, lists of strings in Parquet."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from consignments.columns import TEXT, ParsedColumn, format_value

CODES_TYPE = pa.list_(pa.string())
"""The Arrow type of a list of codes in Parquet."""
MAX_CODES, MAX_CODE_CHARACTERS = 50, 100
"""As `Consignment.quality` and `Alert.indicators` allow."""
BAD_CODES = "not a list of codes"

Codes = tuple[str, ...]
_decoder = msgspec.json.Decoder(Codes)


def decode_codes(text: str) -> Codes:
    """Read the JSON text of the codes of one consignment.

    Examples
    --------
    >>> decode_codes('["hs_missing"]')
    ('hs_missing',)
    """
    return _decoder.decode(text)


def encode_codes(codes: Codes) -> str:
    """Return the canonical JSON text of codes."""
    return msgspec.json.encode(codes).decode()


def read_codes(given: Any) -> ParsedColumn:
    """Convert a column of lists of codes to JSON text.

    Parameters
    ----------
    given : Arrow array
        JSON text, or lists of strings.
    """
    values = np.full(len(given), None, dtype=object)
    bad = np.zeros(len(given), dtype=bool)
    cache: dict[str | None, str | None] = {None: None}
    there = np.flatnonzero(given.is_valid())
    for place, value in zip(there.tolist(), given.drop_null().to_pylist(), strict=True):
        text = format_value(value)
        if text not in cache and text is not None:
            cache[text] = _normalize(text)
        values[place] = cache[text]
        bad[place] = text is not None and values[place] is None
    return ParsedColumn(pa.array(values, type=TEXT), [(BAD_CODES, bad)] if bad.any() else [])


def _normalize(text: str) -> str | None:
    try:
        codes = decode_codes(text)
    except msgspec.MsgspecError:
        return None
    if len(codes) > MAX_CODES or any(len(code) > MAX_CODE_CHARACTERS for code in codes):
        return None
    return encode_codes(codes)


def to_code_lists(texts: Any) -> Any:
    """Convert canonical JSON text to lists of strings, for Parquet."""
    return pa.array(
        [None if text is None else decode_codes(text) for text in texts.to_pylist()], type=CODES_TYPE
    )
