"""File of the monthly keys: a line for each key, wrapped with the data key, and a line for each erasure of a key.

The file is replaced as a whole. When a key is erased, the bytes of the previous file are overwritten.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag

from consignments.errors import BadSetting, ServiceFault
from consignments.files.whole_files import flush_folder
from consignments.timestamps import to_datetime
from features.history.pseudonyms import derive_key
from serving.encryption.cipher import Cipher, compute_fingerprint
from serving.encryption.months import compute_month_bounds
from serving.process.state_directory import FileStamp, get_file_stamp, get_part_path, overwrite, write_part

FILE_NAME = "period.keys"
OLD_FILE_NAME = ".period.keys.old"
"""Second name of the previous file until its bytes are overwritten."""
FORMAT = 1
MARK = b"npk1"
"""First bytes of fields encrypted with a monthly key; fields encrypted with the log's own key begin with random bytes."""
ID_BYTES = 8
PREFIX_BYTES = len(MARK) + ID_BYTES
RESTORE_HINT = "restore period.keys from its backup; without it these personal fields are lost"


class KeyErasure(msgspec.Struct, frozen=True):
    """The record that the key of a month was erased.

    Attributes
    ----------
    key_id : str
        16 hexadecimal digits.
    month : str
        UTC month, for example `2022-03`.
    erased_us : int
        Time of the erasure in microseconds since the epoch.
    approved_by, why : str
    """

    key_id: str
    month: str
    erased_us: int
    approved_by: str
    why: str

    @property
    def prefix(self) -> bytes:
        """Return the first bytes of the fields encrypted with the key."""
        return MARK + bytes.fromhex(self.key_id)

    def __str__(self) -> str:
        """Describe the erasure in words."""
        return f"the encryption key of {self.month} was erased on {to_datetime(self.erased_us).date()} by {self.approved_by}"


class MonthlyKey(NamedTuple):
    """The key of a month.

    Attributes
    ----------
    month : str
        UTC month, for example `2026-07`.
    log_id : str
        The log that the key was created for; no other log uses or erases it.
    begins_us, ends_us : int
        Start of the month, and of the next one, in UTC, in microseconds since the epoch.
    prefix : bytes
        First bytes of the fields encrypted with the key: mark and id.
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
        """Build a key from the content of its line."""
        return cls(month, log_id, *compute_month_bounds(month), prefix, secret, Cipher(secret))


def extract_key_id(prefix: bytes) -> str:
    """Return the key id in the first bytes of encrypted fields."""
    return prefix[len(MARK) : PREFIX_BYTES].hex()


class _FileHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the key file."""

    format: int
    data_key: str


class _KeyLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of a key or of an erasure.

    A key is wrapped with the data key. In the line of an erasure, the wrapped bytes prove that the writer had the data key.
    """

    month: str
    key_id: str
    log_id: str
    wrapped: bytes
    erasure: KeyErasure | None = None

    def encode_subject(self) -> bytes:
        """Return the associated data of the wrapped bytes: all other fields of the line."""
        return msgspec.msgpack.encode((self.month, self.key_id, self.log_id, self.erasure))


class KeyFileContent(NamedTuple):
    """The content of the key file.

    Attributes
    ----------
    keys : dict
        Keys by the prefix of the fields encrypted with them.
    erasures : dict
        Erasures by the same prefix.
    stamp : FileStamp or None
        Stamp of the file that was read; None if there is none.
    """

    keys: dict[bytes, MonthlyKey]
    erasures: dict[bytes, KeyErasure]
    stamp: FileStamp | None


class KeyFile:
    """The key file of a state directory.

    Parameters
    ----------
    path : Path
        The file; it may not exist yet.
    data_key : bytes
        Wraps the keys.
    """

    def __init__(self, path: Path, data_key: bytes) -> None:
        self.path = path
        self._wrapping = Cipher(derive_key(data_key, "event log period keys"))
        self._fingerprint = compute_fingerprint(data_key)

    @property
    def stamp(self) -> FileStamp | None:
        """Return the stamp of the file, which changes with it; None if there is no file."""
        try:
            return get_file_stamp(self.path)
        except FileNotFoundError:
            return None

    def read(self) -> KeyFileContent:
        """Read the key file.

        Raises
        ------
        BadSetting
            The keys were wrapped with another data key.
        ServiceFault
            The file cannot be read or is damaged.
        """
        try:
            content, stamp = self._read_whole()
        except FileNotFoundError:
            return KeyFileContent({}, {}, None)
        except OSError as error:
            raise ServiceFault(
                "the monthly key file cannot be read", where=str(self.path), got=error.strerror or "",
                todo="give this user read permission, or restore the file from a backup",
            ) from error  # fmt: skip
        head, *lines = content.splitlines() or [b""]
        self._check_header(head)
        found = KeyFileContent({}, {}, stamp)
        for number, line in enumerate(lines, start=2):
            self._read_line(line, number, found)
        return found

    def write(self, keys: Mapping[bytes, MonthlyKey], erasures: Mapping[bytes, KeyErasure]) -> None:
        """Write keys and erasures atomically.

        Raises
        ------
        ServiceFault
            The file cannot be written.
        """
        lines = [self._wrap_key(key) for key in keys.values()]
        lines += [self._wrap_erasure(prefix, erasure) for prefix, erasure in erasures.items()]
        content = b"\n".join(
            msgspec.json.encode(each) for each in (_FileHeader(FORMAT, self._fingerprint), *lines)
        )
        try:
            write_part(self.path, content + b"\n").replace(self.path)
            flush_folder(self.path.parent)
        except OSError as error:
            raise self._build_write_fault(error) from error

    def replace(self, keys: Mapping[bytes, MonthlyKey], erasures: Mapping[bytes, KeyErasure]) -> None:
        """Write keys and erasures, and overwrite the bytes of the previous file.

        Raises
        ------
        ServiceFault
            The file cannot be written; the next call of `clear_leftovers` does the rest.
        """
        try:
            os.link(self.path, self._aside)
        except OSError as error:
            raise self._build_write_fault(error) from error
        self.write(keys, erasures)
        self.clear_leftovers()

    def clear_leftovers(self) -> None:
        """Overwrite the files that `replace`, or a killed process, left next to the key file.

        Raises
        ------
        ServiceFault
            The files cannot be overwritten.
        """
        try:
            for left in (self._aside, get_part_path(self.path)):
                if left.exists():
                    self._clear(left)
        except OSError as error:
            raise self._build_write_fault(error) from error

    @property
    def _aside(self) -> Path:
        return self.path.with_name(OLD_FILE_NAME)

    def _clear(self, left: Path) -> None:
        killed_before_rename = self.path.exists() and left.samefile(self.path)
        if not killed_before_rename:
            overwrite(left)
        left.unlink()
        flush_folder(left.parent)

    def _read_whole(self) -> tuple[bytes, FileStamp]:
        """Read the file again until it was not replaced while it was read: a replaced file is being overwritten."""
        while True:
            with self.path.open("rb") as file:
                stamp = FileStamp.from_stat(os.fstat(file.fileno()))
                content = file.read()
            if self.stamp == stamp:
                return content, stamp

    def _check_header(self, head: bytes) -> None:
        """Check that the file has this format and this data key."""
        try:
            found = msgspec.json.decode(head, type=_FileHeader)
        except msgspec.MsgspecError as error:
            raise self._build_damage_fault(1) from error
        if found.format != FORMAT:
            raise ServiceFault(
                "the monthly key file has another format", where=str(self.path),
                got=f"format {found.format}", expected=f"format {FORMAT}", todo="use the version of npsrisk that wrote it",
            )  # fmt: skip
        if found.data_key != self._fingerprint:
            raise BadSetting(
                "the monthly key file was written with another data key", where=str(self.path),
                got=f"data key with fingerprint {self._fingerprint}", expected=f"fingerprint {found.data_key}",
                todo="restore the data key (NPSRISK_DATA_KEY_FILE)",
            )  # fmt: skip

    def _read_line(self, text: bytes, number: int, found: KeyFileContent) -> None:
        try:
            line = msgspec.json.decode(text, type=_KeyLine)
            secret = self._wrapping.decrypt(line.wrapped, line.encode_subject())
            if line.erasure is None:
                prefix = MARK + bytes.fromhex(line.key_id)
                found.keys[prefix] = MonthlyKey.from_secret(line.month, line.log_id, prefix, secret)
            else:
                found.erasures[line.erasure.prefix] = line.erasure
        except (msgspec.MsgspecError, InvalidTag, ValueError) as error:
            raise self._build_damage_fault(number) from error

    def _wrap_key(self, key: MonthlyKey) -> _KeyLine:
        return self._wrap(_KeyLine(key.month, extract_key_id(key.prefix), key.log_id, b""), key.secret)

    def _wrap_erasure(self, prefix: bytes, erasure: KeyErasure) -> _KeyLine:
        return self._wrap(_KeyLine(erasure.month, extract_key_id(prefix), "", b"", erasure), b"")

    def _wrap(self, line: _KeyLine, secret: bytes) -> _KeyLine:
        return msgspec.structs.replace(line, wrapped=self._wrapping.encrypt(secret, line.encode_subject()))

    def _build_damage_fault(self, number: int) -> ServiceFault:
        return ServiceFault(
            "the monthly key file is damaged", where=f"{self.path} line {number}",
            expected="the line as npsrisk wrote it", todo=RESTORE_HINT,
        )  # fmt: skip

    def _build_write_fault(self, error: OSError) -> ServiceFault:
        return ServiceFault(
            "the monthly key file cannot be written", where=str(self.path), got=error.strerror or "",
            todo="free disk space, or give this user write permission",
        )  # fmt: skip
