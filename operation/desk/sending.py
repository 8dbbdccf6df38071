"""Messages to partners that an officer approves: signed with the officer's key of the installation, recorded, and put into the outbox."""

import asyncio

import msgspec

from consignments.errors import BadInput, ServiceFault
from consignments.exchange.alerts import name_message
from consignments.exchange.documents import AnyMessage
from consignments.timestamps import to_datetime
from models.signatures.envelope import Envelope
from operation.desk.forms import Form, FormFault
from operation.desk.messages import DOCUMENTS, PageRequest
from operation.desk.pages import OfficerPages, Visit
from operation.exchange.folder import ExchangeFolder
from serving.http.asgi import HttpCall
from serving.http.problems import Refusal
from serving.http.protocol.records import format_reason
from serving.process.logging import logger
from serving.scoring.intake import FieldError
from serving.service import Service

FIELDS = frozenset(
    ("id", "digest", "text", "operation", "handling", "valid_days", "send_seizure", "send_warning")
)


async def approve(pages: OfficerPages, call: HttpCall, visit: Visit) -> int:
    """Send the messages of a draft that the officer approves, once, and show the page again."""
    form = await pages.read_form(call, visit.cookie)
    visit.caller.require("act")
    query = {name: value for name, value in form.items() if name in FIELDS}
    try:
        sent = await _send(pages.service, await _read_documents(pages, query, visit), visit)
    except FormFault as fault:
        facts = {"fault": str(fault), "status": 409 if str(fault) == "draft.changed" else 422}
        return await pages.show(call, "draft", visit, query, facts)
    return await pages.show(call, "draft", visit, {"id": form.get("id", "")}, {"sent": sent})


async def _read_documents(pages: OfficerPages, query: Form, visit: Visit) -> list[AnyMessage]:
    """Read the documents as the page showed them, from the page process."""
    request = PageRequest(DOCUMENTS, query, visit.viewer, "", pages.service.clock())
    answer = await pages.process.render(request)
    if answer.status == 404:
        raise Refusal(404, "Nothing is recorded for this consignment, or your key may not see its office.")
    if answer.status != 200:
        raise FormFault("draft.counting" if answer.status == 503 else "draft.changed")
    try:
        documents: list[AnyMessage] = msgspec.json.decode(answer.html, type=list[AnyMessage])
    except msgspec.ValidationError as error:
        raise FormFault(str(error)) from None
    if not documents:
        raise FormFault("draft.nothing_chosen")
    return documents


async def _send(service: Service, documents: list[AnyMessage], visit: Visit) -> list[str]:
    """Sign documents, record them, then put them into the outbox; after a kill in between, the next approval puts them there."""
    waiting: list[tuple[str, AnyMessage, bytes, bool]] = []
    folder = ExchangeFolder(service.settings.exchange_dir)
    for document in documents:  # all are checked and signed before the first one is recorded
        name = name_message(document.author, document.message_id)
        recorded = await asyncio.to_thread(_find_recorded, service, name)
        if recorded is None or not folder.find_sent(document.message_id).exists():
            envelope = recorded if recorded else await asyncio.to_thread(_sign, service, folder, document)
            waiting.append((name, document, envelope, recorded is None))
    for name, document, envelope, new in waiting:
        if new:
            await _record(service, envelope, visit)
            logger.info("message approved", message=name, person=visit.person, key=visit.caller.name)
        try:
            await asyncio.to_thread(folder.send, document, envelope)
        except OSError as error:
            raise ServiceFault(
                "the message is recorded, and cannot be put into the outbox", where=str(folder.outbox), got=error.strerror or "",
                todo="make the exchange directory writable for the service, and approve again",
            ) from error  # fmt: skip
    if not waiting:
        raise FormFault("draft.already_sent")
    return [name for name, *_ in waiting]


def _find_recorded(service: Service, name: str) -> bytes | None:
    """Return the envelope of a message of the log; None if it is not recorded."""
    if name not in service.active.state.messages:
        return None
    decoded = map(service.active.entries.messages.decode, service.log.read_events(kinds=("message",)))
    return next((each.envelope.encode() for each in decoded if each.name == name), None)


def _sign(service: Service, folder: ExchangeFolder, document: AnyMessage) -> bytes:
    try:
        return folder.sign(document, to_datetime(service.active.clock()))
    except BadInput as fault:
        raise FormFault(f"{fault.what}; {fault.todo}" if fault.todo else fault.what) from None


async def _record(service: Service, envelope: bytes, visit: Visit) -> None:
    """Record a message in the log with the person who approved it."""
    active = service.active
    active.committer.check()
    message = msgspec.json.decode(envelope, type=Envelope)
    taken = active.intake.record_message(message, active.clock(), visit.person)
    if isinstance(taken, FieldError):
        raise FormFault(format_reason(taken))
    if taken.group is not None:
        await taken.group.wait_until_durable()
