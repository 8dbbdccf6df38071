"""Holders of public keys, in two TOML files: approvers of promotions, and partners of the exchange.

    signatures = 2          # approvers.toml only: how many approvers must sign

    [[approver]]            # partners.toml: [[partner]]
    name = "..."
    public_key = "..."
    role = "evaluator"      # approvers.toml only. Default: approver
    until = 2027-01-31T00:00:00Z

`until` ends the right of a key: what it signs later is refused. The operator edits the partners. The service only reads the approvers:
its user must not be able to write that file.
"""

import tomllib
from collections.abc import Container, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Literal, Self, TypeVar

import msgspec
from msgspec import Meta

from consignments.errors import BadSetting
from consignments.exchange.documents import PartnerName
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from models.signatures.envelope import PAYLOAD_TYPE, Signature, encode_for_signing
from models.signatures.keys import VerifyingKey

MAX_FILE_BYTES = 1_000_000
MAX_SIGNATURES = 10
ApproverRole = Literal["approver", "evaluator"]  # an evaluator signs evidence only


class KeyHolder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The owner of an Ed25519 public key in base64, whose right ends at `until`."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    public_key: str
    until: Annotated[datetime, Meta(tz=True)] | None = None


class Approver(KeyHolder, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person who may approve promotions, or only sign their evidence."""

    role: ApproverRole = "approver"


class Partner(KeyHolder, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An administration; with several officers who sign, it has several entries."""

    name: PartnerName


class _ApproversFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    members: tuple[Approver, ...] = msgspec.field(name="approver", default=())
    signatures: Annotated[int, Meta(ge=1, le=MAX_SIGNATURES)] = 1


class _PartnersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    members: tuple[Partner, ...] = msgspec.field(name="partner", default=())


Holder = TypeVar("Holder", bound=KeyHolder)


class KeyHolders(Generic[Holder]):
    """The key holders of one file; `BadSetting` if two share a key."""

    table: ClassVar[str]
    verb: ClassVar[str]
    about: ClassVar[str]
    layout: ClassVar[type[msgspec.Struct]]
    signatures: int | None = None
    """How many must sign; None if the file does not say it."""

    def __init__(self, members: Iterable[Holder] = (), where: str = "") -> None:
        self.members, self.where = tuple(members), where or f"the file of {self.table}s"
        pairs = [(VerifyingKey(each.public_key), each) for each in self.members]
        self._keys = {key.key_id: (key, each) for key, each in pairs}
        if len(self._keys) < len(pairs):
            expected = "one entry for each key"
            raise BadSetting(f"two {self.table}s share a key", where=self.where, expected=expected)

    def find(self, key_id: str) -> Holder | None:
        """Find the holder of a key."""
        found = self._keys.get(key_id)
        return None if found is None else found[1]

    def list_names(self) -> list[str]:
        """List the names, each once."""
        return list(dict.fromkeys(each.name for each in self.members))

    def find_signers(
        self, statement: bytes, signatures: Iterable[Signature], at: datetime
    ) -> dict[str, Holder]:
        """Find by name the holders whose signatures of a statement hold; keys that had ended by `at` do not count."""
        message = encode_for_signing(PAYLOAD_TYPE, statement)
        found: dict[str, Holder] = {}
        for signature in signatures:
            key, holder = self._keys.get(signature.keyid, (None, None))
            if key is None or holder is None or (holder.until is not None and at >= holder.until):
                continue
            if holder.name not in found and key.verifies(signature.sig, message):
                found[holder.name] = holder
        return found

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; without one there are no holders."""
        fault = f"the file of {cls.table}s cannot be read"
        try:
            with path.open("rb") as file:
                content = msgspec.convert(tomllib.loads(file.read(MAX_FILE_BYTES).decode()), cls.layout)
        except FileNotFoundError:
            content = cls.layout()
        except OSError as error:
            raise BadSetting(fault, where=str(path), got=error.__class__.__name__) from error
        except (ValueError, msgspec.ValidationError) as error:
            expected = f"entries [[{cls.table}]] with name and public_key"
            todo = f"correct it, or write it again with {cls.verb}"
            raise BadSetting(fault, where=str(path), got=str(error), expected=expected, todo=todo) from error
        return cls(where=str(path), **msgspec.structs.asdict(content))

    def write(self, path: Path) -> None:
        """Write the file at once, readable by all and writable by its owner."""
        lines = [f"# {self.about}"]
        if self.signatures is not None:
            lines.append(f"signatures = {self.signatures}")
        for each in self.members:
            fields = msgspec.to_builtins(each, builtin_types=(datetime,))
            lines += ["", f"[[{self.table}]]", *(f"{name} = {_format(fields[name])}" for name in fields)]
        try:
            replace_file(path, ("\n".join(lines) + "\n").encode(), PUBLIC_MODE)
        except OSError as error:
            fault = f"the file of {self.table}s cannot be written"
            got, todo = error.strerror or type(error).__name__, f"run {self.verb} as a user who may write it"
            raise BadSetting(fault, where=str(path), got=got, todo=todo) from error


class Approvers(KeyHolders[Approver]):
    """The persons who may approve, and how many must sign; `BadSetting` if there are fewer."""

    table, verb, layout = "approver", "npsrisk keys", _ApproversFile
    about = "Who may approve a promotion (npsrisk keys). The user of the service must not be able to write this file."
    signatures: int

    def __init__(
        self, members: Iterable[Approver], signatures: int = 1, where: str = "NPSRISK_APPROVERS_FILE"
    ) -> None:
        super().__init__(members, where)
        self.signatures = signatures
        if len(self.list_names()) < len(self.members):
            raise BadSetting("two approvers share a name", where=where, expected="one entry for each person")
        self.approver_count = sum(each.role == "approver" for each in self.members)
        if 0 < self.approver_count < signatures:
            what = "more signatures are required than there are approvers"
            got, expected = f"{self.approver_count} with the role approver", f"at least {signatures}"
            raise BadSetting(what, where=where, got=got, expected=expected)

    def list_signers(
        self,
        statement: bytes,
        signatures: Iterable[Signature],
        at: datetime,
        roles: Container[str] = ("approver",),
    ) -> list[str]:
        """List the persons of these roles whose signatures hold `at` this time, each once."""
        found = self.find_signers(statement, signatures, at)
        return [name for name, each in found.items() if each.role in roles]


class Partners(KeyHolders[Partner]):
    """The administrations whose messages are accepted."""

    table, verb, layout = "partner", "npsrisk exchange trust", _PartnersFile
    about = "Partners whose messages are accepted (npsrisk exchange trust)."


def _format(value: str | datetime) -> str:
    """Format a value for TOML, whose basic strings have JSON's escapes."""
    return value.isoformat() if isinstance(value, datetime) else msgspec.json.encode(value).decode()
