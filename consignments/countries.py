"""Countries as the two letters of ISO 3166-1: from two or three letters, three digits, or a name in one of thirty languages.

The names are English ones that declarations have, and those of Unicode CLDR 49 in languages of posts.
"""

import csv
from functools import cache
from importlib.resources import files

from consignments.goods.descriptions import normalize_words

OTHER_CODES = {"UK": "GB", "EL": "GR", "XI": "GB"}
"""Two letters that the EU or senders use in place of those of ISO 3166-1; XI is Northern Ireland."""
WITHDRAWN_CODES = ("AN",)  # codes that older data contain: the Netherlands Antilles, until 2010
MAX_NAME_LENGTH = 100


def parse_country(text: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a country; what is not known comes back in capitals, as it was given."""
    given = (text or "").strip()
    return find_country(given) or given.upper() or None


def find_country(text: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a country; None if it is not known."""
    code, known = text.strip().upper(), load_countries()
    return OTHER_CODES.get(code) or known.get(code) or known.get(normalize_words(text[:MAX_NAME_LENGTH]))


@cache
def load_countries() -> dict[str, str]:
    """Read all spellings of countries with their codes: the codes themselves, those of ISO 3166-1, and names."""
    text = files("consignments").joinpath("countries.csv").read_text(encoding="utf-8")
    found = dict(zip(WITHDRAWN_CODES, WITHDRAWN_CODES, strict=True))
    for row in csv.DictReader(text.splitlines()):
        keys = [row["code"], row["alpha3"], row["number"], *row["names"].split("|")]
        found.update(dict.fromkeys(filter(None, keys), row["code"]))
    return found
