"""Rights on a file: can a user change it, or put another file in its place?"""

import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple


class SystemUser(NamedTuple):
    """A user of the machine, with all groups."""

    uid: int
    groups: Collection[int]

    @classmethod
    def find_service_user(cls, state_dir: Path) -> "SystemUser":
        """Find the user of the service: who runs this process or, if that is root, the owner of the state directory."""
        uid = os.geteuid()
        if uid != 0 or not state_dir.exists():
            return cls(uid, {os.getegid(), *os.getgroups()})
        owner = state_dir.stat()
        try:
            groups = os.getgrouplist(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
        except KeyError:
            groups = [owner.st_gid]
        return cls(owner.st_uid, set(groups))

    @property
    def name(self) -> str:
        """Return the name, or the number if it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def find_writable(self, path: Path) -> Path | None:
        """Find what this user can write so that the file has another content: the file itself, or a folder above it."""
        for place in dict.fromkeys((path.absolute(), path.resolve())):
            below = place
            for each in (place, *place.parents):
                if each.exists() and not _is_read_only(each) and self._can_change(each, below):
                    return each
                below = each
        return None

    def _can_change(self, each: Path, below: Path) -> bool:
        """Check if this user can write a file, or replace in a folder what lies below it."""
        found = each.stat()
        if self.uid in (0, found.st_uid):
            return True
        # In a folder like /tmp nobody replaces what belongs to another user.
        if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX and below.exists():
            return False
        in_group = found.st_gid in self.groups and found.st_mode & stat.S_IWGRP
        return bool(in_group or found.st_mode & stat.S_IWOTH)


def _is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
