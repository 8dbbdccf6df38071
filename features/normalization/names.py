"""Names of people and firms in normal form: without case, script, punctuation, word order, legal form and title.

Spellings of one name become equal in most cases. Names of two people stay apart.
"""

import re
from functools import lru_cache
from unicodedata import normalize

from features.normalization.letters import LETTERS, OMITTED_SIGNS, to_latin
from features.normalization.word_lists import read_words

# Legal forms, titles and connecting words that one writer adds and another leaves out. Legal forms that are also personal
# names (SA, AS) are not listed: to merge two people is worse than to split one firm.
_LEGAL_FORMS_TEXT = """
    ltd limited inc incorporated llc llp plc corp corporation co company cia pty pte pvt private gmbh mbh ag kg kgaa ohg ug ev
    bv nv oy oyj ab aps srl sarl sas spa snc sro doo dooel kft zrt ooo zao oao pao jsc pjsc tov sdn bhd kk yk tbk ltda eirl lda
"""
LEGAL_FORMS = frozenset(_LEGAL_FORMS_TEXT.split())
# Legal forms and connecting words that are also names or initials of people: Doo, Zao, The, A.B. They are left out of a
# name only if another word shows that it is a firm's.
_PERSONAL_NAME_WORDS_TEXT = "co doo zao pao tov sas the ag kg ug ev bv nv oy ab kk yk"
PERSONAL_NAME_WORDS = frozenset(_PERSONAL_NAME_WORDS_TEXT.split())
_OMITTED_NAME_WORDS = (
    "mr mrs ms miss dr prof sir madam herr frau monsieur mme mlle senor senora the and und et"
)
# Words of firms' names that are often abbreviated.
_NAME_WORDS_TEXT = """
    trading: trdg trd
    import: imp impt
    export: exp expt
    technology: tech technologies
    international: intl
    manufacturing: mfg
    industries: ind
    electronics: elec
    brothers: bros
    group: grp
"""
# Legal forms in scripts that write no space around them, longest first, and courtesy words after a name.
LEGAL_FORM_PHRASES = (
    "주식회사",
    "유한책임회사",
    "유한회사",
    "합자회사",
    "(주)",
    "(유)",
    "有限责任公司",
    "有限責任公司",
    "股份有限公司",
    "股份公司",
    "有限公司",
    "株式会社",
    "有限会社",
    "合同会社",
    "(株)",
    "(有)",
)
HONORIFIC_PHRASES = ("님", "귀하", "귀중", "様", "御中")

# Words that firms and institutions have in their names in addition to their legal form.
_TRADE_WORDS_TEXT = """
    trading trade import export imports exports store shop mall outlet market supply supplies group industries industrial
    factory manufacturing technology tech biotech chem chemical chemicals pharma pharmaceutical pharmaceuticals laboratory
    laboratories university hospital institute clinic electronics logistics express services service international global
    enterprise enterprises foundation school studio media sons brothers commerce digital textile fashion warehouse cargo freight
    trdg intl
"""
BUSINESS_WORDS = LEGAL_FORMS | frozenset(_TRADE_WORDS_TEXT.split())
FIRM_WORDS = BUSINESS_WORDS - PERSONAL_NAME_WORDS
"""Words that show that a name is a firm's."""
NAME_WORDS = read_words(_NAME_WORDS_TEXT) | dict.fromkeys([*LEGAL_FORMS, *_OMITTED_NAME_WORDS.split()], "")
_LEGAL_FORMS_IN_SCRIPTS = re.compile("|".join(map(re.escape, LEGAL_FORM_PHRASES)))
_HONORIFICS_IN_SCRIPTS = re.compile(rf"(?:{'|'.join(HONORIFIC_PHRASES)})\s*$")
_CACHED_NAMES = 1 << 14


@lru_cache(_CACHED_NAMES)
def normalize_name(name: str | None) -> str:
    """Normalize the name of a person or firm; '' if it is missing.

    Examples
    --------
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
