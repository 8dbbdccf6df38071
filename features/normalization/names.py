"""Names of people and firms in normal form: without case, script, punctuation, word order, legal form and title.

Spellings of one name become equal in most cases. Names of two people stay apart.
"""

import re
from functools import lru_cache
from unicodedata import normalize

from features.normalization.letters import LETTERS, OMITTED_SIGNS, to_latin
from features.normalization.word_lists import WORD_LISTS, read_variants

_LISTS = WORD_LISTS["names"]
LEGAL_FORMS = frozenset(_LISTS["legal_forms"].split())
PERSONAL_NAME_WORDS = frozenset(_LISTS["personal"].split())
LEGAL_FORM_PHRASES = tuple(_LISTS["legal_form_phrases"])
BUSINESS_WORDS = LEGAL_FORMS | frozenset(_LISTS["trades"].split())
FIRM_WORDS = BUSINESS_WORDS - PERSONAL_NAME_WORDS  # words that show that a name is a firm's
ENDING_FORMS = frozenset(_LISTS["ending"].split())  # legal forms that show it at the end of a name only
NAME_WORDS = read_variants(_LISTS["variants"]) | dict.fromkeys([*LEGAL_FORMS, *_LISTS["omitted"].split()], "")
_LEGAL_FORMS_IN_SCRIPTS = re.compile("|".join(map(re.escape, LEGAL_FORM_PHRASES)))
_HONORIFICS_IN_SCRIPTS = re.compile(rf"(?:{'|'.join(_LISTS['honorifics'])})\s*$")
_CACHED_NAMES = 1 << 14


@lru_cache(_CACHED_NAMES)
def normalize_name(name: str | None) -> str:
    """Normalize the name of a person or firm; '' if it is missing.

    >>> normalize_name("KIM, Min-su") == normalize_name("Mr Minsu Kim"), normalize_name("Su-min Kim") == normalize_name("Min-su Kim")
    (True, False)
    """
    if not name:
        return ""
    if not name.isascii():
        name = _HONORIFICS_IN_SCRIPTS.sub("", _LEGAL_FORMS_IN_SCRIPTS.sub(" ", normalize("NFKC", name)))
        name = to_latin(name)
    words = name.encode().translate(LETTERS, OMITTED_SIGNS).decode().split()
    letters = "".join(words)
    if len(words) > 1:
        firm = not FIRM_WORDS.isdisjoint(words)
        kept = (
            word if word in PERSONAL_NAME_WORDS and not firm else NAME_WORDS.get(word, word) for word in words
        )
        letters = "".join(kept) or letters
    # Neither the position of the family name nor spaces matter, but the sequence of the letters does.
    return rotate_to_smallest(letters) if letters.isalpha() else letters


def rotate_to_smallest(letters: str) -> str:
    """Return the rotation of a text that sorts first."""
    first = min(letters)
    twice = letters + letters
    best = letters
    start = letters.find(first)
    while start >= 0:
        turned = twice[start : start + len(letters)]
        if turned < best:
            best = turned
        start = letters.find(first, start + 1)
    return best
