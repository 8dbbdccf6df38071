"""Files are written as a whole; one run at a time works in a folder, and says why it cannot."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from consignments.errors import FileFault
from consignments.files.folders import lock_folder
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
