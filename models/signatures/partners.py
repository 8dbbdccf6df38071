"""Partners of an exchange: a TOML file of administrations and their public keys.

[[partner]]
name = "XA"
public_key = "..."
until = 2027-01-31T00:00:00Z    # optional: later messages by this key are refused

An administration with several officers who sign has several entries of one name.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from consignments.errors import BadSetting
from consignments.exchange.documents import PartnerName
from models.signatures.envelope import Signature
from models.signatures.key_holders import list_signers, read_key_holders, write_key_holders
from models.signatures.keys import VerifyingKey


class Partner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key of an administration.

    Attributes
    ----------
    name : str
    public_key : str
        Base64 of the Ed25519 public key.
    until : datetime or None
        Messages of this time or later are refused; None for no end.
    """

    name: PartnerName
    public_key: str
    until: Annotated[datetime, Meta(tz=True)] | None = None


class _PartnersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    partner: tuple[Partner, ...] = ()


class Partners:
    """The administrations whose messages are accepted.

    Parameters
    ----------
    members : iterable of Partner
    where : str
        The file, for errors.

    Raises
    ------
    BadSetting
        If a key belongs to two entries.
    """

    def __init__(self, members: Iterable[Partner] = (), where: str = "partners") -> None:
        self.members, self.where = tuple(members), where
        pairs = [(VerifyingKey(each.public_key), each) for each in self.members]
        self._keys = {key.key_id: (key, each) for key, each in pairs}
        if len(self._keys) < len(pairs):
            raise BadSetting("two partners share a key", where=where, expected="one entry for each key")

    @classmethod
    def read(cls, path: Path) -> "Partners":
        """Read the file of partners; without one there are none.

        Raises
        ------
        BadSetting
            If it cannot be read.
        """
        found = read_key_holders(
            path,
            _PartnersFile,
            what="the file of partners",
            expected="entries [[partner]] with name and public_key",
            todo="correct it, or write it again with npsrisk exchange trust",
        )
        return cls(found.partner, str(path))

    def write(self, path: Path) -> None:
        """Write the file at once."""
        head = ["# Partners whose messages are accepted (npsrisk exchange trust)."]
        write_key_holders(path, head, "partner", self.members)

    def list_names(self) -> list[str]:
        """List the names of the partners, each once."""
        return list(dict.fromkeys(each.name for each in self.members))

    def is_signed_by(
        self, author: str, statement: bytes, signatures: Iterable[Signature], at: datetime
    ) -> bool:
        """Check if a signature of a statement by a key of this author holds, and the key had not ended at `at`."""
        return author in list_signers(self._keys, statement, signatures, at)
