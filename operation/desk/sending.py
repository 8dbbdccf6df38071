"""Messages to partners that an officer approves: signed with the officer's key of the installation, recorded, and put into the outbox."""

import asyncio
from pathlib import Path

import msgspec

from consignments.errors import BadInput, ServiceFault
from consignments.exchange.checks import check_message
from consignments.exchange.documents import AnyMessage, encode_message
from consignments.exchange.folder import MESSAGE_SUFFIX, OFFICER_KEY, OUTBOX
from consignments.files.whole_files import replace_file
from consignments.timestamps import to_datetime
from models.signatures.envelope import Envelope
from models.signatures.keys import SigningKey
from models.signatures.signed_message import sign_message
from operation.desk.forms import Form, FormFault
from operation.desk.messages import DOCUMENTS, PageRequest
from operation.desk.pages import OfficerPages, Visit
from serving.event_log.events import MessageEvent
from serving.http.asgi import HttpCall
from serving.http.problems import Refusal
from serving.http.protocol.records import format_reason
from serving.process.logging import logger
from serving.scoring.intake import FieldError
from serving.service import Service

FIELDS = frozenset(
    ("id", "digest", "text", "operation", "handling", "valid_days", "send_seizure", "send_warning")
)


class SendEndpoint:
    """The answer to the form of a draft: its messages are signed and sent, once.

    Parameters
    ----------
    pages : OfficerPages
    service : Service
    """

    def __init__(self, pages: OfficerPages, service: Service) -> None:
        self._pages, self._active, self._log = pages, service.active, service.log
        self._folder = service.settings.exchange_dir

    async def __call__(self, call: HttpCall, visit: Visit) -> int:
        """Send the messages that the officer approves, and show the page again."""
        form = await self._pages.read_own_form(call, visit)
        visit.caller.require("act")
        query = {name: value for name, value in form.items() if name in FIELDS}
        shown = {"id": form.get("id", "")}
        try:
            sent = await self._send(await self._read_documents(query, visit), visit)
        except FormFault as fault:
            status = 409 if str(fault) == "draft.changed" else 422
            return await self._pages.show(
                call, "draft", visit, query, {"fault": str(fault), "status": status}
            )
        return await self._pages.show(call, "draft", visit, shown, {"sent": sent})

    async def _read_documents(self, query: Form, visit: Visit) -> list[AnyMessage]:
        """Read the documents as the page showed them, from the page process."""
        request = PageRequest(DOCUMENTS, query, visit.to_viewer(), "", self._active.clock())
        answer = await self._pages.process.render(request)
        if answer.status == 404:
            raise Refusal(
                404, "Nothing is recorded for this consignment, or your key may not see its office."
            )
        if answer.status == 503:
            raise FormFault("draft.counting")
        if answer.status != 200:
            raise FormFault("draft.changed")
        try:
            documents: list[AnyMessage] = msgspec.json.decode(answer.html, type=list[AnyMessage])
        except msgspec.ValidationError as error:
            raise FormFault(str(error)) from None
        if not documents:
            raise FormFault("draft.nothing_chosen")
        return documents

    async def _send(self, documents: list[AnyMessage], visit: Visit) -> list[str]:
        """Sign the documents, record them, and put them into the outbox.

        A document is first in the log and then in the outbox. If the service was killed in between, the next approval puts the
        recorded message there.
        """
        waiting = []
        for document in documents:  # all are checked and signed before the first one is recorded
            name = f"{document.author}/{document.message_id}"
            path = self._folder / OUTBOX / f"{document.message_id}{MESSAGE_SUFFIX}"
            recorded = await asyncio.to_thread(self._find_recorded, name)
            if recorded is None or not path.exists():
                signed = await asyncio.to_thread(self._sign, document) if recorded is None else recorded
                waiting.append((name, path, signed, recorded is None))
        for name, path, envelope, new in waiting:
            if new:
                await self._record(envelope, visit)
                logger.info("message approved", message=name, person=visit.person, key=visit.caller.name)
            await asyncio.to_thread(_write, path, envelope)
        if not waiting:
            raise FormFault("draft.already_sent")
        return [name for name, *_ in waiting]

    def _find_recorded(self, name: str) -> bytes | None:
        """Return the envelope of a message of the log; None if it is not recorded."""
        if name not in self._active.state.messages:
            return None
        entries = self._active.entries
        for event in self._log.read_entries_of(MessageEvent):
            logged = entries.messages.decode(event)
            if logged.name == name:
                return logged.envelope.encode()
        return None

    def _sign(self, document: AnyMessage) -> bytes:
        """Check a document again as its receiver will, and sign it."""
        try:
            checked: AnyMessage = msgspec.json.decode(encode_message(document), type=AnyMessage)
            check_message(checked, to_datetime(self._active.clock()))
            return sign_message(checked, SigningKey.load(self._folder / OFFICER_KEY))
        except BadInput as fault:
            raise FormFault(f"{fault.what}; {fault.todo}" if fault.todo else fault.what) from None

    async def _record(self, envelope: bytes, visit: Visit) -> None:
        """Record a message in the log with the person who approved it."""
        active = self._active
        active.committer.check()
        taken = active.intake.record_message(
            msgspec.json.decode(envelope, type=Envelope), active.clock(), visit.person
        )
        if isinstance(taken, FieldError):
            raise FormFault(format_reason(taken))
        if taken.group is not None:
            await taken.group.wait_until_durable()


def _write(path: Path, envelope: bytes) -> None:
    try:
        replace_file(path, envelope)
    except OSError as error:
        raise ServiceFault(
            "the message is recorded, and cannot be put into the outbox", where=str(path), got=error.strerror or "",
            todo="make the exchange directory writable for the service, and approve again",
        ) from error  # fmt: skip
