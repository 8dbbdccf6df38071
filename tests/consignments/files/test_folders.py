"""Files are written as a whole; one run at a time works in a folder, and says why it cannot."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from consignments.errors import BadInput, FileFault
from consignments.files.folders import lock_folder, open_work_folder
from consignments.files.whole_files import PUBLIC_MODE, replace_file


def test_a_file_is_replaced_at_once_and_keeps_its_old_content_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "partners.toml"
    before = os.umask(0o022)
    try:
        replace_file(path, b"old", PUBLIC_MODE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileFault, match="gone: the folder cannot be locked; got No such file"):
        lock_folder(tmp_path / "gone", "table").__enter__()

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FileFault, match="the folder cannot be locked; got No locks available"):
        lock_folder(tmp_path, "table").__enter__()


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
