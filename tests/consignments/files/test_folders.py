"""Files are written as a whole; one run at a time works in a folder, and says why it cannot."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from consignments.errors import BadInput, FileFault
from consignments.files.folders import draft_folder, lock_folder
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


def test_a_folder_appears_as_a_whole_and_one_run_writes_it(tmp_path: Path) -> None:
    out, draft = tmp_path / "new" / "out", tmp_path / "new" / ".out.part"
    (draft / "left" / "over").mkdir(parents=True)
    (draft / "left.txt").write_text("x")
    with draft_folder(out, "table") as work:
        assert list(work.iterdir()) == []
        (work / "mine").write_text("x")
        with pytest.raises(BadInput, match="another run"), draft_folder(out, "table"):
            raise AssertionError
        assert ((work / "mine").exists(), out.exists()) == (True, False)
    assert list(draft.parent.rglob("*")) == [out, out / "mine"]
    with pytest.raises(FileFault, match="out: the folder cannot be written"), draft_folder(out, "table"):
        pass  # there is an earlier one
    with draft_folder(out, "table", tmp_path / "earlier") as work:
        (work / "theirs").write_text("x")
    assert [(tmp_path / name).exists() for name in ("earlier/mine", "new/out/theirs")] == [True, True]
    with pytest.raises(KeyError), draft_folder(tmp_path / "none", "table"):
        raise KeyError
    draft.write_text("x")
    with pytest.raises(BadInput, match="the working folder is a file"), draft_folder(out, "table"):
        raise AssertionError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["earlier", "new"]
