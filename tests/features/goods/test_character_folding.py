from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.goods.character_folding import build_fold_table, fold_character, fold_text
from features.goods.kernels import CODE_MASK, DROPPED, KIND_AT, KIND_MASK, SEVERAL, SYMBOL_AT, SYMBOL_MASK
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


@given(ANY_CHARACTER)
def test_the_table_says_of_every_character_what_it_stands_for(char: str) -> None:
    stood = [part for part, _ in fold_character(char)]
    assert len(stood) <= 4
    if ord(char) < 0x20000:
        assert _in_table(char) == stood


def _in_table(char: str) -> list[str]:
    table = build_fold_table()
    entry = int(table[ord(char)])
    if not entry & SEVERAL:
        return [] if entry >> KIND_AT & KIND_MASK == DROPPED else [chr(entry & CODE_MASK)]
    first = entry & ((1 << SYMBOL_AT) - 1)
    return [chr(int(part) & CODE_MASK) for part in table[first : first + (entry >> SYMBOL_AT & KIND_MASK)]]


def test_digits_share_the_symbol_of_the_letter_they_stand_for() -> None:
    symbols = {char: fold_text(char)[0] >> SYMBOL_AT & SYMBOL_MASK for char in "0o1il3e4a5s7t8b269"}
    assert len(set(symbols.values())) == 10
    assert all(
        symbols[one] == symbols[other] for one, other in ("0o", "1i", "il", "3e", "4a", "5s", "7t", "8b")
    )


@given(st.text(ANY_CHARACTER))
def test_any_string_is_encoded_to_its_code_points(text: str) -> None:
    assert encode_text(text).tolist() == [ord(char) for char in normalize("NFC", text)]


def test_a_very_long_text_is_cut() -> None:
    assert encode_text("é" * 100_000).size == 16_384
