"""Keys that occur twice in one JSON object. Decoders keep the last value, so two readers may see two records."""

import json
import re
from typing import Any

WHITE_SPACE = b" \t\n\r"
ONE_KEY = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"[^"]*"[ \t\n\r]*:[ \t\n\r]*')


class _RepeatedKey(Exception):
    """A key occurs twice in one object."""


def find_repeated_key(body: bytes | memoryview) -> str | None:
    """Find a key that occurs twice in one object of a valid JSON text; return None if there is none.

    Examples
    --------
    >>> find_repeated_key(b'{"a": {"b": 1}, "b": 2}'), find_repeated_key(b'{"a": [{"b": 1, "\\u0062": 2}]}')
    (None, 'b')
    """
    try:  # numbers stay text: nobody needs them, and Python refuses long ones
        json.loads(str(body, "utf-8"), object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str)
    except _RepeatedKey as found:
        return str(found)
    return None


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(next(name for place, name in enumerate(names) if name in names[:place]))


def is_only_value(body: bytes, value: bytes | memoryview) -> bool:
    """Check that the last value of a valid JSON object is its only one.

    Examples
    --------
    >>> is_only_value(b'{"a": [1]} ', b"[1]"), is_only_value(b'{"a": [], "a": [1]}', b"[1]")
    (True, False)
    """
    whole = body.rstrip(WHITE_SPACE).removesuffix(b"}").rstrip(WHITE_SPACE)
    return ONE_KEY.fullmatch(whole, 0, len(whole) - len(value)) is not None
