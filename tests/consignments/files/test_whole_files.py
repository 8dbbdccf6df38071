"""Files that are written as a whole: private where they hold secrets, and never half written."""

import os
import stat
from pathlib import Path

import pytest

from consignments.errors import BadInput
from consignments.files.whole_files import PUBLIC_MODE, create_key_file, replace_file


def read_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "officer.key"
    create_key_file(path, b"secret")
    assert (path.read_bytes(), read_mode(path), read_mode(path.parent)) == (b"secret", 0o600, 0o700)
    with pytest.raises(BadInput, match="there is a key already"):
        create_key_file(path, b"other")
    assert path.read_bytes() == b"secret"


def test_a_file_is_replaced_at_once_and_keeps_its_old_content_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "partners.toml"
    before = os.umask(0o022)
    try:
        replace_file(path, b"old", PUBLIC_MODE)
    finally:
        os.umask(before)
    assert read_mode(path) == 0o644

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
