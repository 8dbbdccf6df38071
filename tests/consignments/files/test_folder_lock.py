"""One run at a time writes a folder, and what keeps a run out is named."""

import errno
import fcntl
from pathlib import Path

import pytest

from consignments.errors import BadInput, FileFault
from consignments.files.folder_lock import lock_folder
from consignments.files.work_folder import open_work_folder


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path, "table"),
        pytest.raises(BadInput, match="another run is writing this table"),
        lock_folder(tmp_path, "table"),
    ):
        raise AssertionError
    with lock_folder(tmp_path, "table"):
        pass


def test_a_file_system_without_locks_is_not_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(FileFault, match="cannot be locked; got No locks available"),
        lock_folder(tmp_path, "table"),
    ):
        raise AssertionError


def test_a_working_folder_is_empty_and_has_one_run(tmp_path: Path) -> None:
    folder = tmp_path / ".work"
    (folder / "left" / "over").mkdir(parents=True)
    (folder / "left.txt").write_text("x")
    with open_work_folder(folder, "table") as work:
        assert list(work.iterdir()) == []
        (work / "mine").write_text("x")
        with pytest.raises(BadInput, match="another run"), open_work_folder(folder, "table"):
            raise AssertionError
        assert (work / "mine").exists()
    assert not folder.exists()
