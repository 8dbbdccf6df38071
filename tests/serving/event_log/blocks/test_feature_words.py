"""Feature rows are packed exactly, whatever their bits are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.event_log.blocks.feature_words import PackedWords, pack_words, unpack_words

COMMON = [0, 0x80000000, 0x7FC00000, 0xFFC00000, 0x7FC00001, 0x3F800000, 0xBF800000, 0x7F800000, 1]
"""Zeros, NaN and ones with and without sign, another NaN, infinity, and the smallest number."""
words = st.one_of(st.sampled_from(COMMON), st.integers(0, 2**32 - 1))


@given(
    st.integers(1, 9).flatmap(
        lambda width: st.lists(st.lists(words, min_size=width, max_size=width), min_size=1)
    )
)
def test_rows_come_back_bit_for_bit(rows: list[list[int]]) -> None:
    content = np.array(rows, dtype="<u4").tobytes()
    packed = pack_words(content, len(rows[0]))
    assert unpack_words(packed, len(rows), len(rows[0])) == content


def test_zero_nan_and_one_take_two_bits() -> None:
    row = np.array([0.0, np.nan, 1.0, 0.0, 0.25], dtype="<f4").tobytes()
    assert pack_words(row, 5) == PackedWords(bytes([0b00_10_01_00, 0b11]), row[-4:])


@pytest.mark.parametrize(
    "packed",
    [
        PackedWords(b"\x03", b""),
        PackedWords(b"\0", b"abcd"),
        PackedWords(b"\0\0", b""),
        PackedWords(b"\x03", b"abc"),
    ],
)
def test_what_cannot_be_rows_is_refused(packed: PackedWords) -> None:
    with pytest.raises(ValueError, match=r"features of another length|another number of words"):
        unpack_words(packed, 1, 4)
