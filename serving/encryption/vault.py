"""How a record is kept in the log: plain fields readable, personal fields encrypted, and a keyed digest of both.

A personal field is readable only with the data key, from which a key for each purpose is derived; of a consignment only with
the key of its month too (`serving.encryption.monthly_keys`).
"""

from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag

from consignments.errors import BadSetting, ServiceFault
from consignments.schema import fields_of
from features.history.pseudonyms import derive_key
from serving.encryption.cipher import Cipher, fingerprint_of
from serving.encryption.monthly_keys import FILE as PERIOD_KEYS_FILE
from serving.encryption.monthly_keys import (
    MARK,
    PREFIX_BYTES,
    RESTORE,
    Erasure,
    PeriodKey,
    PeriodKeys,
    key_id_of,
)

CONTENT_BYTES = 16
NAME_BYTES = 8


class Packed(NamedTuple):
    """A record as the log keeps it.

    Attributes
    ----------
    plain : bytes
        MessagePack of the fields that are not personal and not missing.
    sealed : bytes or None
        AES-GCM ciphertext of the personal fields (`serving.encryption.cipher`), behind the id of their month's key where they are under
        one; None where there are none.
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
    """The keys of one log, derived from the data key, and those of its months.

    Parameters
    ----------
    data_key : bytes
        32 random bytes.
    periods : PeriodKeys or None
        Without them all is sealed under the log's own key, and nothing under a month's can be opened.
    """

    def __init__(self, data_key: bytes, periods: PeriodKeys | None = None) -> None:
        self.periods = periods
        self._own = Cipher(derive_key(data_key, "event log encryption"))
        self.digest: Digest = blake2b(
            digest_size=CONTENT_BYTES, key=derive_key(data_key, "event log content")
        )
        self.names: Digest = blake2b(digest_size=NAME_BYTES, key=derive_key(data_key, "index of identifiers"))
        self.fingerprint = fingerprint_of(data_key)

    @classmethod
    def of(cls, state_dir: Path, data_key: bytes) -> "Vault":
        """Give the vault of a state directory, with the keys by month that are there; errors as of `PeriodKeys`."""
        return cls(data_key, PeriodKeys(state_dir / PERIOD_KEYS_FILE, data_key))

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

    def seal(self, personal: bytes, subject: bytes, recorded_us: int | None = None) -> bytes:
        """Encrypt personal fields, bound to the identifier they belong to.

        Parameters
        ----------
        personal, subject : bytes
        recorded_us : int or None
            When the entry is recorded, whose month's key is taken; None: the log's own key, for what is kept for good.
        """
        if recorded_us is None or self.periods is None:
            return self._own.seal(personal, subject)
        key = self.periods.at(recorded_us)
        return key.prefix + key.cipher.seal(personal, subject)

    def open(self, sealed: bytes, subject: bytes) -> bytes:
        """Decrypt personal fields.

        Raises
        ------
        ServiceFault
            Where the key of their month was erased or is missing, they were changed, or the data key is another.
        """
        key = self._key_of(sealed)
        try:
            if key is None:
                return self._own.open(sealed, subject)
            return key.cipher.open(sealed[PREFIX_BYTES:], subject)
        except InvalidTag as error:
            if key is None and sealed.startswith(MARK):
                raise self._without_key(sealed, f"log entry of {subject.decode()}") from None
            raise ServiceFault(
                "personal fields cannot be decrypted",
                where=f"log entry of {subject.decode()}",
                expected="fields sealed with this data key, unchanged",
                todo="give the data key the log was written with, and verify the log",
            ) from error

    def erasure_of(self, sealed: bytes | None) -> Erasure | None:
        """Give the record that the key of sealed fields was erased; None where it was not, or there are none."""
        if sealed is None or self.periods is None or not self.periods.erasures:
            return None
        return self.periods.erasures.get(sealed[:PREFIX_BYTES])

    def require_key_of(self, sealed: bytes, where: str) -> None:
        """Raise `ServiceFault` where the key of sealed fields is missing without record."""
        if sealed.startswith(MARK) and self._key_of(sealed) is None and self.erasure_of(sealed) is None:
            raise self._without_key(sealed, where)

    def _key_of(self, sealed: bytes) -> PeriodKey | None:
        """Give the key of a month; None for fields under the log's own, and for a key that is not here."""
        if self.periods is None or not sealed.startswith(MARK):
            return None
        return self.periods.of(sealed[:PREFIX_BYTES])

    def _without_key(self, sealed: bytes, where: str) -> ServiceFault:
        erasure = self.erasure_of(sealed)
        if erasure is not None:
            return ServiceFault(str(erasure), where=where, todo="these personal fields are gone for good")
        return ServiceFault(
            "the key of its personal fields is missing, and no record says that it was erased",
            where=where,
            got=f"no key {key_id_of(sealed)} in {'use' if self.periods is None else self.periods.path}",
            todo=RESTORE,
        )


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

    def pack(self, record: Any, subject: str, recorded_us: int | None = None) -> Packed:
        """Pack a record.

        Parameters
        ----------
        record : Struct
        subject : str
            The identifier it belongs to.
        recorded_us : int or None
            As `Vault.seal` takes it.
        """
        assert self.vault is not None
        plain, personal = self._plain.pack(record), self._personal.pack(record)
        name = subject.encode()
        digest = self.vault.digest.copy()
        for part in (len(name).to_bytes(2, "big"), name, len(plain).to_bytes(4, "big"), plain, personal):
            digest.update(part)
        sealed = self.vault.seal(personal, name, recorded_us) if personal != NOTHING else None
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
