"""Countries as two letters: from two or three letters, three digits, or a name in one of several languages."""

import csv
from functools import cache
from importlib.resources import files

from consignments.goods.vague_terms import normalize_words

OTHER_CODES = {"UK": "GB", "EL": "GR", "XI": "GB"}
"""Two letters that the EU or senders use in place of those of ISO 3166-1; XI is Northern Ireland."""
MAX_NAME_LENGTH = 100


def parse_country(text: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a country; what is not known comes back in capitals, as it was given.

    Examples
    --------
    >>> parse_country("kor"), parse_country("Korea, Republic of"), parse_country("410"), parse_country("uk"), parse_country("NA")
    ('KR', 'KR', 'KR', 'GB', 'NA')
    >>> parse_country("Atlantis"), parse_country(" ") is None
    ('ATLANTIS', True)
    """
    given = (text or "").strip()
    if not given:
        return None
    code = given.upper()
    if len(code) == 2:
        return OTHER_CODES.get(code, code)
    known = _load_countries()
    return known.get(code) or known.get(normalize_words(given[:MAX_NAME_LENGTH])) or code


@cache
def _load_countries() -> dict[str, str]:
    text = files("consignments").joinpath("countries.csv").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for row in csv.DictReader(text.splitlines()):
        keys = [row["code"], row["alpha3"], row["number"], *row["names"].split("|")]
        found.update(dict.fromkeys(filter(None, keys), row["code"]))
    return found
