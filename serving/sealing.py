"""How a record is kept in the log: plain fields readable, personal fields encrypted, and a keyed digest of both.

A personal field is readable only with the data key, from which a key for each purpose is derived.
"""

import os
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consignments.errors import BadSetting, ServiceFault
from consignments.fields import fields_of
from features.pseudonyms import derive_key

NONCE_BYTES = 12
"""96 bits, drawn at random for each record: safe for 2**32 records under one key (NIST SP 800-38D, 8.3)."""
CONTENT_BYTES = 16
NAME_BYTES = 8


class Packed(NamedTuple):
    """A record as the log keeps it.

    Attributes
    ----------
    plain : bytes
        MessagePack of the fields that are not personal and not missing.
    sealed : bytes or None
        Nonce and AES-GCM ciphertext of the personal fields; None where there are none.
    content : bytes
        Keyed digest of identity and fields: equal records have equal digests.
    """

    plain: bytes
    sealed: bytes | None
    content: bytes


class Digest(Protocol):
    """A prepared keyed hash."""

    def copy(self) -> "Digest":
        """Give a copy that can be fed."""

    def update(self, data: bytes, /) -> None:
        """Feed it."""

    def digest(self) -> bytes:
        """Give the hash."""


class Vault:
    """The keys of one log, derived from the data key.

    Parameters
    ----------
    data_key : bytes
        32 random bytes.
    """

    def __init__(self, data_key: bytes) -> None:
        self.cipher = AESGCM(derive_key(data_key, "event log encryption"))
        self.digest: Digest = blake2b(
            digest_size=CONTENT_BYTES, key=derive_key(data_key, "event log content")
        )
        self.names: Digest = blake2b(digest_size=NAME_BYTES, key=derive_key(data_key, "index of identifiers"))
        self.fingerprint = derive_key(data_key, "event log fingerprint")[:8].hex()
        """Tells data keys apart; says nothing about the key."""

    def require(self, fingerprint: str) -> None:
        """Raise `BadSetting` where this is not the key that a log was written with."""
        if fingerprint != self.fingerprint:
            raise BadSetting(
                "this data key is not the one the event log was written with",
                where="NPSRISK_DATA_KEY_FILE",
                got=f"a key with fingerprint {self.fingerprint}",
                expected=f"fingerprint {fingerprint}",
                todo="restore the key file; without it history and personal fields of this log are lost",
            )

    def seal(self, personal: bytes, subject: bytes) -> bytes:
        """Encrypt personal fields, bound to the identifier they belong to."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self.cipher.encrypt(nonce, personal, subject)

    def open(self, sealed: bytes, subject: bytes) -> bytes:
        """Decrypt personal fields; `ServiceFault` where they were changed or the key is another."""
        try:
            return self.cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], subject)
        except InvalidTag as error:
            raise ServiceFault(
                "personal fields cannot be decrypted",
                where=f"log entry of {subject.decode()}",
                expected="fields sealed with this data key, unchanged",
                todo="give the data key the log was written with, and verify the log",
            ) from error


class Packer:
    """Packs records of one type for the log, and gives them back.

    Parameters
    ----------
    record : type
        `Consignment` (or a model's subclass), `Outcome` or `Alert`.
    vault : Vault or None
        Without it nothing can be packed, and what is unpacked lacks its personal fields.
    aside : tuple of str
        Fields that the log keeps in columns of their own: they are not content.
    """

    def __init__(self, record: type[msgspec.Struct], vault: Vault | None, aside: tuple[str, ...]) -> None:
        self.record, self.vault = record, vault
        kept = [field for field in fields_of(record) if field.name not in aside]
        self._plain = _Part(record, [field.name for field in kept if not field.personal])
        self._personal = _Part(record, [field.name for field in kept if field.personal])

    def pack(self, record: Any, subject: str) -> Packed:
        """Pack a record.

        Parameters
        ----------
        record : Struct
        subject : str
            The identifier it belongs to.
        """
        assert self.vault is not None
        plain, personal = self._plain.pack(record), self._personal.pack(record)
        name = subject.encode()
        digest = self.vault.digest.copy()
        for part in (len(name).to_bytes(2, "big"), name, len(plain).to_bytes(4, "big"), plain, personal):
            digest.update(part)
        sealed = self.vault.seal(personal, name) if personal != NOTHING else None
        return Packed(plain, sealed, digest.digest())

    def unpack(self, plain: bytes, sealed: bytes | None, subject: str, **aside: Any) -> Any:
        """Give the record back; `aside` are the fields the log keeps in columns of their own."""
        fields = self.plain_fields(plain) | aside
        if sealed is not None and self.vault is not None:
            fields |= self._personal.unpack(self.vault.open(sealed, subject.encode()))
        return self.record(**fields)

    def plain_fields(self, plain: bytes) -> dict[str, Any]:
        """Give the fields that are not personal and not missing."""
        return self._plain.unpack(plain)


NOTHING = msgspec.msgpack.encode({})


class _Part:
    """Some fields of a record as MessagePack, missing ones left out."""

    def __init__(self, record: type[msgspec.Struct], names: list[str]) -> None:
        kinds = {field.name: field.type for field in msgspec.structs.fields(record)}
        self._struct = msgspec.defstruct(
            "Part", [(name, kinds[name] | None, None) for name in names], omit_defaults=True, frozen=True
        )
        self._names = names
        self._values = attrgetter(*names) if len(names) > 1 else None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(self._struct).decode

    def pack(self, record: Any) -> bytes:
        if self._values is None:
            return self._encode(self._struct(*(getattr(record, name) for name in self._names)))
        return self._encode(self._struct(*self._values(record)))

    def unpack(self, packed: bytes) -> dict[str, Any]:
        part = self._decode(packed)
        return {name: value for name in self._names if (value := getattr(part, name)) is not None}
