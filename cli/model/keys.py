"""Verb keys: signing keys, and the file of those who may approve a promotion."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
from msgspec import structs

from cli.stores import read_settings
from cli.verb import Result, argument, option, sub_verb
from consignments.errors import BadInput, NpsriskError
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey, VerifyingKey

MAY = {"approver": "may approve", "evaluator": "may sign evidence"}
Role = Literal["approver", "evaluator"]
KEY = option("File of the private key. Default: approver.key in the state directory.")
EVIDENCE_KEY = option("File of the private key that signs the evidence of the run. Default: not signed.")
ROLE = option("An approver signs promotions and evidence, an evaluator only evidence.", "approver")


def read_approvers() -> Approvers:
    """Read who may approve, and whose signature vouches for the figures of a run."""
    return Approvers.read(read_settings().approvers_file)


def load_key(path: Path | None) -> SigningKey | None:
    """Load a signing key before long work; None if no file is given."""
    return None if path is None else SigningKey.load(path)


def find_key_file(given: Path | None) -> Path:
    """Return the file of the signing key: the one given, or the default one."""
    return given or read_settings().state_dir / "approver.key"


@click.group()
def keys() -> None:
    """Create signing keys, and manage the list of approvers.

    Each approver creates a key and keeps its file secret. The file of approvers (NPSRISK_APPROVERS_FILE) holds their public
    keys only. "npsrisk promote", "npsrisk publish" and the service read it. On the machine of a service with API keys, only an
    administrator may write it, and not the user of the service. Set NPSRISK_KEY_PASSPHRASE to encrypt a private key.

    \b
    Examples:
    npsrisk keys create --name "your name"
    npsrisk keys trust "another name" PUBLIC_KEY
    npsrisk keys require 2
    """


@sub_verb(keys)
def create(
    name: str = option("Name of the owner of the key.", metavar="NAME"),
    role: Role = ROLE,
    key: Path | None = KEY,
) -> Result:
    """Create a signing key, and add its public key to the approvers."""
    path, approvers = find_key_file(key), _read_approvers_without(name)
    public = SigningKey.create(path).public.text
    try:
        where = _add(approvers, Approver(name, public, role=role))
    except NpsriskError:
        path.unlink()
        raise
    values = {"name": name, "role": role, "key_file": str(path), "public_key": public, "approvers": where}
    secret = f"private key of {name}: {path} (keep it secret, and keep a copy)"
    return Result(values, f"{secret}\npublic key: {public}\n{MAY[role]}: added to {where}")


@sub_verb(keys)
def show(key: Path | None = KEY) -> Result:
    """Print the public key of a signing key.

    Send it to the operator of the service, who runs "npsrisk keys trust".
    """
    public = SigningKey.load(find_key_file(key)).public
    return Result({"public_key": public.text, "key_id": public.key_id}, public.text)


@sub_verb(keys)
def trust(name: str = argument(), public_key: str = argument(), role: Role = ROLE) -> Result:
    """Add another person as approver or evaluator.

    NAME is the person. PUBLIC_KEY is what "npsrisk keys show" prints for the key of this person.
    """
    approvers = _read_approvers_without(name)
    where = _add(approvers, Approver(name, VerifyingKey(public_key).text, role=role))
    return Result({"name": name, "role": role, "approvers": where}, f"{name} {MAY[role]}: {where}")


@sub_verb(keys)
def retire(name: str = argument(), until: datetime | None = option("End. Default: now.")) -> Result:
    """End the right of the person NAME to approve, or to sign evidence.

    Earlier approvals stay valid. Evidence that this person signed no longer counts.
    """
    now = datetime.now(UTC)
    approvers, end = read_approvers(), until or now
    if name not in approvers.list_names():
        names = ", ".join(approvers.list_names()) or "nobody yet"
        raise BadInput("no such approver", where=approvers.where, got=name, expected=names)
    members = [structs.replace(each, until=end) if each.name == name else each for each in approvers.members]
    _write_approvers(members, approvers.signatures)
    last = max(end, now)
    active = sum(each.role == "approver" and (each.until is None or each.until > last) for each in members)
    warning = (
        f"warning: {active} active approvers are left then, and {approvers.signatures} must sign: nothing can be promoted; "
        "add approvers with npsrisk keys trust, or lower the number with npsrisk keys require"
    )
    return Result(
        {"name": name, "until": end.isoformat(), "active": active},
        f"the right of {name} ends at {end:%Y-%m-%d %H:%M} UTC",
        notes=(warning,) if active < approvers.signatures else (),
    )


@sub_verb(keys)
def require(signatures: int = argument(type=click.IntRange(1, 10))) -> Result:
    """Set how many approvers must sign a promotion."""
    approvers = read_approvers()
    _write_approvers(approvers.members, signatures)
    text = f"a promotion needs {signatures} of {approvers.approver_count} approvers"
    return Result({"signatures": signatures}, text)


@sub_verb(keys)
def list_() -> Result:
    """List the approvers, and how many of them must sign."""
    approvers = read_approvers()
    names = ("name", "role", "public_key")
    shown = [{name: getattr(each, name) for name in names} for each in approvers.members]
    lines = [f"{approvers.signatures} of {approvers.approver_count} must sign ({approvers.where})"]
    for each in approvers.members:
        end = "" if each.until is None else f" (until {each.until:%Y-%m-%d %H:%M} UTC)"
        lines.append(f"{each.name}, {each.role}: {each.public_key}{end}")
    return Result({"signatures": approvers.signatures, "approvers": shown}, "\n".join(lines))


def _read_approvers_without(name: str) -> Approvers:
    """Read who may approve, before a person of this name is added: nobody has it yet."""
    approvers = read_approvers()
    if not name.strip():
        raise BadInput("an approver needs a name", got=repr(name), expected="the name of a person")
    if name in approvers.list_names():
        todo = "choose another name"
        raise BadInput("there is an approver of this name", where=approvers.where, got=name, todo=todo)
    return approvers


def _add(approvers: Approvers, person: Approver) -> str:
    """Add a person to the file of approvers, and return its path."""
    _write_approvers([*approvers.members, person], approvers.signatures)
    return approvers.where


def _write_approvers(members: Sequence[Approver], signatures: int) -> None:
    path = read_settings().approvers_file
    Approvers(members, signatures, str(path)).write(path)
