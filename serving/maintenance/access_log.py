"""Record of who read personal data, before it is read: a line of JSON of a command, an entry of the log of a page.

A command may read the log while the service writes it, so its record is a file, `access.jsonl`. The service takes its lines into the
hash chain.
"""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from consignments.errors import explain_failure
from consignments.files.whole_files import PRIVATE_FILE_MODE, flush_file
from serving.event_log.events import Event
from serving.event_log.reader import LogReader
from serving.process.logging import logger
from serving.scoring.active_model import ActiveModel
from serving.service import Service

FILE_NAME = "access.jsonl"


class PersonalAccess(msgspec.Struct, frozen=True, omit_defaults=True):
    """One access to personal data, at an ISO 8601 time in UTC.

    Of a command: the user of the operating system (who used sudo as `sudo_user`), the last entry that was read with its hash, and where
    the data was written. Of a page: the person of an API key, and the consignment if it was one.
    """

    at: str
    command: str
    user: str | None = None
    log_id: str | None = None
    last_sequence: int | None = None
    head: str | None = None
    out: str | None = None
    sudo_user: str | None = None
    key: str | None = None
    person: str | None = None
    consignment_id: str | None = None


def record_access(state_dir: Path, log: LogReader, command: str, out: Path) -> None:
    """Append the access of a command to the file; it is on disk on return. After a `FileFault` nothing may be read."""
    access = PersonalAccess(
        _format_now(), command, _get_user(), log.log_id, log.last_sequence, log.head, str(out.absolute()),
        os.environ.get("SUDO_USER"),
    )  # fmt: skip
    path = state_dir / FILE_NAME
    todo = "run as the user of the service, with its NPSRISK_STATE_DIR; nothing was read"
    with (
        explain_failure("the access to personal data cannot be recorded", path, todo),
        open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE_MODE), "ab") as file,  # noqa: PTH123
    ):
        file.write(msgspec.json.encode(access) + b"\n")
        flush_file(file)


async def record_look(active: ActiveModel, key: str, person: str, page: str, name: str | None) -> None:
    """Record in the log that a person looks at the personal data of a page; it is on disk on return."""
    access = PersonalAccess(_format_now(), f"page {page}", key=key, person=person, consignment_id=name)
    active.committer.check()
    await active.record_maintenance("access", access).wait_until_durable()


class AccessIntake:
    """The intake of the lines of the file into the log; a line that the log has is left out."""

    def __init__(self, service: Service) -> None:
        self._service, self._path = service, service.settings.state_dir / FILE_NAME
        self._size = 0
        self._known: set[PersonalAccess] | None = None

    def refresh(self) -> bool:
        """Record the new lines of the file, and return whether there are any."""
        service = self._service
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._size or not service.role.is_active or service.committer.fault is not None:
            return False
        if self._known is None:
            self._known = {decode_access(event) for event in service.log.read_events(kinds=("access",))}
        lines = self._path.read_bytes().splitlines(keepends=True)
        found = [_read_line(line) for line in lines if line.endswith(b"\n")]
        new = [each for each in dict.fromkeys(found) if each is not None and each not in self._known]
        for access in new:
            service.committer.check()
            service.active.record_maintenance("access", access)
            self._known.add(access)
        self._size = size
        return bool(new)


def decode_access(event: Event) -> PersonalAccess:
    """Decode an entry."""
    return msgspec.msgpack.decode(event.plain, type=PersonalAccess)


def _read_line(line: bytes) -> PersonalAccess | None:
    try:
        return msgspec.json.decode(line, type=PersonalAccess)
    except msgspec.DecodeError:
        logger.error("a line of access.jsonl cannot be read")
        return None


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _get_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return str(os.getuid())
