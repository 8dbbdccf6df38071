"""Messages of partners in the service: whose are accepted, and what is recorded when one arrives."""

from pathlib import Path

import msgspec

from consignments.exchange.alerts import list_alert_changes
from consignments.exchange.documents import Withdrawal, get_kind
from consignments.exchange.folder_names import KEYS_FOLDER, PARTNERS_FILE
from consignments.records import Alert
from consignments.timestamps import to_datetime
from features.indicators.operation_keys import KEY_SUFFIX, OperationKeys
from models.signatures.envelope import Envelope
from models.signatures.key_holders import Partners
from models.signatures.signed_message import read_signed_message
from serving.event_log.event_codec import LoggedMessage
from serving.process.watched_files import WatchedFiles
from serving.state.state import State


class ExchangeMembers:
    """The partners and operation keys of the exchange directory, read again when they change; removed keys stay until the next start."""

    def __init__(self, folder: Path, administration: str | None) -> None:
        self.administration, self.keys = administration, OperationKeys()
        partners, keys = folder / PARTNERS_FILE, folder / KEYS_FOLDER

        def read() -> Partners:
            found = Partners.read(partners)
            self.keys.update(OperationKeys.read_folder(keys))
            return found

        self._files = WatchedFiles(lambda: [partners, *sorted(keys.glob(f"*{KEY_SUFFIX}"))], read)
        self.refresh = self._files.refresh

    @property
    def partners(self) -> Partners:
        """Return the partners."""
        return self._files.content


def accept_message(
    envelope: Envelope, members: ExchangeMembers, state: State, now_us: int
) -> tuple[LoggedMessage, list[Alert]]:
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
    return logged, changes
