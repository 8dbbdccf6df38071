"""Verb exchange: messages between administrations in an operation."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli import options
from cli.stores import load_pseudonyms, open_log, open_vault, read_settings
from cli.tables import EVENTS, GivenTables, table_options
from cli.verb import Result, argument, option, sub_verb
from consignments.errors import BadInput
from consignments.exchange.documents import MAX_MESSAGE_ID, AnyMessage, Withdrawal, get_kind
from consignments.exchange.folder_names import MESSAGE_SUFFIX, OFFICER_KEY
from consignments.records import Alert, Consignment, Target
from features.indicators.operation_keys import OperationKey, OperationKeys
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey, VerifyingKey
from operation.exchange.folder import ExchangeFolder, Refused, get_administration

if TYPE_CHECKING:
    from features.batch import Tables
    from operation.inspections import AlertYield

DIGEST_CHARACTERS = 12
"""Length of the digest in the identifier of the withdrawal of a message with a long identifier."""
REPORTED_DAYS = 90
"""Days after its end for which an alert is still reported from a log, because results come late (assumed)."""
AT = option("Time of the call in ISO 8601. Default: now.")
KEY = option("File of the officer's private key. Default: officer.key in the exchange directory.")


@click.group()
def exchange() -> None:
    """Exchange warnings and seizures with partners.

    A message is a signed file: a warning, feedback, a seizure, a sighting or a withdrawal. Carry the files of the outbox to the
    partners by any folder, share or mailbox. Names, addresses, phones and e-mails leave only as keyed hashes, which a partner
    can compare and not read. NPSRISK_ADMINISTRATION is the name of the own administration, and NPSRISK_EXCHANGE_DIR the
    directory of keys and messages.

    \b
    Examples:
    npsrisk exchange key EXAMPLE
    npsrisk exchange trust XB PUBLIC_KEY
    npsrisk exchange draft --consignments T --outcomes T
    npsrisk exchange export
    npsrisk exchange import --alerts alerts.parquet
    """


@sub_verb(exchange)
def key(
    operation: str = argument(), until: datetime | None = option("End of the operation. Default: none.")
) -> Result:
    """Create the key of an operation.

    The indicators of the operation are keyed hashes with it. Give the file to the partners of OPERATION alone, by a safe way;
    they put it into the folder keys of their exchange directory. Create another key for each operation.
    """
    path = ExchangeFolder.open().get_key_file(operation)
    made = OperationKey.create(path, operation, until)
    text = f"key {made.key_id} of {operation}: {path} (secret: for the partners of this operation alone)"
    return Result({"operation": operation, "key_id": made.key_id, "file": str(path)}, text)


@sub_verb(exchange)
def trust(name: str = argument(), public_key: str | None = argument(), key: Path | None = KEY) -> Result:
    """Accept messages of an administration.

    NAME is the administration. PUBLIC_KEY is what "npsrisk keys show" prints for the key of its officer. Without PUBLIC_KEY, the
    officer's own key is created if it does not exist, and its public key is added and printed.
    """
    folder = ExchangeFolder.open()
    if public_key is None:
        path = key or folder.path / OFFICER_KEY
        found = SigningKey.load(path) if path.exists() else SigningKey.create(path)
        public_key = found.public.text
    partners = Partners.read(folder.partners_file)
    member = Partner(name, VerifyingKey(public_key).text)
    if member.public_key not in {each.public_key for each in partners.members}:
        Partners([*partners.members, member], str(folder.partners_file)).write(folder.partners_file)
    return Result(
        {"name": name, "public_key": member.public_key, "partners": str(folder.partners_file)},
        f"messages of {name} are accepted: {folder.partners_file}\npublic key: {member.public_key}",
    )


@sub_verb(exchange)
def draft(
    tables: GivenTables = table_options(
        {"consignments": options.CONSIGNMENTS, "outcomes": options.REQUIRED_OUTCOMES}
    ),
    operation: str | None = option("Operation. Default: the only one that has a valid key.", metavar="NAME"),
    since: datetime | None = option("Only detections whose result became known since. Default: all."),
    at: datetime | None = AT,
    valid_days: int = option("Days for which the messages are valid.", 90, type=click.IntRange(1, 400)),
    target: Target = options.TARGET,
) -> Result:
    """Draft a seizure and a warning for each confirmed detection.

    A draft has no signature and stays here. Read it, change it or delete it; "npsrisk exchange export" signs and sends it. A
    detection that was drafted or sent before is left out.
    """
    from consignments.tables import to_records
    from consignments.versions import select_counting_rows
    from operation.exchange import drafts as drafting
    from operation.exchange.reports import list_confirmed

    folder, now = ExchangeFolder.open(), at or datetime.now(UTC)
    made_with = folder.read_keys().find(operation, now)
    common = drafting.DraftOptions(get_administration(), now, made_with, valid_days=valid_days)
    own, read = load_pseudonyms(), tables.read_tables(Consignment)
    confirmed = [
        each
        for each in list_confirmed(read, now, target)
        if since is None or each.outcome.known_at is None or each.outcome.known_at > since
    ]
    counting = read.consignments[select_counting_rows(read.consignments)]
    recent = counting["received_at"] > now - timedelta(days=drafting.SHARING_DAYS)
    arrivals = to_records(counting[recent], Consignment)
    common = common._replace(common=drafting.find_common_indicators(arrivals, confirmed, made_with))
    written = []
    for found in confirmed:
        reference = drafting.compute_case_reference(own, found.consignment.consignment_id)
        seizure = drafting.draft_seizure(found, common, reference)
        drafts = [seizure, drafting.draft_warning(seizure)]
        paths = [folder.write_draft(message) for message in drafts if message is not None]
        written += [str(path) for path in paths if path is not None]
    text = f"{len(written)} drafts in {folder.drafts}: read them, then npsrisk exchange export"
    return Result({"drafts": written}, text)


@sub_verb(exchange)
def export(
    drafts: tuple[Path, ...] = argument(required=False), key: Path | None = KEY, at: datetime | None = AT
) -> Result:
    """Sign drafts and put them into the outbox.

    The signature is the approval. DRAFTS are files; without them, all drafts are signed.
    """
    folder = ExchangeFolder.open()
    paths = list(drafts) or sorted(folder.drafts.glob(f"*{MESSAGE_SUFFIX}"))
    sent = [str(_send(folder.read_draft(path), key, at)) for path in paths]
    return Result({"sent": sent}, f"{len(sent)} messages signed: {folder.outbox}")


@sub_verb(exchange)
def withdraw(
    message_id: str = argument(),
    why: str | None = option("Reason, for the partners.", metavar="TEXT"),
    key: Path | None = KEY,
    at: datetime | None = AT,
) -> Result:
    """Withdraw an own message.

    From the receipt of the withdrawal on, the message matches nothing at the partners.
    """
    folder, now = ExchangeFolder.open(), at or datetime.now(UTC)
    if not folder.find_sent(message_id).exists():
        raise BadInput("no such message was sent", where=str(folder.outbox), got=message_id)
    name, author = _name_withdrawal(message_id), get_administration()
    message = Withdrawal(message_id=name, author=author, issued_at=now, about=message_id, reason=why)
    path = _send(message, key, now)
    return Result({"sent": [str(path)]}, f"withdrawal of {message_id}: {path}")


def _name_withdrawal(message_id: str) -> str:
    """Name the withdrawal of a message; if its identifier is too long, a digest of it takes the place of its end."""
    name = f"X-{message_id}"
    if len(name) <= MAX_MESSAGE_ID:
        return name
    digest = hashlib.sha256(message_id.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{name[: MAX_MESSAGE_ID - len(digest) - 1]}-{digest}"


@sub_verb(exchange)
def import_(
    from_: options.Folder | None = option("Folder of messages. Default: the inbox."),
    alerts: options.Table | None = options.ALERTS,
    service: str | None = option(
        "Send the messages to a running service, for example http://127.0.0.1:8080. NPSRISK_API_KEY is its key.",
        metavar="URL",
    ),
    at: datetime | None = AT,
) -> Result:
    """Import messages of partners, to a table or a service.

    A warning or a seizure becomes an alert that counts from now on. A withdrawal ends it from now on. Messages that are forged,
    expired or damaged go to the folder refused, each with its reason. A repeated message changes nothing.

    Exit code 2 if neither --alerts nor --service is given.
    """
    from operation.exchange.receiving import AlertTable, post_messages

    options.require_one("npsrisk exchange import", alerts=alerts, service=service)
    folder, now = ExchangeFolder.open(), at or datetime.now(UTC)
    found = list(folder.read_messages(from_ or folder.inbox, now))
    accepted = sorted(
        [(path, each) for path, each in found if not isinstance(each, Refused)],
        key=lambda pair: (pair[1].message.issued_at, pair[1].message.message_id),
    )
    refused = [each for _, each in found if isinstance(each, Refused)]
    changed = 0
    if alerts is not None:
        table = AlertTable(alerts)
        table.withdrawn |= folder.read_withdrawn()
        administration = read_settings().administration
        changed = sum(table.apply(signed.message, now, administration) for _, signed in accepted)
        table.write()
    elif service is not None:
        refused += post_messages(service, accepted)
    faulty = {each.path: each for each in refused}
    for path, each in found:
        folder.keep(path, faulty.get(path, each))
    kinds = Counter(get_kind(signed.message) for path, signed in accepted if path not in faulty)
    text = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no message"
    reasons = {each.path.name: each.reason for each in refused}
    values = {"accepted": dict(kinds), "refused": reasons, "alerts_changed": changed}
    notes = tuple(f"refused {each.path.name}: {each.reason}" for each in refused)
    return Result(values, f"accepted: {text}; refused: {len(refused)}", notes=notes)


@sub_verb(exchange)
def feedback(
    tables: GivenTables = table_options(
        {"consignments": option("Consignment table. Default: the log of the service, for all three tables.")}
        | EVENTS
    ),
    from_: datetime | None = option("Begin of the period. Default: the first arrival."),
    at: datetime | None = AT,
    key: Path | None = KEY,
    target: Target = options.TARGET,
) -> Result:
    """Report to the partners what their messages brought.

    Counts for each of their alerts the consignments that it matched, the inspections and the detections until now, and how often its
    indicators were seen. Writes drafts; with NPSRISK_EXCHANGE_FEEDBACK=true they are signed and sent at once.

    Without tables it reads the log of the service, which may run meanwhile. deploy/npsrisk-feedback.timer runs it each week.
    """
    from operation.exchange.reports import draft_reports

    folder, now = ExchangeFolder.open(), at or datetime.now(UTC)
    if tables.consignments is not None:
        found, since = _count_table_yields(tables.read_tables(Consignment), from_, now, target)
    elif at is not None or tables.list_sources():
        expected = "--consignments and --outcomes; or none, nor --alerts and --at, for the service's log"
        raise BadInput("a table is missing", where="npsrisk exchange feedback", expected=expected)
    else:
        found, since = _count_logged_yields(folder.read_keys(), from_, target)
    at_once = read_settings().exchange_feedback
    messages = draft_reports(found, get_administration(), since or now, now)
    paths = [_send(each, key, now) if at_once else folder.write_draft(each) for each in messages]
    written = [str(path) for path in paths if path is not None]
    where = f"signed: {folder.outbox}" if at_once else f"drafts: {folder.drafts}"
    return Result({"messages": written, "signed": at_once}, f"{len(written)} messages {where}")


@sub_verb(exchange)
def schema() -> None:
    """Print the JSON schema of the messages."""
    click.echo(json.dumps(msgspec.json.schema(AnyMessage), indent=1))


def _send(message: AnyMessage, key: Path | None, at: datetime | None) -> Path:
    """Sign a message of the own administration, and put it into the outbox."""
    folder, author, now = ExchangeFolder.open(), get_administration(), at or datetime.now(UTC)
    if message.author != author:
        where, got = message.message_id, message.author
        raise BadInput("the draft has another author", where=where, got=got, expected=author)
    dated = msgspec.structs.replace(message, issued_at=now)
    return folder.send(dated, folder.sign(dated, now, key))


def _count_table_yields(
    tables: "Tables", begins: datetime | None, now: datetime, target: Target
) -> "tuple[list[AlertYield], datetime | None]":
    """Count the yields of the alerts of tables, of consignments received before `now`; return them with the begin of their period."""
    from consignments.tables import to_records
    from operation.inspections import compute_yields, find_period, join_inspections

    period = find_period(tables, begins, now, now)
    arrived = tables.consignments["received_at"]
    inside = tables.consignments[(arrived >= period.begins) & (arrived < now)]
    known: list[Alert] = [] if tables.alerts is None else to_records(tables.alerts, Alert)
    inspections = join_inspections(tables, None, period, target)
    yields = compute_yields(known, to_records(inside, Consignment), inspections)
    return yields, period.begins


def _count_logged_yields(
    keys: OperationKeys, begins: datetime | None, target: Target
) -> "tuple[list[AlertYield], datetime | None]":
    """Count the yields of the alerts of the service's log that ended at most `REPORTED_DAYS` before its last arrival."""
    from consignments.timestamps import to_datetime
    from operation.inspections import build_yield
    from operation.yields import LoggedYields
    from serving.event_log.event_codec import EventCodec
    from serving.event_log.log import check_vault

    url, vault = read_settings().database_url, open_vault()
    with open_log() as log:
        check_vault(log, vault)
    found = LoggedYields(url, lambda: EventCodec(vault, Consignment, ()), keys, target, begins).read()
    if found.first_us is None or found.last_us is None:
        return [], begins
    ended = to_datetime(found.last_us) - timedelta(days=REPORTED_DAYS)
    current = [each for each in found.alerts.values() if each.expires_at is None or each.expires_at > ended]
    yields = [build_yield(alert, found.count(alert.alert_id)) for alert in current]
    return yields, begins or to_datetime(found.first_us)
