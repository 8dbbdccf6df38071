"""Verb exchange: messages between administrations in an operation."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.options import (
    TableOptions,
    alerts_option,
    build_key_option,
    collect_options,
    collect_tables,
    consignments_option,
    json_option,
    outcomes_option,
    outcomes_required_option,
    reject_options,
    table_option,
    target_option,
)
from cli.output import print_result
from cli.stores import load_pseudonyms, read_settings
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import BadInput
from consignments.exchange.folder import MESSAGE_SUFFIX, OFFICER_KEY
from consignments.records import Consignment, Target

if TYPE_CHECKING:
    from cli.operation.exchange_folder import ExchangeFolder, Refused
    from consignments.exchange.documents import AnyMessage
    from models.signatures.signed_message import SignedMessage


DIGEST_CHARACTERS = 12
"""Length of the digest in the identifier of the withdrawal of a message with a long identifier."""
at_option = click.option(
    "--at", default=None, metavar="TIME", help="Time of the call in ISO 8601. Default: now."
)
key_option = build_key_option("the officer's private key. Default: officer.key in the exchange directory")
operation_option = click.option(
    "--operation", default=None, metavar="NAME", help="Operation. Default: the only one that has a valid key."
)


@click.group()
def exchange() -> None:
    """Exchange warnings and seizures with partners.

    A message is a signed file: a warning, feedback, a seizure, a sighting or a withdrawal. Carry the files of the outbox to the partners by any folder, share or mailbox. Names, addresses,
    phones and e-mails leave only as keyed hashes, which a partner can compare and not read.

    Set NPSRISK_ADMINISTRATION to the name of the own administration. NPSRISK_EXCHANGE_DIR is the directory of keys and messages.

    \b
    Examples:
    npsrisk exchange key EXAMPLE
    npsrisk exchange trust XB MCowBQ...=
    npsrisk exchange draft --consignments T --outcomes T
    npsrisk exchange export
    npsrisk exchange import --alerts alerts.parquet
    """


@exchange.command()
@click.argument("operation")
@click.option("--until", default=None, metavar="TIME", help="End of the operation. Default: none.")
@json_option
def key(operation: str, until: str | None, as_json: bool) -> None:
    """Create the key of an operation.

    The indicators of the operation are keyed hashes with this key.

    Give the file to the partners of OPERATION alone, by a safe way; they put it into the folder keys of their exchange directory.
    Create another key for each operation.
    """
    from cli.operation.exchange_folder import ExchangeFolder
    from features.indicators.operation_keys import OperationKey

    path = ExchangeFolder.open().get_key_file(operation)
    made = OperationKey.create(path, operation, parse_time(until, "--until"))
    print_result(
        {"operation": operation, "key_id": made.key_id, "file": str(path)},
        as_json,
        f"key {made.key_id} of {operation}: {path} (secret: for the partners of this operation alone)",
    )


@exchange.command()
@click.argument("name")
@click.argument("public_key", required=False)
@key_option
@json_option
def trust(name: str, public_key: str | None, key_file: Path | None, as_json: bool) -> None:
    """Accept messages of an administration.

    NAME is the administration. PUBLIC_KEY is what "npsrisk keys show" prints for the key of its officer. Without PUBLIC_KEY, the
    officer's own key is created if it does not exist, and its public key is added and printed.
    """
    from cli.operation.exchange_folder import ExchangeFolder
    from models.signatures.key_holders import Partner, Partners
    from models.signatures.keys import SigningKey, VerifyingKey

    folder = ExchangeFolder.open()
    if public_key is None:
        path = key_file or folder.path / OFFICER_KEY
        found = SigningKey.load(path) if path.exists() else SigningKey.create(path)
        public_key = found.public.text
    partners = folder.read_partners()
    member = Partner(name, VerifyingKey(public_key).text)
    if member.public_key not in {each.public_key for each in partners.members}:
        Partners([*partners.members, member], str(folder.partners_file)).write(folder.partners_file)
    print_result(
        {"name": name, "public_key": member.public_key, "partners": str(folder.partners_file)},
        as_json,
        f"messages of {name} are accepted: {folder.partners_file}\npublic key: {member.public_key}",
    )


class SeizureOptions(NamedTuple):
    """Options of drafts."""

    operation: str | None
    since: str | None
    at: str | None
    valid_days: int
    target: Target


@exchange.command()
@collect_tables
@collect_options(SeizureOptions, "options")
@consignments_option
@outcomes_required_option
@operation_option
@click.option(
    "--since",
    default=None,
    metavar="TIME",
    help="Only detections whose result became known after this time. Default: all.",
)
@at_option
@click.option(
    "--valid-days", type=click.IntRange(1, 400), default=90, show_default=True, metavar="N",
    help="Days for which the messages are valid.",
)  # fmt: skip
@target_option
@reject_options
@json_option
def draft(tables: TableOptions, options: SeizureOptions, as_json: bool) -> None:
    """Draft a seizure and a warning for each confirmed detection.

    A draft has no signature and stays here. Read it, change it or delete it; "npsrisk exchange export" signs and sends it. A
    detection that was drafted or sent before is left out.
    """
    from cli.operation.exchange_folder import ExchangeFolder, get_administration
    from consignments.tables import to_consignments
    from consignments.versions import select_counting_rows
    from models.operation.drafts import (
        SHARING_DAYS,
        DraftOptions,
        compute_case_reference,
        draft_seizure,
        draft_warning,
        find_common_indicators,
    )
    from training.operation.confirmed import list_confirmed

    folder, now = ExchangeFolder.open(), _get_time(options.at)
    made_with = folder.read_keys().find(options.operation, now)
    common = DraftOptions(get_administration(), now, made_with, valid_days=options.valid_days)
    own = load_pseudonyms()
    written = []
    since, read = parse_time(options.since, "--since"), TableReader(tables).read_tables(Consignment)
    confirmed = [
        each
        for each in list_confirmed(read, now, options.target)
        if since is None or each.outcome.known_at is None or each.outcome.known_at > since
    ]
    counting = read.consignments[select_counting_rows(read.consignments)]
    recent = counting["received_at"] > now - timedelta(days=SHARING_DAYS)
    arrivals = to_consignments(counting[recent], Consignment)
    common = common._replace(common=find_common_indicators(arrivals, confirmed, made_with))
    for found in confirmed:
        seizure = draft_seizure(found, common, compute_case_reference(own, found.consignment.consignment_id))
        drafts = [seizure, draft_warning(seizure)]
        paths = [folder.write_draft(message) for message in drafts if message is not None]
        written += [str(path) for path in paths if path is not None]
    print_result(
        {"drafts": written},
        as_json,
        f"{len(written)} drafts in {folder.drafts}: read them, then npsrisk exchange export",
    )


@exchange.command()
@click.argument("drafts", nargs=-1, type=click.Path(path_type=Path))
@key_option
@at_option
@json_option
def export(drafts: tuple[Path, ...], key_file: Path | None, at: str | None, as_json: bool) -> None:
    """Sign drafts and put them into the outbox.

    The signature is the approval. DRAFTS are files; without them, all drafts are signed.
    """
    from cli.operation.exchange_folder import ExchangeFolder

    folder = ExchangeFolder.open()
    paths = list(drafts) or sorted(folder.drafts.glob(f"*{MESSAGE_SUFFIX}"))
    sent = [str(_sign_and_send(folder, folder.read_draft(path), key_file, _get_time(at))) for path in paths]
    print_result({"sent": sent}, as_json, f"{len(sent)} messages signed: {folder.outbox}")


@exchange.command()
@click.argument("message_id")
@click.option("--why", default=None, metavar="TEXT", help="Reason, for the partners.")
@key_option
@at_option
@json_option
def withdraw(message_id: str, why: str | None, key_file: Path | None, at: str | None, as_json: bool) -> None:
    """Withdraw an own message.

    From the receipt of the withdrawal on, the message matches nothing at the partners.
    """
    from cli.operation.exchange_folder import ExchangeFolder, get_administration
    from consignments.exchange.documents import Withdrawal

    folder, now = ExchangeFolder.open(), _get_time(at)
    if not (folder.outbox / f"{message_id}{MESSAGE_SUFFIX}").exists():
        raise BadInput("no such message was sent", where=str(folder.outbox), got=message_id)
    message = Withdrawal(
        message_id=_name_withdrawal(message_id),
        author=get_administration(),
        issued_at=now,
        about=message_id,
        reason=why,
    )
    path = _sign_and_send(folder, message, key_file, now)
    print_result({"sent": [str(path)]}, as_json, f"withdrawal of {message_id}: {path}")


def _name_withdrawal(message_id: str) -> str:
    """Name the withdrawal of a message; if its identifier is too long, a digest of it takes the place of its end."""
    from consignments.exchange.documents import MAX_MESSAGE_ID

    name = f"X-{message_id}"
    if len(name) <= MAX_MESSAGE_ID:
        return name
    digest = hashlib.sha256(message_id.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{name[: MAX_MESSAGE_ID - len(digest) - 1]}-{digest}"


@exchange.command("import")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), default=None, metavar="DIR",
    help="Folder of messages. Default: the inbox.",
)  # fmt: skip
@alerts_option
@click.option(
    "--service", default=None, metavar="URL",
    help="Send the messages to a running service, for example http://127.0.0.1:8080. NPSRISK_API_KEY is its key.",
)  # fmt: skip
@at_option
@json_option
def import_(
    source: Path | None, alerts: Path | None, service: str | None, at: str | None, as_json: bool
) -> None:
    """Import messages of partners.

    The messages go into an alert table or to a running service.

    A warning or a seizure becomes an alert that counts from now on. A withdrawal ends it from now on. Messages that are forged,
    expired or damaged go to the folder refused, each with its reason. A repeated message changes nothing.

    Exit code 2 if neither --alerts nor --service is given.
    """
    from cli.operation.exchange_folder import ExchangeFolder, Refused
    from cli.operation.exchange_import import AlertTable, post_messages

    if (alerts is None) == (service is None):
        raise BadInput("name one place for the alerts", expected="either --alerts T or --service URL")
    folder, now = ExchangeFolder.open(), _get_time(at)
    found = list(folder.read_messages(source or folder.inbox, now))
    accepted = sorted(
        [(path, each) for path, each in found if not isinstance(each, Refused)],
        key=lambda pair: (pair[1].message.issued_at, pair[1].message.message_id),
    )
    refused = [each for _, each in found if isinstance(each, Refused)]
    changed = 0
    if alerts is not None:
        table = AlertTable.read(alerts)
        table.withdrawn |= folder.read_withdrawn()
        administration = read_settings().administration
        changed = sum(table.apply(signed.message, now, administration) for _, signed in accepted)
        table.write(alerts)
    elif service is not None:
        refused += post_messages(service, accepted)
    faulty = {each.path: each for each in refused}
    for path, each in found:
        folder.keep(path, faulty.get(path, each))
    _print_import([signed for path, signed in accepted if path not in faulty], refused, changed, as_json)


def _print_import(
    accepted: "list[SignedMessage]", refused: "list[Refused]", changed: int, as_json: bool
) -> None:
    from consignments.exchange.documents import get_kind

    kinds = Counter(get_kind(each.message) for each in accepted)
    text = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no message"
    for each in refused:
        click.echo(f"refused {each.path.name}: {each.reason}", err=True)
    print_result(
        {
            "accepted": dict(kinds),
            "refused": {each.path.name: each.reason for each in refused},
            "alerts_changed": changed,
        },
        as_json,
        f"accepted: {text}; refused: {len(refused)}",
    )


class FeedbackOptions(NamedTuple):
    """Options of feedback."""

    begins: str | None
    at: str | None
    key_file: Path | None
    target: Target


@exchange.command()
@collect_tables
@collect_options(FeedbackOptions, "options")
@table_option("--consignments", "Consignment table. Default: the log of the service, for all three tables.")
@outcomes_option
@alerts_option
@click.option(
    "--from", "begins", default=None, metavar="TIME", help="Begin of the period. Default: the first arrival."
)
@at_option
@key_option
@target_option
@reject_options
@json_option
def feedback(tables: TableOptions, options: FeedbackOptions, as_json: bool) -> None:
    """Report to the partners what their messages brought.

    Counts for each of their alerts the consignments that it matched, the inspections and the detections until now, and how often its
    indicators were seen. Writes drafts; with NPSRISK_EXCHANGE_FEEDBACK=true they are signed and sent at once.

    Without tables it reads the log of the service, which may run meanwhile. deploy/npsrisk-feedback.timer runs it each week.
    """
    from cli.operation.exchange_feedback import count_logged_yields, count_table_yields
    from cli.operation.exchange_folder import ExchangeFolder, get_administration
    from training.operation.reports import draft_reports

    folder, now = ExchangeFolder.open(), _get_time(options.at)
    begins = parse_time(options.begins, "--from")
    if tables.consignments is not None:
        found = count_table_yields(TableReader(tables).read_tables(Consignment), begins, now, options.target)
    else:
        if options.at is not None or tables.list_sources():
            raise BadInput(
                "a table is missing",
                where="npsrisk exchange feedback",
                expected="--consignments and --outcomes; or neither of them, nor --alerts and --at, for the log of the service",
            )
        found = count_logged_yields(folder.read_keys(), begins, options.target)
    at_once = read_settings().exchange_feedback
    written: list[str] = []
    for message in draft_reports(found.yields, get_administration(), found.begins or now, now):
        path = (
            _sign_and_send(folder, message, options.key_file, now) if at_once else folder.write_draft(message)
        )
        written += [] if path is None else [str(path)]
    where = f"signed: {folder.outbox}" if at_once else f"drafts: {folder.drafts}"
    print_result({"messages": written, "signed": at_once}, as_json, f"{len(written)} messages {where}")


@exchange.command()
def schema() -> None:
    """Print the JSON schema of the messages."""
    from consignments.exchange.documents import build_schema

    click.echo(json.dumps(build_schema(), indent=1))


def _sign_and_send(
    folder: "ExchangeFolder", message: "AnyMessage", key_file: Path | None, now: datetime
) -> Path:
    """Sign a message of the own administration, and put it into the outbox."""
    import msgspec

    from cli.operation.exchange_folder import get_administration
    from consignments.exchange.checks import check_message
    from models.signatures.keys import SigningKey
    from models.signatures.signed_message import sign_message

    if message.author != get_administration():
        raise BadInput(
            "the draft has another author",
            where=message.message_id,
            got=message.author,
            expected=get_administration(),
        )
    dated = msgspec.structs.replace(message, issued_at=now)
    check_message(dated, now)
    return folder.send(dated, sign_message(dated, SigningKey.load(key_file or folder.path / OFFICER_KEY)))


def _get_time(at: str | None) -> datetime:
    return parse_time(at, "--at") or datetime.now(UTC)
