"""Kernels of a read-only installation are compiled into the state directory, or a private temporary folder."""

import os
from pathlib import Path

import pytest

from cli.kernel_cache import VARIABLE, prepare_kernel_cache


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that it is restored
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(tmp_path / "state"))


def test_a_folder_that_is_writable_or_set_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_kernel_cache(tmp_path)
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "/somewhere")
    prepare_kernel_cache(tmp_path / "absent")
    assert os.environ[VARIABLE] == "/somewhere"


@pytest.mark.parametrize("has_state", [True, False])
def test_a_read_only_installation_uses_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_state: bool
) -> None:
    if not has_state:
        (tmp_path / "state").write_text("a file")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
    prepare_kernel_cache(tmp_path / "absent")
    folder = Path(os.environ[VARIABLE])
    assert (folder == tmp_path / "state" / "kernels") == has_state
    assert (folder.is_dir(), folder.stat().st_mode & 0o777) == (True, 0o700)
