"""Content of files that settings name, read again while the service runs."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")


class WatchedFiles(Generic[Content]):
    """The content of some files; if a changed file is refused, the earlier content stays."""

    def __init__(self, list_files: Callable[[], Iterable[Path]], read: Callable[[], Content]) -> None:
        self._list_files, self._read = list_files, read
        self._seen = list_stamps(self._list_files())
        self.content = read()

    def refresh(self) -> bool:
        """Read the files again if any changed, and return whether one did."""
        stamps = list_stamps(self._list_files())
        if stamps == self._seen:
            return False
        self.content, self._seen = self._read(), stamps
        return True


def list_stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    """Return for each file that is there what changes when it is written or replaced."""
    found: dict[Path, tuple[int, ...]] = {}
    for path in paths:
        with suppress(OSError):
            each = path.stat()
            found[path] = each.st_dev, each.st_ino, each.st_mtime_ns
    return found
