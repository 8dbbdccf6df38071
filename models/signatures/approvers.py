"""Approvers of promotions: a TOML file of names and public keys, and how many persons must sign.

signatures = 2

[[approver]]
name = "..."
public_key = "..."
until = 2027-01-31T00:00:00Z    # optional: later approvals by this key are refused
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from consignments.errors import BadSetting, PromotionRefused
from models.signatures.envelope import Signature
from models.signatures.key_holders import list_signers, read_key_holders, write_key_holders
from models.signatures.keys import VerifyingKey

MAX_SIGNATURES = 10
WHERE = "NPSRISK_APPROVERS_FILE"


class Approver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who may approve.

    Attributes
    ----------
    name : str
    public_key : str
        Base64 of the Ed25519 public key.
    until : datetime or None
        Approvals of this time or later are refused; None for no end.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    public_key: str
    until: Annotated[datetime, Meta(tz=True)] | None = None


class _ApproversFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    approver: tuple[Approver, ...] = ()
    signatures: Annotated[int, Meta(ge=1, le=MAX_SIGNATURES)] = 1


class Approvers:
    """The persons who may approve, by their keys.

    Parameters
    ----------
    members : iterable of Approver
    signatures : int
        Different persons who must sign.
    where : str
        The file, for errors.

    Attributes
    ----------
    members : tuple of Approver
    signatures : int
    where : str

    Raises
    ------
    BadSetting
        If two members share a name or a key, or there are fewer than must sign.
    """

    def __init__(self, members: Iterable[Approver], signatures: int = 1, where: str = WHERE) -> None:
        self.members, self.signatures, self.where = tuple(members), signatures, where
        self._keys = {
            key.key_id: (key, each) for each in self.members for key in [VerifyingKey(each.public_key)]
        }
        names = {each.name for each in self.members}
        if len(self._keys) < len(self.members) or len(names) < len(self.members):
            raise BadSetting(
                "two approvers share a name or a key",
                where=where,
                expected="one entry and one key for each person",
            )
        if self.members and len(self.members) < signatures:
            raise BadSetting(
                "more signatures are asked for than there are approvers",
                where=where,
                got=f"{len(self.members)} approvers",
                expected=f"at least {signatures}",
            )

    @classmethod
    def read(cls, path: Path) -> "Approvers":
        """Read the file of approvers; without one nobody may approve.

        Raises
        ------
        BadSetting
            If it cannot be read.
        """
        found = read_key_holders(
            path,
            _ApproversFile,
            what="the file of approvers",
            expected="signatures = N and entries [[approver]] with name and public_key",
            todo="correct it, or write it again with npsrisk keys trust",
        )
        return cls(found.approver, found.signatures, str(path))

    def write(self, path: Path) -> None:
        """Write the file, readable by all and writable by its owner, at once."""
        head = [
            "# Who may approve a promotion (npsrisk keys). Keep this file where the service can read and not write it.",
            f"signatures = {self.signatures}",
        ]
        write_key_holders(path, head, "approver", self.members)

    def find(self, key_id: str) -> Approver | None:
        """Find the person who holds a key."""
        found = self._keys.get(key_id)
        return None if found is None else found[1]

    def list_signers(self, statement: bytes, signatures: Iterable[Signature], at: datetime) -> list[str]:
        """List the persons whose signatures of a statement hold, each once.

        Parameters
        ----------
        statement : bytes
        signatures : iterable of Signature
        at : datetime
            When it was approved: keys that had ended by then do not count.
        """
        return list_signers(self._keys, statement, signatures, at)

    def require(
        self, statement: bytes, signatures: Iterable[Signature], at: datetime, where: str
    ) -> list[str]:
        """Return who signed a statement, if there are enough.

        Raises
        ------
        PromotionRefused
            If fewer persons signed it than must, or what they signed was changed.
        """
        if not self.members:
            raise PromotionRefused(
                "nobody may approve a promotion yet",
                where=self.where,
                got="no approver",
                expected="the public key of each approver",
                todo="create a key with npsrisk keys create --name NAME, or add one with npsrisk keys trust",
            )
        signed = list(signatures)
        signers = self.list_signers(statement, signed, at)
        if len(signers) < self.signatures:
            raise PromotionRefused(
                "the promotion record is not signed by those who may approve",
                where=where,
                got=_describe(signed, signers),
                expected=f"{self.signatures} of the approvers in {self.where}",
                todo="promote again with the key of an approver; if nobody did this knowingly, find out who wrote to the registry",
            )
        return signers


def _describe(signatures: list[Signature], signers: list[str]) -> str:
    if not signatures:
        return "no signature"
    good = f"signatures by {', '.join(signers)} hold" if signers else "no signature holds"
    return f"{len(signatures)} signature{'s' if len(signatures) > 1 else ''}; {good}"
