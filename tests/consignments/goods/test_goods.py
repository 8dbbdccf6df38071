"""Vague and administrative descriptions, and headings of the Harmonized System."""

import pytest

from consignments.goods.descriptions import is_admin_text, is_vague, normalize_words
from consignments.goods.hs_headings import has_heading, list_headings


@pytest.mark.parametrize("text", ["gift", "GIFTS!", "  Spare-parts ", "n/a", "图", "wpx", "件"])
def test_vague_terms_stand_alone(text: str) -> None:
    assert is_vague(text) == (text not in ("图", "件"))


def test_words_are_compared_without_accents_and_case() -> None:
    assert normalize_words("Échantillon – GRATUIT_ 2") == "echantillon gratuit 2"
    assert normalize_words("선물 세트") == "선물 세트"


ADMINISTRATIVE = ["FREIGHT COLLECT", "SAID TO CONTAIN 25 PCS", "Order No. 4500012345 / Inv No A-77"]
GOODS = ["said to contain ladies shoes", "cargo", "fragile glassware", ""]


@pytest.mark.parametrize("text", ADMINISTRATIVE + GOODS)
def test_admin_text_leaves_nothing_that_could_be_goods(text: str) -> None:
    assert is_admin_text(text) is (text in ADMINISTRATIVE)


def test_headings() -> None:
    assert sum(len(numbers) for ranges in list_headings().values() for numbers in ranges) > 1_200
    assert 77 not in list_headings()
    assert has_heading("2939 79")
    assert not has_heading("7700")
    assert not has_heading("12")
