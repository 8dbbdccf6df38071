from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.goods.character_folding import fold_text
from features.goods.kernels import CODE_MASK
from features.goods.texts import encode_text

ANY_CHARACTER = st.characters(exclude_categories=())


def folded(text: str) -> str:
    return "".join(chr(entry & CODE_MASK) for entry in fold_text(text))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Etizolam", "etizolam"),
        ("еtіzоlаm", "etizolam"),  # Cyrillic е, і, о, а
        ("ΕΤΙΖΟLΑΜ", "etizolam"),  # Greek capitals
        ("З-ММС", "3-mmc"),  # all Cyrillic; Ze is read as 3
        ("４－ＣＭＣ", "4-cmc"),  # full width
        ("𝐞𝐭𝐢𝐳𝐨𝐥𝐚𝐦", "etizolam"),  # mathematical bold
        ("ⓔⓣⓘⓩⓞⓛⓐⓜ", "etizolam"),
        ("ké\u0301tamine", "ketamine"),  # accents, composed or not
        ("k\u200beta\u00admine", "ketamine"),  # zero-width space, soft hyphen
        ("α-PVP", "a-pvp"),
        ("k@tamine", "katamine"),
        ("4–CMC", "4-cmc"),  # en dash
        ("Straße Œuvre Ø", "strasse oeuvre o"),
        ("메페드론 粉末", "메페드론 粉末"),  # other scripts stay
        ("٣ ³ ③", "3 3 3"),
        ("\u1106\u1166", "메"),  # single letters of Korean
    ],
)
def test_a_disguise_is_read_as_what_it_looks_like(written: str, read: str) -> None:
    assert folded(written) == read


@given(st.text(ANY_CHARACTER))
def test_any_string_is_encoded_to_its_code_points(text: str) -> None:
    assert encode_text(text).tolist() == [ord(char) for char in normalize("NFC", text)]


def test_a_very_long_text_is_cut() -> None:
    assert encode_text("é" * 100_000).size == 16_384
