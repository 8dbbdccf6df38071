"""Romanization of Hangul as on Korean street signs, so that an address matches in both scripts."""

FIRST_SYLLABLE, LAST_SYLLABLE = 0xAC00, 0xD7A3
# Revised Romanization (Ministry of Culture and Tourism notice 2000-8) in the order of Unicode syllables. Sound changes
# between syllables are not applied. "-" is a silent letter.
_INITIALS_TEXT = "g kk n d tt r m b pp s ss - j jj ch k t p h"
_VOWELS_TEXT = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i"
_FINALS_TEXT = "- k k k n n n t l k m l l l p l m p p t t ng t t k t p t"


INITIALS, VOWELS, FINALS = (
    [sound.replace("-", "") for sound in text.split()]
    for text in (_INITIALS_TEXT, _VOWELS_TEXT, _FINALS_TEXT)
)


class _RomanizationTable(dict[int, str | int]):
    """A table for `str.translate` that computes a syllable on first use."""

    def __missing__(self, code: int) -> str | int:
        if not FIRST_SYLLABLE <= code <= LAST_SYLLABLE:
            return code
        rest, final = divmod(code - FIRST_SYLLABLE, len(FINALS))
        initial, vowel = divmod(rest, len(VOWELS))
        self[code] = INITIALS[initial] + VOWELS[vowel] + FINALS[final]
        return self[code]


# ASCII characters are filled in at the start: most texts have only these and Hangul.
_ROMANIZATION = _RomanizationTable((code, code) for code in range(128))


def romanize(text: str) -> str:
    """Convert the Hangul in a text to Latin letters, and keep the rest."""
    return text.translate(_ROMANIZATION)
