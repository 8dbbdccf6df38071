"""Content of files that settings name, read again while the service runs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")


class WatchedFiles(Generic[Content]):
    """The content of some files; if a changed file is refused, the earlier content stays."""

    def __init__(self, list_files: Callable[[], Iterable[Path]], read: Callable[[], Content]) -> None:
        self._list_files, self._read = list_files, read
        self._seen = self._list_stamps()
        self.content = read()

    def refresh(self) -> bool:
        """Read the files again if any changed, and return whether one did."""
        stamps = self._list_stamps()
        if stamps == self._seen:
            return False
        self.content, self._seen = self._read(), stamps
        return True

    def _list_stamps(self) -> dict[Path, tuple[int, ...]]:
        """Return for each file that is there what changes when it is written or replaced."""
        found = {path: path.stat() for path in self._list_files() if path.exists()}
        return {path: (each.st_dev, each.st_ino, each.st_mtime_ns) for path, each in found.items()}
