"""One process at a time on one state directory."""

import os
from pathlib import Path

import pytest

from consignments.errors import ServiceFault
from serving.process.lock import StateLock


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        StateLock(tmp_path / "state"),
        pytest.raises(
            ServiceFault, match=f"another process works on this state directory; got process {os.getpid()}"
        ),
        StateLock(tmp_path / "state"),
    ):
        pass


def test_it_can_be_had_again_after_it_was_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with StateLock(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    with StateLock(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0
