"""Verb keys: signing keys, and the file of those who may approve a promotion."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import build_key_option, json_option
from cli.output import print_result
from cli.stores import read_settings
from cli.times import parse_time
from consignments.errors import BadInput, BadSetting

if TYPE_CHECKING:
    from models.signatures.key_holders import Approver, ApproverRole, Approvers
    from models.signatures.keys import SigningKey

KEY_FILE = "approver.key"
"""In the state directory: the key with which promotions are signed by default."""
MAY = {"approver": "may approve", "evaluator": "may sign evidence"}

key_file_option = build_key_option("the private key. Default: approver.key in the state directory")
role_option = click.option(
    "--role",
    type=click.Choice(["approver", "evaluator"]),
    default="approver",
    show_default=True,
    help="An approver signs promotions and evidence, an evaluator only evidence: runs of train and compare.",
)


evidence_key_option = build_key_option(
    "the private key of an approver or evaluator, who signs the evidence of the run. Default: not signed"
)


def load_key(path: Path | None) -> "SigningKey | None":
    """Load a signing key before long work; None if no file is given."""
    from models.signatures.keys import SigningKey

    return None if path is None else SigningKey.load(path)


def find_key_file(given: Path | None) -> Path:
    """Return the file of the signing key: the one given, or the default one."""
    return given or read_settings().state_dir / KEY_FILE


@click.group()
def keys() -> None:
    """Create signing keys, and manage the list of approvers.

    Each approver creates a key and keeps its file secret. The file of approvers (NPSRISK_APPROVERS_FILE) holds their public
    keys only. "npsrisk promote", "npsrisk publish" and the service read it. On the machine of a service with API keys, only an
    administrator may write it, and not the user of the service. Set NPSRISK_KEY_PASSPHRASE to encrypt a private key.

    Before the first "npsrisk promote", run "npsrisk keys create".

    \b
    Examples:
    npsrisk keys create --name "your name"
    npsrisk keys trust "another name" MCowBQ...=
    npsrisk keys require 2
    """


@keys.command()
@click.option("--name", required=True, metavar="NAME", help="Name of the owner of the key.")
@role_option
@key_file_option
@json_option
def create(name: str, role: "ApproverRole", key_file: Path | None, as_json: bool) -> None:
    """Create a signing key, and add its public key to the approvers.

    \b
    Examples:
    npsrisk keys create --name "your name"
    npsrisk keys create --name "your name" --key ~/.npsrisk/approver.key
    """
    from models.signatures.key_holders import Approver
    from models.signatures.keys import SigningKey

    path, approvers = find_key_file(key_file), _read_approvers()
    _require_new_name(approvers, name)
    public = SigningKey.create(path).public
    member = Approver(name, public.text, role=role)
    try:
        _write_approvers([*approvers.members, member], approvers.signatures)
    except BadSetting:
        path.unlink()
        raise
    print_result(
        {"name": name, "role": role, "key_file": str(path), "public_key": public.text}
        | {"approvers": approvers.where},
        as_json,
        f"private key of {name}: {path} (keep it secret, and keep a copy)\npublic key: {public.text}\n"
        f"{MAY[role]}: added to {approvers.where}",
    )


@keys.command()
@key_file_option
@json_option
def show(key_file: Path | None, as_json: bool) -> None:
    """Print the public key of a signing key.

    Send it to the operator of the service, who runs "npsrisk keys trust".
    """
    from models.signatures.keys import SigningKey

    public = SigningKey.load(find_key_file(key_file)).public
    print_result({"public_key": public.text, "key_id": public.key_id}, as_json, public.text)


@keys.command()
@click.argument("name")
@click.argument("public_key")
@role_option
@json_option
def trust(name: str, public_key: str, role: "ApproverRole", as_json: bool) -> None:
    """Add another person as approver or evaluator.

    NAME is the person. PUBLIC_KEY is what "npsrisk keys show" prints for the key of this person.
    """
    from models.signatures.key_holders import Approver
    from models.signatures.keys import VerifyingKey

    approvers = _read_approvers()
    _require_new_name(approvers, name)
    member = Approver(name, VerifyingKey(public_key).text, role=role)
    _write_approvers([*approvers.members, member], approvers.signatures)
    print_result(
        {"name": name, "role": role, "approvers": approvers.where},
        as_json,
        f"{name} {MAY[role]}: {approvers.where}",
    )


@keys.command()
@click.argument("name")
@click.option("--until", default=None, metavar="TIME", help="End of the right. Default: now.")
@json_option
def retire(name: str, until: str | None, as_json: bool) -> None:
    """End the right of the person NAME to approve, or to sign evidence.

    Earlier approvals stay valid. Evidence that this person signed no longer counts.
    """
    import msgspec

    approvers, end = _read_approvers(), parse_time(until, "--until") or datetime.now(UTC)
    if name not in approvers.list_names():
        raise BadInput(
            "no such approver",
            where=approvers.where,
            got=name,
            expected=", ".join(approvers.list_names()) or "nobody yet",
        )
    members = [
        msgspec.structs.replace(each, until=end) if each.name == name else each for each in approvers.members
    ]
    _write_approvers(members, approvers.signatures)
    last = max(end, datetime.now(UTC))
    active = sum(each.role == "approver" and (each.until is None or each.until > last) for each in members)
    print_result(
        {"name": name, "until": end.isoformat(), "active": active},
        as_json,
        f"the right of {name} ends at {end:%Y-%m-%d %H:%M} UTC",
    )
    if active < approvers.signatures:
        click.echo(
            f"warning: {active} active approvers are left then, and {approvers.signatures} must sign: nothing can be promoted; "
            "add approvers with npsrisk keys trust, or lower the number with npsrisk keys require",
            err=True,
        )


@keys.command()
@click.argument("signatures", type=click.IntRange(1, 10))
@json_option
def require(signatures: int, as_json: bool) -> None:
    """Set how many approvers must sign a promotion."""
    approvers = _read_approvers()
    _write_approvers(list(approvers.members), signatures)
    print_result(
        {"signatures": signatures},
        as_json,
        f"a promotion needs {signatures} of {approvers.approver_count} approvers",
    )


@keys.command("list")
@json_option
def list_approvers(as_json: bool) -> None:
    """List the approvers, and how many of them must sign."""
    approvers = _read_approvers()
    lines = [
        f"{each.name}, {each.role}: {each.public_key}{_describe_end(each)}" for each in approvers.members
    ]
    head = f"{approvers.signatures} of {approvers.approver_count} must sign ({approvers.where})"
    result = {
        "signatures": approvers.signatures,
        "approvers": [
            {"name": each.name, "role": each.role, "public_key": each.public_key}
            for each in approvers.members
        ],
    }
    print_result(result, as_json, "\n".join([head, *lines]))


def _describe_end(member: "Approver") -> str:
    return "" if member.until is None else f" (until {member.until:%Y-%m-%d %H:%M} UTC)"


def _read_approvers() -> "Approvers":
    from models.signatures.key_holders import Approvers

    return Approvers.read(read_settings().approvers_file)


def _write_approvers(members: "list[Approver]", signatures: int) -> None:
    from models.signatures.key_holders import Approvers

    path = read_settings().approvers_file
    Approvers(members, signatures, str(path)).write(path)


def _require_new_name(approvers: "Approvers", name: str) -> None:
    if not name.strip():
        raise BadInput("an approver needs a name", got=repr(name), expected="the name of a person")
    if name in approvers.list_names():
        raise BadInput(
            "there is an approver of this name", where=approvers.where, got=name, todo="choose another name"
        )
