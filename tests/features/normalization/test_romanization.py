"""Hangul in Latin letters."""

import pytest

from features.normalization.romanization import FINALS, INITIALS, VOWELS, romanize


@pytest.mark.parametrize(
    ("hangul", "latin"),
    [
        ("세종대로", "sejongdaero"),
        ("학동로", "hakdongro"),
        ("한빛길", "hanbitgil"),
        ("부산", "busan"),
        ("대구", "daegu"),
    ],
)
def test_streets_and_cities_are_written_as_on_their_signs(hangul, latin):
    assert romanize(hangul) == latin


def test_the_table_holds_every_syllable():
    assert len(INITIALS) * len(VOWELS) * len(FINALS) == 11_172
    assert romanize("가힣") == "gahit"


def test_all_else_stays():
    assert romanize("12 Harbour Rd 東京 ㄱ") == "12 Harbour Rd 東京 ㄱ"
