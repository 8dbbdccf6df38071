"""Keys by month: personal fields of consignments are sealed under a random key of the month they are recorded in.

Dropping a month's key erases: no copy of the log can be read for that month any more, wherever it lies.

2026-06   closed; its key opens what was recorded in June, whose sealed fields begin with the id of this key
2026-07   runs; August's key is made already, so that no answer waits for a file when the month changes
2022-03   all its content was forgotten: an entry of the log says who erased the key, and only then the file loses it
"""

import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag

from consignments.errors import BadSetting, ServiceFault
from consignments.visibility import to_datetime, to_us
from features.history.pseudonyms import derive_key
from serving.encryption.cipher import Cipher, compute_fingerprint
from serving.process.state_directory import flush_folder, get_part_path, overwrite, write_part

FILE_NAME = "period.keys"
OLD_FILE_NAME = ".period.keys.old"
"""Second name of the file before, for as long as its bytes are not overwritten."""
FORMAT = 1
MARK = b"npk1"
"""Tells fields under a month's key from those under the log's own, which begin with chance."""
ID_BYTES = 8
PREFIX_BYTES = len(MARK) + ID_BYTES
KEY_BYTES = 32
RESTORE_HINT = "restore period.keys from its backup; without it these personal fields are lost"


class KeyErasure(msgspec.Struct, frozen=True):
    """That the key of a month was erased.

    Attributes
    ----------
    key_id : str
        16 hexadecimal digits.
    month : str
        As `2022-03`, in UTC.
    erased_us : int
        When, in microseconds since the epoch.
    approved_by, why : str
    """

    key_id: str
    month: str
    erased_us: int
    approved_by: str
    why: str

    @property
    def prefix(self) -> bytes:
        """What fields sealed under the key begin with."""
        return MARK + bytes.fromhex(self.key_id)

    def __str__(self) -> str:
        """Say it in words."""
        return f"the key of {self.month} was erased on {to_datetime(self.erased_us).date()} by {self.approved_by}"


class MonthlyKey(NamedTuple):
    """The key of a month.

    Attributes
    ----------
    month : str
        As `2026-07`.
    log_id : str
        The log it was made for: no other uses or erases it.
    begins_us, ends_us : int
        Of the month in UTC, in microseconds since the epoch; `ends_us` is the next one's beginning.
    prefix : bytes
        What its sealed fields begin with: mark and id.
    secret : bytes
    cipher : Cipher
    """

    month: str
    log_id: str
    begins_us: int
    ends_us: int
    prefix: bytes
    secret: bytes
    cipher: Cipher

    @classmethod
    def from_secret(cls, month: str, log_id: str, prefix: bytes, secret: bytes) -> "MonthlyKey":
        """Make one of what the file holds."""
        return cls(month, log_id, *compute_month_bounds(month), prefix, secret, Cipher(secret))


class _FileHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the file."""

    format: int
    data_key: str


class _KeyLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A further line: a key, wrapped by the data key; of one that was erased, the proof that it was the data key's holder."""

    month: str
    key_id: str
    log_id: str
    wrapped: bytes
    erasure: KeyErasure | None = None

    def encode_subject(self) -> bytes:
        """What the wrapped bytes are bound to: all the rest of the line."""
        return msgspec.msgpack.encode((self.month, self.key_id, self.log_id, self.erasure))


class _FileContent(NamedTuple):
    """What the file holds, and which file it was."""

    keys: dict[bytes, MonthlyKey]
    erasures: dict[bytes, KeyErasure]
    seen: tuple[int, int, int] | None


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
        self.path = path
        self._wrapping = Cipher(derive_key(data_key, "event log period keys"))
        self._fingerprint = compute_fingerprint(data_key)
        self.log_id = ""
        self._keys: dict[bytes, MonthlyKey] = {}
        self.erasures: dict[bytes, KeyErasure] = {}
        self._current: MonthlyKey | None = None
        self._seen: tuple[int, int, int] | None = None
        self._writing = Lock()
        self._merge(self._read())

    def __len__(self) -> int:
        """Give the number of keys that were not erased."""
        return len(self._keys)

    def find_key(self, prefix: bytes) -> MonthlyKey | None:
        """Give the key that sealed fields begin with; None where it is not here. A file that changed is read again."""
        key = self._keys.get(prefix)
        if key is None and prefix not in self.erasures and _read_file_stamp(self.path) != self._seen:
            self._merge(self._read())
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
            self._merge(self._read())
            made = dict(_new_key(month, self.log_id) for month in months if self._find_newest(month) is None)
            if made:
                self._write(self._keys | made)
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
            try:
                self._clear_away()
                found = self._read()
                self._merge(found)
                if found.keys.keys() & self.erasures.keys():
                    os.link(self.path, self._aside)
                    self._write(self._keys)
                    self._clear_away()
            except OSError as error:
                raise _unwritable(self.path, error) from error

    @property
    def _aside(self) -> Path:
        return self.path.with_name(OLD_FILE_NAME)

    def _clear_away(self) -> None:
        """Overwrite what a rewriting, or a kill in one, left beside the file."""
        for left in (self._aside, get_part_path(self.path)):
            if not left.exists():
                continue
            if not (
                self.path.exists() and left.samefile(self.path)
            ):  # killed before the new file had its name
                overwrite(left)
            left.unlink()
            flush_folder(left.parent)

    def _find_newest(self, month: str) -> MonthlyKey | None:
        return next((key for key in reversed(self._list_own()) if key.month == month), None)

    def _list_own(self) -> list[MonthlyKey]:
        return [key for key in self._keys.values() if key.log_id == self.log_id]

    def _merge(self, found: _FileContent) -> None:
        """Add what the file holds to what is known: a key that is gone from it without record is still used."""
        self.erasures = found.erasures | self.erasures
        keys = self._keys | found.keys
        self._keys = {prefix: key for prefix, key in keys.items() if prefix not in self.erasures}
        self._seen = found.seen

    def _read(self) -> _FileContent:
        try:
            content, seen = _read_whole(self.path)
        except FileNotFoundError:
            return _FileContent({}, {}, None)
        except OSError as error:
            raise ServiceFault(
                "the keys of personal fields cannot be read", where=str(self.path), got=error.strerror or "",
                todo="let this user read the file, or restore it from its backup",
            ) from error  # fmt: skip
        head, *lines = content.splitlines() or [b""]
        self._check(head)
        keys: dict[bytes, MonthlyKey] = {}
        erasures: dict[bytes, KeyErasure] = {}
        for number, line in enumerate(lines, start=2):
            self._read_line(line, number, keys, erasures)
        return _FileContent(keys, erasures, seen)

    def _check(self, head: bytes) -> None:
        """Refuse a file of another format, or of another data key."""
        try:
            found = msgspec.json.decode(head, type=_FileHeader)
        except msgspec.MsgspecError as error:
            raise self._build_damage_fault(1) from error
        if found.format != FORMAT:
            raise ServiceFault(
                "the keys of personal fields are of another version", where=str(self.path),
                got=f"format {found.format}", expected=f"format {FORMAT}", todo="use the npsrisk that wrote it",
            )  # fmt: skip
        if found.data_key != self._fingerprint:
            raise BadSetting(
                "this data key is not the one that the keys of personal fields are wrapped with", where=str(self.path),
                got=f"a key with fingerprint {self._fingerprint}", expected=f"fingerprint {found.data_key}",
                todo="restore the data key (NPSRISK_DATA_KEY_FILE)",
            )  # fmt: skip

    def _read_line(
        self, text: bytes, number: int, keys: dict[bytes, MonthlyKey], erasures: dict[bytes, KeyErasure]
    ) -> None:
        try:
            line = msgspec.json.decode(text, type=_KeyLine)
            secret = self._wrapping.decrypt(line.wrapped, line.encode_subject())
            if line.erasure is None:
                prefix = MARK + bytes.fromhex(line.key_id)
                keys[prefix] = MonthlyKey.from_secret(line.month, line.log_id, prefix, secret)
            else:
                erasures[line.erasure.prefix] = line.erasure
        except (msgspec.MsgspecError, InvalidTag, ValueError) as error:
            raise self._build_damage_fault(number) from error

    def _build_damage_fault(self, number: int) -> ServiceFault:
        return ServiceFault(
            "the keys of personal fields are damaged", where=f"{self.path} line {number}",
            expected="what npsrisk wrote there, unchanged", todo=RESTORE_HINT,
        )  # fmt: skip

    def _write(self, keys: dict[bytes, MonthlyKey]) -> None:
        """Write these keys and all erasures, whole or not at all."""
        lines = [self._line(key.month, key.log_id, prefix, key.secret) for prefix, key in keys.items()]
        lines += [self._line(each.month, "", prefix, b"", each) for prefix, each in self.erasures.items()]
        content = b"\n".join(
            msgspec.json.encode(each) for each in (_FileHeader(FORMAT, self._fingerprint), *lines)
        )
        try:
            write_part(self.path, content + b"\n").replace(self.path)
            flush_folder(self.path.parent)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._seen = _read_file_stamp(self.path)

    def _line(
        self, month: str, log_id: str, prefix: bytes, secret: bytes, erasure: KeyErasure | None = None
    ) -> _KeyLine:
        bare = _KeyLine(month, prefix[len(MARK) :].hex(), log_id, b"", erasure)
        return msgspec.structs.replace(bare, wrapped=self._wrapping.encrypt(secret, bare.encode_subject()))


def format_month(us: int) -> str:
    """Name the UTC month of a moment in microseconds since the epoch.

    Examples
    --------
    >>> month_of(0), month_of(-1)
    ('1970-01', '1969-12')
    """
    moment = to_datetime(us)
    return f"{moment.year:04}-{moment.month:02}"


def compute_month_bounds(month: str) -> tuple[int, int]:
    """Give the beginning of a month and that of the next, in microseconds since the epoch; `ValueError` for no month.

    Examples
    --------
    >>> [str(moment_of_us(us).date()) for us in bounds_of("2026-12")]
    ['2026-12-01', '2027-01-01']
    """
    begins = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    year, months = divmod(begins.year * 12 + begins.month, 12)
    return to_us(begins), to_us(datetime(year, months + 1, 1, tzinfo=UTC))


def extract_key_id(prefix: bytes) -> str:
    """Give the id in what sealed fields begin with."""
    return prefix[len(MARK) : PREFIX_BYTES].hex()


def _new_key(month: str, log_id: str) -> tuple[bytes, MonthlyKey]:
    prefix = MARK + secrets.token_bytes(ID_BYTES)
    return prefix, MonthlyKey.from_secret(month, log_id, prefix, secrets.token_bytes(KEY_BYTES))


def _read_whole(path: Path) -> tuple[bytes, tuple[int, int, int]]:
    """Read a file as it stood at one moment: one that lost its name meanwhile is being overwritten."""
    while True:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            content, seen = file.read(), (stat.st_dev, stat.st_ino, stat.st_mtime_ns)
        if _read_file_stamp(path) == seen:
            return content, seen


def _read_file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Tell whether a file is still the same; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns


def _unwritable(path: Path, error: OSError) -> ServiceFault:
    return ServiceFault(
        "the keys of personal fields cannot be written", where=str(path), got=error.strerror or "",
        todo="make room, or let this user write there",
    )  # fmt: skip
