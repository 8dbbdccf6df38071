"""One process at a time on one state directory, and stamps of its files."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from consignments.errors import ServiceFault
from consignments.files.whole_files import replace_file
from serving.process.state_directory import StateLock
from serving.process.watched_files import WatchedFiles


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        StateLock(tmp_path / "state"),
        pytest.raises(
            ServiceFault, match=f"another process uses this state directory; got process {os.getpid()}"
        ),
        StateLock(tmp_path / "state"),
    ):
        pass


def test_a_file_system_without_locks_is_not_taken_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: object, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = "the state directory cannot be locked; got No locks available"
    with pytest.raises(ServiceFault, match=told), StateLock(tmp_path):
        pass


def test_it_can_be_had_again_after_it_was_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with StateLock(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    with StateLock(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_a_watched_file_is_read_again_when_it_is_replaced_even_by_equal_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"same")
    watched = WatchedFiles(lambda: [path], path.read_bytes)
    assert not watched.refresh()
    replace_file(path, b"same")
    assert watched.refresh()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        watched.refresh()
    assert watched.content == b"same"
