"""Feature rows are packed exactly, whatever their bits are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.event_log.packed_features import pack_rows, unpack_row

COMMON = [0, 0x80000000, 0x7FC00000, 0xFFC00000, 0x7FC00001, 0x3F800000, 0xBF800000, 0x7F800000, 1]
"""Zeros, NaN and ones with and without sign, another NaN, infinity, and the smallest number."""
words = st.one_of(st.sampled_from(COMMON), st.integers(0, 2**32 - 1))


@given(
    st.integers(1, 9).flatmap(
        lambda width: st.lists(st.lists(words, min_size=width, max_size=width), min_size=1)
    )
)
def test_rows_come_back_bit_for_bit(rows: list[list[int]]) -> None:
    given = np.array(rows, dtype="<u4")
    packed = pack_rows(given.view("<f4"))
    assert [unpack_row(each).tobytes() for each in packed] == [row.tobytes() for row in given]


def test_zero_nan_and_one_take_two_bits() -> None:
    row = np.array([[0.0, np.nan, 1.0, 0.0, 0.25]], dtype="<f4")
    assert pack_rows(row) == [bytes([5, 0, 0b00_10_01_00, 0b11]) + row.tobytes()[-4:]]


@pytest.mark.parametrize("packed", [b"\4\0\3", b"\4\0\0abcd", b"\4\0\3abc", b"\x09\0\0", b""])
def test_what_cannot_be_a_row_is_refused(packed: bytes) -> None:
    if not packed:
        assert unpack_row(packed).size == 0
        return
    with pytest.raises(ValueError, match=r"packed features of another length|multiple of element size"):
        unpack_row(packed)
