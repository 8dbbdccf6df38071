"""Records as stored in the log: plain fields, encrypted personal fields, and a keyed digest of both.

Personal fields can be decrypted only with the sealing key whose id they begin with (`features.history.data_keys`). Digests are made
with keys that are derived from the pseudonym key, so they stay when the sealing key is replaced.
"""

import os
from collections.abc import Sequence
from hashlib import blake2b
from itertools import compress
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import astuple

from consignments.errors import BadSetting, ServiceFault
from consignments.records import get_fields
from features.history.data_keys import ID_BYTES, KEY_SETTING, DataKeys, read_data_keys
from features.history.pseudonyms import derive_key
from serving.process.watched_files import WatchedFiles

CONTENT_BYTES = 16
NAME_BYTES = 8
NONCE_BYTES = 12
"""Length of the random nonce (96 bits) of AES-256-GCM; safe for 2**32 texts with one key (NIST SP 800-38D, 8.3)."""


class PackedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as the log stores it, with its identifier in normal form.

    `plain` is MessagePack of the fields that are neither personal nor missing; `sealed` the encrypted personal fields after the id of
    their key, None if there are none; `content` the keyed digest of identifier and fields: equal records have equal digests.
    """

    name: str
    plain: bytes
    sealed: bytes | None
    content: bytes


class Vault:
    """The encryption and hash keys of one log; `refresh` reads the file at `path` again if it changed."""

    def __init__(self, keys: DataKeys, path: Path | None = None) -> None:
        self.data_key = keys.pseudonyms
        self.digest = blake2b(digest_size=CONTENT_BYTES, key=derive_key(self.data_key, "event log content"))
        self.identifier_key = derive_key(self.data_key, "index of identifiers")
        self.names = blake2b(digest_size=NAME_BYTES, key=self.identifier_key)
        self.fingerprint = derive_key(self.data_key, "event log fingerprint")[:8].hex()
        self._path = path
        self._use(keys)
        self.refresh = WatchedFiles(lambda: [path] if path else [], self._read_again).refresh

    @classmethod
    def load(cls, path: Path) -> "Vault":
        """Load the vault of a file of data keys; raise `BadSetting` as `read_data_keys` does."""
        return cls(read_data_keys(path), path)

    def _read_again(self) -> None:
        """Read the file of the keys again; raise `BadSetting` if it has other pseudonyms."""
        if self._path is None:
            return
        keys = read_data_keys(self._path)
        if keys.pseudonyms != self.data_key:
            raise BadSetting(
                "the pseudonym key was replaced, which would lose all history",
                where=str(self._path),
                todo="restore the file from a backup",
            )
        self._use(keys)

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise `BadSetting` if the log was written with another data key."""
        if fingerprint != self.fingerprint:
            raise BadSetting(
                "the event log was written with another data key",
                where=KEY_SETTING,
                got=f"data key with fingerprint {self.fingerprint}",
                expected=f"fingerprint {fingerprint}",
                todo="restore the data key file; without it the history and personal fields of this log are lost",
            )

    def encrypt_all(self, personal: Sequence[bytes], subjects: Sequence[bytes]) -> list[bytes]:
        """Encrypt the personal fields of records, (n,), with the newest key, bound to the identifiers of their records, (n,)."""
        key_id, cipher = self._newest
        # Nonces are drawn together, because each call of the system gives another thread its turn.
        drawn = os.urandom(NONCE_BYTES * len(personal))
        nonces = [drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES)]
        return [
            key_id + nonce + cipher.encrypt(nonce, text, subject)
            for nonce, text, subject in zip(nonces, personal, subjects, strict=True)
        ]

    def decrypt(self, sealed: bytes, subject: bytes) -> bytes:
        """Decrypt personal fields; raise `ServiceFault` if their key is missing, they were changed, or the data key is another one."""
        where = f"log entry of {subject.decode()}"
        self.check_key(sealed, where)
        nonce, text = sealed[ID_BYTES : ID_BYTES + NONCE_BYTES], sealed[ID_BYTES + NONCE_BYTES :]
        try:
            return self._ciphers[sealed[:ID_BYTES]].decrypt(nonce, text, subject)
        except InvalidTag as error:
            raise ServiceFault(
                "personal fields cannot be decrypted",
                where=where,
                expected="unchanged fields, encrypted with this data key",
                todo="use the data key that the log was written with, and run npsrisk verify-log",
            ) from error

    def check_key(self, sealed: bytes, where: str) -> None:
        """Raise `ServiceFault` if the key of encrypted fields is missing, also from the file."""
        key_id = sealed[:ID_BYTES]
        if key_id not in self._ciphers:
            self.refresh()
        if key_id not in self._ciphers:
            raise ServiceFault(
                "the sealing key of personal fields is missing",
                where=where,
                got=f"no key {key_id.hex()} in {self._path or 'use'}",
                todo="restore the newest copy of data.key; without this key these personal fields are lost",
            )

    def _use(self, keys: DataKeys) -> None:
        self._ciphers = {
            bytes.fromhex(each.id): AESGCM(bytes.fromhex(each.key)) for each in keys.sealing_keys
        }
        self._newest = list(self._ciphers.items())[-1]


class RecordPacker:
    """A packer of records of one type; the log has the fields `aside` in columns. Without a vault it only unpacks."""

    def __init__(self, record: type[msgspec.Struct], vault: Vault | None, aside: tuple[str, ...]) -> None:
        self.record, self.vault = record, vault
        kept = [field for field in get_fields(record) if field.name not in aside]
        self._plain = _FieldPacker(record, [field.name for field in kept if not field.personal])
        self._personal = _FieldPacker(record, [field.name for field in kept if field.personal])
        self._has_identifier = "consignment_id" in aside

    def pack_all(self, records: Sequence[Any], subjects: Sequence[str]) -> list[PackedRecord]:
        """Pack records, (n,), given the identifier of each in normal form, (n,)."""
        values, names = list(map(astuple, records)), [subject.encode() for subject in subjects]
        plain, personal = self._plain.pack_all(values), self._personal.pack_all(values)
        contents = map(self._compute_content, names, plain, personal)
        sealed = self._seal(personal, names)
        if self._has_identifier:
            plain = list(map(_add_spelling, plain, records, subjects))
        return list(map(PackedRecord, subjects, plain, sealed, contents))

    def _compute_content(self, name: bytes, plain: bytes, personal: bytes) -> bytes:
        assert self.vault is not None
        digest = self.vault.digest.copy()
        digest.update(
            b"".join((len(name).to_bytes(2, "big"), name, len(plain).to_bytes(4, "big"), plain, personal))
        )
        return digest.digest()

    def _seal(self, personal: Sequence[bytes], names: Sequence[bytes]) -> list[bytes | None]:
        """Encrypt the personal fields of records; None for one that has none."""
        assert self.vault is not None
        given = [fields != EMPTY_FIELDS for fields in personal]
        texts, subjects = list(compress(personal, given)), list(compress(names, given))
        sealed = iter(self.vault.encrypt_all(texts, subjects))
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
    spelling: str | None = _decode_fields(plain).get(SPELLING_FIELD) if plain else None
    return spelling


SPELLING_FIELD = "consignment_id"


def _add_spelling(plain: bytes, record: Any, subject: str) -> bytes:
    """Return the plain fields of a record with its `consignment_id`, if the record spells it in another way."""
    if record.consignment_id == subject:
        return plain
    return _encode(_decode_fields(plain) | {SPELLING_FIELD: record.consignment_id})


_encode = msgspec.msgpack.Encoder().encode
_decode_fields = msgspec.msgpack.Decoder(dict[str, Any]).decode
EMPTY_FIELDS = msgspec.msgpack.encode({})


class _FieldPacker:
    """A packer of some fields of a record to MessagePack without the missing ones."""

    def __init__(self, record: type[msgspec.Struct], names: list[str]) -> None:
        kinds = {field.name: field.type for field in msgspec.structs.fields(record)}
        self._chosen = tuple(name in names for name in record.__struct_fields__)
        assert list(compress(record.__struct_fields__, self._chosen)) == names
        self._struct = msgspec.defstruct(
            "Part", [(name, kinds[name] | None, None) for name in names], omit_defaults=True, frozen=True
        )
        self._names = names
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(self._struct).decode

    def pack_all(self, records: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """Pack records, given the values of all fields of each in order."""
        encode, struct, chosen = self._encode, self._struct, self._chosen
        return [encode(struct(*compress(values, chosen))) for values in records]

    def unpack(self, packed: bytes) -> dict[str, Any]:
        part = self._decode(packed)
        return {name: value for name in self._names if (value := getattr(part, name)) is not None}
