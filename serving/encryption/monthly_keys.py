"""Keys by month: personal fields of consignments are sealed under a random key of the month they are recorded in.

Dropping a month's key erases: no copy of the log can be read for that month any more, wherever it lies.

2026-06   closed; its key opens what was recorded in June, whose sealed fields begin with the id of this key
2026-07   runs; August's key is made already, so that no answer waits for a file when the month changes
2022-03   all its content was forgotten: an entry of the log says who erased the key, and only then the file loses it
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
    """The keys of one state directory. Whoever holds the `StateLock` may write them; others read, and read again what is new.

    Parameters
    ----------
    path : Path
        The file; where there is none, there is no key yet.
    data_key : bytes
        Wraps them.

    Attributes
    ----------
    log_id : str
        The log they are used for; its keys alone are made, taken to seal with, and erased.
    erasures : dict
        Prefix of a key to the record that it was erased, in this file or in the log.

    Raises
    ------
    BadSetting
        Where they were wrapped by another data key.
    ServiceFault
        Where the file cannot be read.
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
        """Give the number of keys that were not erased."""
        return len(self._keys)

    def find_key(self, prefix: bytes) -> MonthlyKey | None:
        """Give the key that sealed fields begin with; None where it is not here. A file that changed is read again."""
        key = self._keys.get(prefix)
        if key is None and prefix not in self.erasures and self._file.stamp != self._seen:
            self._merge(self._file.read())
            key = self._keys.get(prefix)
        return key

    def get_key(self, recorded_us: int) -> MonthlyKey:
        """Give the key to seal with at a moment; one that was not made ahead is made now.

        Raises
        ------
        ServiceFault
            Where it had to be made, and the file cannot be written.
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
        """Name the months, of this one and the next, that have no key yet."""
        month = format_month(now_us)
        following = format_month(compute_month_bounds(month)[1])
        return [each for each in (month, following) if self._find_newest(each) is None]

    def create_keys(self, months: Iterable[str]) -> None:
        """Make keys for months that have none; they are on disk when it returns.

        Raises
        ------
        ServiceFault
            Where the file cannot be written; nothing was made.
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
        """Take a log as theirs, and what it has on record."""
        self.log_id = log_id
        self.record_erasures(erasures)

    def record_erasures(self, erasures: Iterable[KeyErasure]) -> None:
        """Take what the log has on record: these keys are not used any more, whatever the file holds."""
        self._current = None
        for erasure in erasures:
            self.erasures[erasure.prefix] = erasure
            self._keys.pop(erasure.prefix, None)

    def list_ended(self, before_us: int) -> list[MonthlyKey]:
        """Give the keys of the months that ended before a moment."""
        return [key for key in self._list_own() if key.ends_us <= before_us]

    def erase_keys(self) -> None:
        """Take out of the file what is on record as erased, and overwrite its bytes: what a kill left undone too.

        Raises
        ------
        ServiceFault
            Where the file cannot be written; what is left to do is done the next time.
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
        """Add what the file holds to what is known: a key that is gone from it without record is still used."""
        self.erasures = found.erasures | self.erasures
        keys = self._keys | found.keys
        self._keys = {prefix: key for prefix, key in keys.items() if prefix not in self.erasures}
        self._seen = found.stamp


def _create_key(month: str, log_id: str) -> tuple[bytes, MonthlyKey]:
    prefix = MARK + secrets.token_bytes(ID_BYTES)
    return prefix, MonthlyKey.from_secret(month, log_id, prefix, secrets.token_bytes(KEY_BYTES))
