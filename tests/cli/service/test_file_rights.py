"""Rights on a file: whom the file system lets give it another content."""

import os
from pathlib import Path

import pytest

from cli.service.installation import SystemUser

OTHER = SystemUser(54_321, {54_321})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a folder that only its owner can write."""
    folder = tmp_path / "config"
    folder.mkdir(mode=0o755)
    path = folder / "approvers.toml"
    path.write_text("signatures = 1")
    path.chmod(0o644)
    return path


def test_a_file_of_another_user_in_a_folder_of_another_user_is_safe(file: Path) -> None:
    assert OTHER.find_writable(file) is None
    assert OTHER.find_writable(file.with_name("none.toml")) is None


def test_the_owner_of_a_file_or_of_a_folder_above_it_can_replace_it(file: Path) -> None:
    assert SystemUser(os.getuid(), ()).find_writable(file) == file
    assert SystemUser(0, ()).find_writable(file) == file


@pytest.mark.parametrize("mode", [0o757, 0o775])
def test_a_folder_that_others_can_write_is_found_though_the_file_is_safe(file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    user = SystemUser(OTHER.uid, {file.parent.stat().st_gid})
    assert user.find_writable(file) == file.parent
    link = file.parent.parent / "link.toml"
    link.symlink_to(file)
    assert user.find_writable(link) == file.parent


def test_a_file_that_its_group_can_write_is_found(file: Path) -> None:
    file.chmod(0o664)
    assert OTHER.find_writable(file) is None
    assert SystemUser(OTHER.uid, {file.stat().st_gid}).find_writable(file) == file


def test_in_a_sticky_folder_only_a_new_file_can_be_written(file: Path) -> None:
    file.parent.chmod(0o1777)
    assert OTHER.find_writable(file) is None
    assert OTHER.find_writable(file.with_name("none.toml")) == file.parent
