"""Accepted messages put to use: they change an alert table, or are sent to a service."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from consignments.errors import BadInput, ServiceFault
from consignments.exchange.alerts import list_alert_changes, name_message
from consignments.exchange.documents import AnyMessage, Withdrawal
from consignments.records import Alert
from consignments.tables import build_frame, read_table, to_records, write_table
from models.signatures.signed_message import SignedMessage
from operation.exchange.folder import Refused

API_KEY_VARIABLE = "NPSRISK_API_KEY"
TIMEOUT_SECONDS = 30.0
REFUSED_STATUSES = (400, 413, 422)  # statuses that concern the message and not the service


class AlertTable:
    """An alert table that messages change; columns that an alert does not have would be lost, so nothing is written then."""

    def __init__(self, path: Path) -> None:
        self._path, self._changed = path, not path.exists()
        self._alerts: dict[str, Alert] = {}
        self._further: list[str] = []
        self.withdrawn: set[str] = set()
        if path.exists():
            frame = read_table(path, Alert, strict=True).frame
            self._alerts = {alert.alert_id: alert for alert in to_records(frame, Alert)}
            self._further = sorted(set(frame.columns) - set(Alert.__struct_fields__))

    def apply(self, message: AnyMessage, received_at: datetime, administration: str | None) -> int:
        """Apply a message that an administration received; return how many alerts changed."""
        changes = list_alert_changes(
            message, received_at, self._alerts.get, withdrawn=self.withdrawn, administration=administration
        )
        if isinstance(message, Withdrawal):
            self.withdrawn.add(name_message(message.author, message.about))
        self._changed |= bool(changes)
        self._alerts.update((alert.alert_id, alert) for alert in changes)
        return len(changes)

    def write(self) -> None:
        """Write the table, if it does not exist or an alert changed."""
        if not self._changed:
            return
        if self._further:
            raise BadInput(
                "messages cannot change a table with further columns",
                where=str(self._path),
                got=", ".join(self._further),
                expected="an alert table of your own",
                todo="use --service for the alerts of a service, or name another table",
            )
        write_table(build_frame(list(self._alerts.values()), Alert), self._path)


def post_messages(service: str, accepted: Iterable[tuple[Path, SignedMessage]]) -> list[Refused]:
    """Send messages to a service; return those that it refuses."""
    if urlsplit(service).scheme not in ("http", "https"):
        what, expected = "not the address of a service", "http://HOST:PORT"
        raise BadInput(what, where="--service", got=service, expected=expected)
    refused = []
    for path, each in accepted:
        reason = _post(f"{service.rstrip('/')}/v1/messages", each.envelope)
        if reason is not None:
            refused.append(Refused(path, reason))
    return refused


def _post(url: str, envelope: bytes) -> str | None:
    headers = {"content-type": "application/json"}
    if api_key := os.environ.get(API_KEY_VARIABLE):
        headers["authorization"] = f"Bearer {api_key}"
    request = urllib.request.Request(url, envelope, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        try:
            detail = str(json.loads(error.read(10_000)).get("detail", error.reason))
        except (ValueError, AttributeError):
            detail = str(error.reason)
        if error.code in REFUSED_STATUSES:
            return detail
        raise ServiceFault(
            "the service does not accept messages", where=url, got=f"status {error.code}: {detail}",
            todo=f"check its state and the key in {API_KEY_VARIABLE}",
        ) from error  # fmt: skip
    except OSError as error:
        raise ServiceFault("the service cannot be reached", where=url, got=str(error)) from error
