"""One run at a time writes a folder, and a folder that cannot be locked is not said to be in use."""

import errno
import fcntl
from pathlib import Path

import pytest

from consignments.errors import BadInput, FileFault
from consignments.files.folders import lock_folder


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with lock_folder(tmp_path, "table"), pytest.raises(BadInput, match="another run is writing this table"):
        lock_folder(tmp_path, "table").__enter__()
    with lock_folder(tmp_path, "table"):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FileFault, match="the folder cannot be locked; got No locks available"):
        lock_folder(tmp_path, "table").__enter__()


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="gone: the folder cannot be locked; got No such file"):
        lock_folder(tmp_path / "gone", "table").__enter__()
