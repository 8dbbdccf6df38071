"""Monthly keys: personal fields of consignments are encrypted with a random key of the month they are recorded in.

Deleting a month's key is crypto-shredding: personal fields of that month cannot be decrypted in any copy of the log.

2026-06   ended; its key decrypts what was recorded in June. Those encrypted fields begin with the id of this key
2026-07   current; August's key already exists, so that no request waits for a file when the month changes
2022-03   all its content was deleted: a log entry records who erased the key, and only then the key leaves the file
"""

import secrets
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from serving.encryption.key_file import ID_BYTES, MARK, KeyErasure, KeyFile, KeyFileContent, MonthlyKey
from serving.encryption.months import compute_month_bounds, format_month
from serving.process.state_directory import FileStamp

KEY_BYTES = 32


class MonthlyKeys:
    """The monthly keys of one state directory.

    Only the holder of the `StateLock` writes the file. Other processes read it, and read it again when it changed.

    Parameters
    ----------
    path : Path
        The key file; without a file there is no key yet.
    data_key : bytes
        Wraps the keys.

    Attributes
    ----------
    log_id : str
        The log in use; only its keys are created, used for encryption, and erased.
    erasures : dict
        Erasures recorded in this file or in the log, by the prefix of the erased key.

    Raises
    ------
    BadSetting
        The keys were wrapped with another data key.
    ServiceFault
        The file cannot be read.
    """

    def __init__(self, path: Path, data_key: bytes) -> None:
        self.path, self._file = path, KeyFile(path, data_key)
        self.log_id = ""
        self._keys: dict[bytes, MonthlyKey] = {}
        self.erasures: dict[bytes, KeyErasure] = {}
        self._current: MonthlyKey | None = None
        self._seen: FileStamp | None = None
        self._writing = Lock()
        self._merge(self._file.read())

    def __len__(self) -> int:
        """Return the number of keys that were not erased."""
        return len(self._keys)

    def find_key(self, prefix: bytes) -> MonthlyKey | None:
        """Return the key with this prefix, or None if there is none; read the file again if it changed."""
        key = self._keys.get(prefix)
        if key is None and prefix not in self.erasures and self._file.stamp != self._seen:
            self._merge(self._file.read())
            key = self._keys.get(prefix)
        return key

    def get_key(self, recorded_us: int) -> MonthlyKey:
        """Return the key for encryption at a time; create it if it does not exist yet.

        Raises
        ------
        ServiceFault
            The key must be created, and the file cannot be written.
        """
        current = self._current
        if current is not None and current.begins_us <= recorded_us < current.ends_us:
            return current
        month = format_month(recorded_us)
        found = self._find_newest(month)
        if found is None:
            self.create_keys([month])
            found = self._find_newest(month)
            assert found is not None
        self._current = found
        return found

    def list_missing(self, now_us: int) -> list[str]:
        """List those of the current and the next month that have no key yet."""
        month = format_month(now_us)
        following = format_month(compute_month_bounds(month)[1])
        return [each for each in (month, following) if self._find_newest(each) is None]

    def create_keys(self, months: Iterable[str]) -> None:
        """Create keys for months that have none; they are on disk on return.

        Raises
        ------
        ServiceFault
            The file cannot be written; no key was created.
        """
        with self._writing:
            self._merge(self._file.read())
            made = dict(
                _create_key(month, self.log_id) for month in months if self._find_newest(month) is None
            )
            if made:
                self._file.write(self._keys | made, self.erasures)
                self._seen = self._file.stamp
                self._keys |= made

    def bind_log(self, log_id: str, erasures: Iterable[KeyErasure]) -> None:
        """Set the log in use, with the erasures that it recorded."""
        self.log_id = log_id
        self.record_erasures(erasures)

    def record_erasures(self, erasures: Iterable[KeyErasure]) -> None:
        """Stop the use of keys whose erasure the log recorded, even if the file still contains them."""
        self._current = None
        for erasure in erasures:
            self.erasures[erasure.prefix] = erasure
            self._keys.pop(erasure.prefix, None)

    def list_ended(self, before_us: int) -> list[MonthlyKey]:
        """List the keys of the months that ended before a time."""
        return [key for key in self._list_own() if key.ends_us <= before_us]

    def erase_keys(self) -> None:
        """Delete erased keys from the file and overwrite its old bytes, including those that a killed process left.

        Raises
        ------
        ServiceFault
            The file cannot be written; the next call does the rest.
        """
        with self._writing:
            self._file.clear_leftovers()
            found = self._file.read()
            self._merge(found)
            if found.keys.keys() & self.erasures.keys():
                self._file.replace(self._keys, self.erasures)
                self._seen = self._file.stamp

    def _find_newest(self, month: str) -> MonthlyKey | None:
        return next((key for key in reversed(self._list_own()) if key.month == month), None)

    def _list_own(self) -> list[MonthlyKey]:
        return [key for key in self._keys.values() if key.log_id == self.log_id]

    def _merge(self, found: KeyFileContent) -> None:
        """Merge the file's content with the known keys; a key that left the file without a recorded erasure stays in use."""
        self.erasures = found.erasures | self.erasures
        keys = self._keys | found.keys
        self._keys = {prefix: key for prefix, key in keys.items() if prefix not in self.erasures}
        self._seen = found.stamp


def _create_key(month: str, log_id: str) -> tuple[bytes, MonthlyKey]:
    prefix = MARK + secrets.token_bytes(ID_BYTES)
    return prefix, MonthlyKey.from_secret(month, log_id, prefix, secrets.token_bytes(KEY_BYTES))
