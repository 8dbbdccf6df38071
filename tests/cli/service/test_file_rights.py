"""Rights on a file: whom the file system lets give it another content."""

import os
from pathlib import Path

import pytest

from cli.service.installation import SystemUser

UID = 54_321


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "in_group", "name", "found"),
    [
        (0o755, 0o644, False, "file", ""),
        (0o755, 0o644, False, "none", ""),
        (0o757, 0o644, True, "file", "folder"),
        (0o775, 0o644, True, "file", "folder"),
        (0o775, 0o644, True, "link", "folder"),
        (0o755, 0o664, False, "file", ""),
        (0o755, 0o664, True, "file", "file"),
        (0o1777, 0o644, False, "file", ""),
        (0o1777, 0o644, False, "none", "folder"),
    ],
)
def test_what_a_user_can_write_to_replace_a_file_is_found_whatever_leads_to_it(
    tmp_path: Path, folder_mode: int, file_mode: int, in_group: bool, name: str, found: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    paths = {"": None, "folder": folder, "file": folder / "file", "none": folder / "none"}
    (folder / "file").write_text("signatures = 1")
    (tmp_path / "link").symlink_to(folder / "file")
    (folder / "file").chmod(file_mode)
    folder.chmod(folder_mode)
    user = SystemUser(UID, {folder.stat().st_gid} if in_group else {UID})
    assert user.find_writable(paths.get(name) or tmp_path / name) == paths[found]
    for owner in (os.getuid(), 0):
        assert SystemUser(owner, ()).find_writable(folder / "file") == folder / "file"
