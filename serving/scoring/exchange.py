"""Messages of partners in the service: whose are accepted, and what is recorded when one arrives."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from consignments.exchange.alerts import list_alert_changes
from consignments.exchange.documents import Withdrawal, get_kind
from consignments.exchange.folder import KEYS_FOLDER, PARTNERS_FILE
from consignments.records import Alert
from consignments.timestamps import to_datetime
from features.indicators.operation_keys import KEY_SUFFIX, OperationKeys
from models.signatures.envelope import Envelope
from models.signatures.key_holders import Partners
from models.signatures.signed_message import read_signed_message
from serving.event_log.event_codec import LoggedMessage
from serving.process.state_directory import FileStamp, get_file_stamp
from serving.state.state import State


class ExchangeMembers:
    """The partners and operation keys of the exchange directory, read again when they change; removed keys stay until the next start."""

    def __init__(self, folder: Path, administration: str | None) -> None:
        self.administration = administration
        self._partners_file, self._keys_folder = folder / PARTNERS_FILE, folder / KEYS_FOLDER
        self.partners, self.keys = Partners(), OperationKeys()
        self._seen: dict[Path, FileStamp] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the files again if any changed, and return whether one did."""
        files = [self._partners_file, *sorted(self._keys_folder.glob(f"*{KEY_SUFFIX}"))]
        stamps = {path: get_file_stamp(path) for path in files if path.exists()}
        if stamps == self._seen:
            return False
        partners, keys = Partners.read(self._partners_file), OperationKeys.read_folder(self._keys_folder)
        self.partners, self._seen = partners, stamps
        self.keys.update(keys)
        return True


class AcceptedMessage(NamedTuple):
    """A checked message, as the log keeps it, with the alerts that it changes."""

    logged: LoggedMessage
    alerts: list[Alert]


def accept_message(
    envelope: Envelope, members: ExchangeMembers, state: State, now_us: int
) -> AcceptedMessage:
    """Check a message that a client sent, and determine which alerts it changes; raise `MessageFault` if it is not acceptable."""
    moment = to_datetime(now_us)
    message, canonical = read_signed_message(msgspec.json.encode(envelope), members.partners, moment)
    members.keys.require(getattr(message, "indicators", ()), message.operation)
    logged = LoggedMessage(
        message.message_id,
        message.author,
        get_kind(message),
        message.issued_at,
        canonical.decode(),
        message.about if isinstance(message, Withdrawal) else None,
    )
    changes = list_alert_changes(
        message,
        moment,
        state.alerts.find,
        withdrawn=state.withdrawn_messages,
        administration=members.administration,
    )
    return AcceptedMessage(logged, changes)
