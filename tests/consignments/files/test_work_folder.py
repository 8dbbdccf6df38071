"""The working folder of a run is empty, its own, and gone at the end."""

from pathlib import Path

import pytest

from consignments.errors import BadInput
from consignments.files.folders import open_work_folder


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
