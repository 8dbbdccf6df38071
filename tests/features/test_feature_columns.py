"""Columns of feature rows are those that Arrow builds one by one."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from features.streams import build_feature_columns


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=70), fill=st.just(np.nan)),
    st.data(),
)
def test_columns_have_the_values_and_the_missing_of_the_rows(X: np.ndarray, data: st.DataObject) -> None:
    shown = data.draw(st.lists(st.integers(0, X.shape[1] - 1), max_size=20) if X.shape[1] else st.just([]))
    for place, column in zip(shown, build_feature_columns(X, shown), strict=True):
        column.validate(full=True)
        expected = pa.array(np.ascontiguousarray(X[:, place]), from_pandas=True)
        assert column.equals(expected)
        assert column.null_count == expected.null_count
        values = column.drop_null().to_numpy()
        assert values.tobytes() == expected.drop_null().to_numpy().tobytes()


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 64, 65, 1000])
def test_any_number_of_rows_has_its_bits(rows: int) -> None:
    X = np.where(np.random.default_rng(rows).random((rows, 33)) < 0.3, np.nan, 1).astype(np.float32)
    for column, given_values in zip(build_feature_columns(X, range(33)), X.T, strict=True):
        assert column.is_null().to_pylist() == np.isnan(given_values).tolist()


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError, match="columns 0 to 2 of 2"):
        build_feature_columns(np.zeros((3, 2), np.float32), [0, 2])
    with pytest.raises(IndexError):
        build_feature_columns(np.zeros((3, 2), np.float32), [-1])
