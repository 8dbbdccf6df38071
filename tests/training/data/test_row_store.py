"""Claims about where feature rows are."""

from pathlib import Path

import numpy as np
import pytest

from consignments.errors import FileFault
from training.data.row_store import FeatureRowStore


def test_rows_in_files_equal_rows_in_memory_and_leave_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.row_store.CHUNK_ROWS", 7)
    X = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    mine = np.arange(100) % 3 > 0
    stored = FeatureRowStore(tmp_path).copy_rows(X, mine)
    np.testing.assert_array_equal(stored, FeatureRowStore().copy_rows(X, mine))
    assert type(stored) is np.ndarray
    assert stored.flags.writeable
    assert not list(tmp_path.iterdir())


def test_no_rows_need_no_file(tmp_path: Path) -> None:
    assert FeatureRowStore(tmp_path).allocate(0, 3).shape == (0, 3)


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(FileFault, match="No space left on device"):
        FeatureRowStore(tmp_path).allocate(10, 3)
