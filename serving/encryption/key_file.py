"""The file of the keys by month: a line for each key, wrapped by the data key, and for each that was erased the record of it.

The file is replaced as a whole. When a key goes, the bytes of the file before are overwritten.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag

from consignments.errors import BadSetting, ServiceFault
from consignments.timestamps import to_datetime
from features.history.pseudonyms import derive_key
from serving.encryption.cipher import Cipher, compute_fingerprint
from serving.encryption.months import compute_month_bounds
from serving.process.state_directory import (
    FileStamp,
    flush_folder,
    get_file_stamp,
    get_part_path,
    overwrite,
    write_part,
)

FILE_NAME = "period.keys"
OLD_FILE_NAME = ".period.keys.old"
"""Second name of the file before, for as long as its bytes are not overwritten."""
FORMAT = 1
MARK = b"npk1"
"""Tells fields under a month's key from those under the log's own, which begin with chance."""
ID_BYTES = 8
PREFIX_BYTES = len(MARK) + ID_BYTES
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


def extract_key_id(prefix: bytes) -> str:
    """Give the id in what sealed fields begin with."""
    return prefix[len(MARK) : PREFIX_BYTES].hex()


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
        """Return what the wrapped bytes are bound to: all the rest of the line."""
        return msgspec.msgpack.encode((self.month, self.key_id, self.log_id, self.erasure))


class KeyFileContent(NamedTuple):
    """What the file holds.

    Attributes
    ----------
    keys : dict
        By the prefix of their sealed fields.
    erasures : dict
        Likewise.
    stamp : FileStamp or None
        Of the file that was read; None if there is none.
    """

    keys: dict[bytes, MonthlyKey]
    erasures: dict[bytes, KeyErasure]
    stamp: FileStamp | None


class KeyFile:
    """Reads and writes the file.

    Parameters
    ----------
    path : Path
        It may not be there yet.
    data_key : bytes
        Wraps the keys.
    """

    def __init__(self, path: Path, data_key: bytes) -> None:
        self.path = path
        self._wrapping = Cipher(derive_key(data_key, "event log period keys"))
        self._fingerprint = compute_fingerprint(data_key)

    @property
    def stamp(self) -> FileStamp | None:
        """Tells whether the file is still the same; None if there is none."""
        try:
            return get_file_stamp(self.path)
        except FileNotFoundError:
            return None

    def read(self) -> KeyFileContent:
        """Read the file.

        Raises
        ------
        BadSetting
            If the keys were wrapped by another data key.
        ServiceFault
            If it cannot be read, or is damaged.
        """
        try:
            content, stamp = self._read_whole()
        except FileNotFoundError:
            return KeyFileContent({}, {}, None)
        except OSError as error:
            raise ServiceFault(
                "the keys of personal fields cannot be read", where=str(self.path), got=error.strerror or "",
                todo="let this user read the file, or restore it from its backup",
            ) from error  # fmt: skip
        head, *lines = content.splitlines() or [b""]
        self._check_header(head)
        found = KeyFileContent({}, {}, stamp)
        for number, line in enumerate(lines, start=2):
            self._read_line(line, number, found)
        return found

    def write(self, keys: Mapping[bytes, MonthlyKey], erasures: Mapping[bytes, KeyErasure]) -> None:
        """Write keys and erasures, whole or not at all.

        Raises
        ------
        ServiceFault
            If the file cannot be written.
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
        """Write keys and erasures, and overwrite the bytes of the file before.

        Raises
        ------
        ServiceFault
            If the file cannot be written; `clear_leftovers` does the next time what is left to do.
        """
        try:
            os.link(self.path, self._aside)
        except OSError as error:
            raise self._build_write_fault(error) from error
        self.write(keys, erasures)
        self.clear_leftovers()

    def clear_leftovers(self) -> None:
        """Overwrite what `replace`, or a kill in a writing, left next to the file.

        Raises
        ------
        ServiceFault
            If that cannot be done.
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
        """Read the file as it stood at one moment: one that lost its name meanwhile is being overwritten."""
        while True:
            with self.path.open("rb") as file:
                stamp = FileStamp.from_stat(os.fstat(file.fileno()))
                content = file.read()
            if self.stamp == stamp:
                return content, stamp

    def _check_header(self, head: bytes) -> None:
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
            "the keys of personal fields are damaged", where=f"{self.path} line {number}",
            expected="what npsrisk wrote there, unchanged", todo=RESTORE_HINT,
        )  # fmt: skip

    def _build_write_fault(self, error: OSError) -> ServiceFault:
        return ServiceFault(
            "the keys of personal fields cannot be written", where=str(self.path), got=error.strerror or "",
            todo="make room, or let this user write there",
        )  # fmt: skip
