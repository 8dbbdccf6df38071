"""The exchange directory as commands use it: drafts, and the messages that come and go (`consignments.exchange.folder_names`)."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from consignments.errors import BadInput, BadSetting, MessageFault, PromotionRefused
from consignments.exchange import documents, folder_names
from consignments.exchange.alerts import name_message
from consignments.files.whole_files import replace_file
from features.indicators.operation_keys import KEY_SUFFIX, OperationKeys
from models.signatures.envelope import Envelope
from models.signatures.key_holders import Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import (
    MAX_MESSAGE_BYTES,
    SignedMessage,
    decode_statement,
    read_signed_message,
    sign_message,
)
from serving.process.settings import Settings

MAX_FILES = 100_000  # maximum number of messages that one call reads


class Refused(NamedTuple):
    """A file that is no acceptable message, and why."""

    path: Path
    reason: str


class ExchangeFolder:
    """The exchange directory of the settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.drafts, self.outbox = path / folder_names.DRAFTS, path / folder_names.OUTBOX
        self.inbox, self.received = path / folder_names.INBOX, path / folder_names.RECEIVED
        self.refused, self.partners_file = path / folder_names.REFUSED, path / folder_names.PARTNERS_FILE

    @classmethod
    def open(cls) -> "ExchangeFolder":
        """Open the directory that the settings name; it need not exist."""
        return cls(Settings.read().exchange_dir)

    def read_keys(self) -> OperationKeys:
        """Read the keys of the operations."""
        return OperationKeys.read_folder(self.path / folder_names.KEYS_FOLDER)

    def get_key_file(self, operation: str) -> Path:
        """Return the file for the key of a new operation."""
        safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in operation)
        return self.path / folder_names.KEYS_FOLDER / f"{safe}{KEY_SUFFIX}"

    def write_draft(self, message: documents.AnyMessage) -> Path | None:
        """Write a draft; return None if there is one of this identifier already, or it was sent."""
        path = self.drafts / f"{message.message_id}{folder_names.MESSAGE_SUFFIX}"
        if path.exists() or self.find_sent(message.message_id).exists():
            return None
        replace_file(path, documents.encode_message(message))
        return path

    def read_draft(self, path: Path) -> documents.AnyMessage:
        """Read a draft."""
        try:
            return documents.decode_message(read_file(path))
        except (ValueError, RecursionError) as error:
            todo = "write it again with npsrisk exchange draft"
            raise BadInput("not a draft of a message", where=str(path), got=str(error), todo=todo) from error

    def sign(self, message: documents.AnyMessage, at: datetime, key: Path | None = None) -> bytes:
        """Check a message again as its receiver will, and sign it with the officer's key or another one."""
        checked = documents.decode_message(documents.encode_message(message))
        documents.check_message(checked, at)
        return sign_message(checked, SigningKey.load(key or self.path / folder_names.OFFICER_KEY))

    def find_sent(self, message_id: str) -> Path:
        """Return the place of a message in the outbox."""
        return self.outbox / f"{message_id}{folder_names.MESSAGE_SUFFIX}"

    def send(self, message: documents.AnyMessage, envelope: bytes) -> Path:
        """Write a signed message to the outbox, and remove its draft."""
        path = self.find_sent(message.message_id)
        replace_file(path, envelope)
        (self.drafts / path.name).unlink(missing_ok=True)
        return path

    def read_messages(self, folder: Path, now: datetime) -> Iterator[tuple[Path, SignedMessage | Refused]]:
        """Read the messages of a folder, each checked."""
        partners, keys = Partners.read(self.partners_file), self.read_keys()
        paths = sorted(folder.glob(f"*{folder_names.MESSAGE_SUFFIX}"))
        if len(paths) > MAX_FILES:
            got, expected = f"{len(paths):,}", f"at most {MAX_FILES:,}"
            raise BadInput("too many messages", where=str(folder), got=got, expected=expected)
        for path in paths:
            try:
                found = read_signed_message(read_file(path), partners, now, path.name)
                keys.require(getattr(found.message, "indicators", ()), found.message.operation, path.name)
                yield path, found
            except (MessageFault, BadInput) as fault:
                yield path, Refused(path, str(fault))

    def read_withdrawn(self) -> set[str]:
        """Read the names of the messages whose withdrawal was accepted before; `BadInput` if a file is no message."""
        names = set()
        for path in sorted(self.received.glob(f"*{folder_names.MESSAGE_SUFFIX}")):
            try:
                message = decode_statement(Envelope.read(read_file(path)).payload)
            except (PromotionRefused, ValueError, RecursionError) as error:
                todo = "restore it from a copy, or remove it"
                raise BadInput("not a message", where=str(path), todo=todo) from error
            if isinstance(message, documents.Withdrawal):
                names.add(name_message(message.author, message.about))
        return names

    def keep(self, path: Path, found: SignedMessage | Refused) -> None:
        """Move a message out of the inbox, to those received or those refused; a file of another folder stays there."""
        own = path.parent.resolve() == self.inbox.resolve()
        if isinstance(found, Refused):
            replace_file(self.refused / f"{path.name}.txt", f"{found.reason}\n".encode())
            if own:
                path.replace(self.refused / path.name)
            return
        name = f"{found.message.author}_{found.message.message_id}{folder_names.MESSAGE_SUFFIX}"
        replace_file(self.received / name, found.envelope)
        if own:
            path.unlink()


def get_administration() -> str:
    """Return the name of the own administration."""
    name = Settings.read().administration
    if name is None:
        raise BadSetting(
            "the own administration has no name",
            where="NPSRISK_ADMINISTRATION",
            expected="the name under which the partners know it, for example XA",
        )
    return name


def read_file(path: Path) -> bytes:
    """Read a file of at most the size of a message."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MESSAGE_BYTES + 1)
    except OSError as error:
        got = error.strerror or str(error)
        raise BadInput("the file cannot be read", where=str(path), got=got) from error
    if len(data) > MAX_MESSAGE_BYTES:
        expected = f"at most {MAX_MESSAGE_BYTES:,} bytes"
        raise BadInput("the file is too large for a message", where=str(path), expected=expected)
    return data
