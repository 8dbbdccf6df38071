"""Records as stored in the log: plain fields, encrypted personal fields, and a keyed digest of both.

Personal fields can be decrypted only with the data key, from which a key for each purpose is derived. Those of a
consignment also need the key of its month (`serving.encryption.monthly_keys`).
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from msgspec.structs import astuple

from consignments.errors import BadSetting, ServiceFault
from consignments.schema import get_fields
from features.history.pseudonyms import derive_key
from serving.encryption.cipher import Cipher, compute_fingerprint
from serving.encryption.key_file import FILE_NAME as PERIOD_KEYS_FILE
from serving.encryption.key_file import (
    MARK,
    PREFIX_BYTES,
    RESTORE_HINT,
    KeyErasure,
    MonthlyKey,
    extract_key_id,
)
from serving.encryption.monthly_keys import MonthlyKeys

CONTENT_BYTES = 16
NAME_BYTES = 8


class PackedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as the log stores it.

    Attributes
    ----------
    plain : bytes
        MessagePack of the fields that are not personal and not missing.
    sealed : bytes or None
        AES-GCM ciphertext of the personal fields (`serving.encryption.cipher`), after the id of their monthly key if they
        have one; None if there are no personal fields.
    content : bytes
        Keyed digest of identifier and fields; equal records have equal digests.
    """

    plain: bytes
    sealed: bytes | None
    content: bytes


class KeyedHash(Protocol):
    """A prepared keyed hash."""

    def copy(self) -> "KeyedHash":
        """Return a copy that can be updated."""

    def update(self, data: bytes, /) -> None:
        """Add data to the hash."""

    def digest(self) -> bytes:
        """Return the hash."""


class Vault:
    """The encryption and hash keys of one log, derived from the data key, and its monthly keys.

    Parameters
    ----------
    data_key : bytes
        32 random bytes.
    periods : MonthlyKeys or None
        Without them everything is encrypted with the log's own key, and nothing encrypted with a monthly key can be
        decrypted.
    """

    def __init__(self, data_key: bytes, periods: MonthlyKeys | None = None) -> None:
        self.periods = periods
        self._own = Cipher(derive_key(data_key, "event log encryption"))
        self.digest: KeyedHash = blake2b(
            digest_size=CONTENT_BYTES, key=derive_key(data_key, "event log content")
        )
        self.names: KeyedHash = blake2b(
            digest_size=NAME_BYTES, key=derive_key(data_key, "index of identifiers")
        )
        self.fingerprint = compute_fingerprint(data_key)

    @classmethod
    def load(cls, keys_dir: Path, data_key: bytes) -> "Vault":
        """Load the vault with the monthly keys of a directory; raise the same errors as `MonthlyKeys`."""
        return cls(data_key, MonthlyKeys(keys_dir / PERIOD_KEYS_FILE, data_key))

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise `BadSetting` if the log was written with another data key."""
        if fingerprint != self.fingerprint:
            raise BadSetting(
                "the event log was written with another data key",
                where="NPSRISK_DATA_KEY_FILE",
                got=f"data key with fingerprint {self.fingerprint}",
                expected=f"fingerprint {fingerprint}",
                todo="restore the data key file; without it the history and personal fields of this log are lost",
            )

    def encrypt_all(
        self, personal: Sequence[bytes], subjects: Sequence[bytes], recorded_us: int | None = None
    ) -> list[bytes]:
        """Encrypt the personal fields of some records, and bind them to the identifiers of their records.

        Parameters
        ----------
        personal, subjects : sequence of bytes, (n,)
        recorded_us : int or None
            Time of recording, which selects the monthly key; None for the log's own key, which is never erased.
        """
        if recorded_us is None or self.periods is None or not personal:
            return self._own.encrypt_all(personal, subjects)
        key = self.periods.get_key(recorded_us)
        return [key.prefix + sealed for sealed in key.cipher.encrypt_all(personal, subjects)]

    def decrypt(self, sealed: bytes, subject: bytes) -> bytes:
        """Decrypt personal fields.

        Raises
        ------
        ServiceFault
            The monthly key was erased or is missing, the fields were changed, or the data key is another one.
        """
        key = self._find_key(sealed)
        try:
            if key is None:
                return self._own.decrypt(sealed, subject)
            return key.cipher.decrypt(sealed[PREFIX_BYTES:], subject)
        except InvalidTag as error:
            if key is None and sealed.startswith(MARK):
                raise self._build_key_fault(sealed, f"log entry of {subject.decode()}") from None
            raise ServiceFault(
                "personal fields cannot be decrypted",
                where=f"log entry of {subject.decode()}",
                expected="unchanged fields, encrypted with this data key",
                todo="use the data key that the log was written with, and run npsrisk verify-log",
            ) from error

    def find_erasure(self, sealed: bytes | None) -> KeyErasure | None:
        """Return the erasure of the key of encrypted fields; None if it was not erased or there are no fields."""
        if sealed is None or self.periods is None or not self.periods.erasures:
            return None
        return self.periods.erasures.get(sealed[:PREFIX_BYTES])

    def check_key(self, sealed: bytes, where: str) -> None:
        """Raise `ServiceFault` if the key of encrypted fields is missing without a recorded erasure."""
        if sealed.startswith(MARK) and self._find_key(sealed) is None and self.find_erasure(sealed) is None:
            raise self._build_key_fault(sealed, where)

    def _find_key(self, sealed: bytes) -> MonthlyKey | None:
        """Return the monthly key of encrypted fields; None if they use the log's own key or the key is missing."""
        if self.periods is None or not sealed.startswith(MARK):
            return None
        return self.periods.find_key(sealed[:PREFIX_BYTES])

    def _build_key_fault(self, sealed: bytes, where: str) -> ServiceFault:
        erasure = self.find_erasure(sealed)
        if erasure is not None:
            return ServiceFault(str(erasure), where=where, todo="these personal fields cannot be restored")
        return ServiceFault(
            "the encryption key of personal fields is missing, and no erasure of it is recorded",
            where=where,
            got=f"no key {extract_key_id(sealed)} in {'use' if self.periods is None else self.periods.path}",
            todo=RESTORE_HINT,
        )


class RecordPacker:
    """A packer of records of one type for the log.

    Parameters
    ----------
    record : type
        `Consignment` (or a model's subclass), `Outcome` or `Alert`.
    vault : Vault or None
        Without a vault nothing can be packed, and unpacked records lack their personal fields.
    aside : tuple of str
        Fields that the log stores in separate columns; they are not part of the content.
    """

    def __init__(self, record: type[msgspec.Struct], vault: Vault | None, aside: tuple[str, ...]) -> None:
        self.record, self.vault = record, vault
        kept = [field for field in get_fields(record) if field.name not in aside]
        self._plain = _FieldPacker(record, [field.name for field in kept if not field.personal])
        self._personal = _FieldPacker(record, [field.name for field in kept if field.personal])
        self._has_identifier = "consignment_id" in aside

    def pack(self, record: Any, subject: str, recorded_us: int | None = None) -> PackedRecord:
        """Pack one record as `pack_all` does."""
        return self.pack_all([record], [subject], recorded_us)[0]

    def pack_all(
        self, records: Sequence[Any], subjects: Sequence[str], recorded_us: int | None = None
    ) -> list[PackedRecord]:
        """Pack records.

        Parameters
        ----------
        records : sequence of Struct, (n,)
        subjects : sequence of str, (n,)
            Identifier of each record in normal form. If the record spells its `consignment_id` in another way, its spelling is
            kept too, but is not part of the content.
        recorded_us : int or None
            The same as for `Vault.encrypt_all`.
        """
        values, names = list(map(astuple, records)), [subject.encode() for subject in subjects]
        plain, personal = self._plain.pack_all(values), self._personal.pack_all(values)
        contents = map(self._compute_content, names, plain, personal)
        sealed = self._seal(personal, names, recorded_us)
        if self._has_identifier:
            plain = list(map(_add_spelling, plain, records, subjects))
        return list(map(PackedRecord, plain, sealed, contents))

    def _compute_content(self, name: bytes, plain: bytes, personal: bytes) -> bytes:
        assert self.vault is not None
        digest = self.vault.digest.copy()
        digest.update(
            b"".join((len(name).to_bytes(2, "big"), name, len(plain).to_bytes(4, "big"), plain, personal))
        )
        return digest.digest()

    def _seal(
        self, personal: Sequence[bytes], names: Sequence[bytes], recorded_us: int | None
    ) -> list[bytes | None]:
        """Encrypt the personal fields of records; None for one that has none."""
        assert self.vault is not None
        given = [fields != EMPTY_FIELDS for fields in personal]
        texts, subjects = list(compress(personal, given)), list(compress(names, given))
        sealed = iter(self.vault.encrypt_all(texts, subjects, recorded_us))
        return [next(sealed) if each else None for each in given]

    def unpack(self, plain: bytes, sealed: bytes | None, subject: str, **aside: Any) -> Any:
        """Unpack a record; `aside` are the fields that the log stores in separate columns."""
        fields = self.unpack_plain(plain) | aside
        if sealed is not None and self.vault is not None:
            fields |= self._personal.unpack(self.vault.decrypt(sealed, subject.encode()))
        return self.record(**fields)

    def unpack_plain(self, plain: bytes) -> dict[str, Any]:
        """Unpack the fields that are not personal and not missing."""
        return self._plain.unpack(plain)


def read_spelling(plain: bytes) -> str | None:
    """Return the identifier as its sender spelled it, if it was not in normal form; else None."""
    return _decode_spelling(plain).consignment_id if plain else None


SPELLING_FIELD = "consignment_id"


class _Spelling(msgspec.Struct, frozen=True):
    consignment_id: str | None = None


def _add_spelling(plain: bytes, record: Any, subject: str) -> bytes:
    """Return the plain fields of a record with its `consignment_id`, if the record spells it in another way."""
    if record.consignment_id == subject:
        return plain
    return _add_field(plain, SPELLING_FIELD, record.consignment_id)


def _add_field(packed: bytes, name: str, value: str) -> bytes:
    """Return a MessagePack map with a further field at its end."""
    if packed[0] == MAP_16:
        count, fields = int.from_bytes(packed[1:3], "big") + 1, packed[3:]
    else:
        count, fields = (packed[0] & MAX_FIXMAP) + 1, packed[1:]
    head = bytes((FIXMAP | count,)) if count <= MAX_FIXMAP else bytes((MAP_16, *count.to_bytes(2, "big")))
    return b"".join((head, fields, _encode(name), _encode(value)))


_encode = msgspec.msgpack.Encoder().encode
FIXMAP, MAX_FIXMAP, MAP_16 = 0x80, 15, 0xDE
"""First byte of a map in MessagePack: FIXMAP with the number of fields up to MAX_FIXMAP, or MAP_16 before two bytes."""
_decode_spelling = msgspec.msgpack.Decoder(_Spelling).decode
EMPTY_FIELDS = msgspec.msgpack.encode({})


def _build_selection(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Build a function that returns the values of some places, which for one place is not an itemgetter's."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


class _FieldPacker:
    """A packer of some fields of a record to MessagePack without the missing ones."""

    def __init__(self, record: type[msgspec.Struct], names: list[str]) -> None:
        kinds = {field.name: field.type for field in msgspec.structs.fields(record)}
        places = [place for place, field in enumerate(record.__struct_fields__) if field in names]
        assert [record.__struct_fields__[place] for place in places] == names
        self._struct = msgspec.defstruct(
            "Part", [(name, kinds[name] | None, None) for name in names], omit_defaults=True, frozen=True
        )
        self._names = names
        self._select = _build_selection(places)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(self._struct).decode

    def pack_all(self, records: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """Pack records, given the values of all fields of each in order."""
        encode, struct, select = self._encode, self._struct, self._select
        return [encode(struct(*select(values))) for values in records]

    def unpack(self, packed: bytes) -> dict[str, Any]:
        part = self._decode(packed)
        return {name: value for name in self._names if (value := getattr(part, name)) is not None}
