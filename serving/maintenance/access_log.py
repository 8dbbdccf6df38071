"""Record of who read personal data, by commands and on pages: a line of JSON for each, appended before anything is read.

It is a file of its own, because a command may read the log while the service writes it.
"""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from consignments.errors import ServiceFault
from consignments.files.whole_files import PRIVATE_FILE_MODE, flush_file
from serving.event_log.reader import LogReader

FILE_NAME = "access.jsonl"


class PersonalAccess(msgspec.Struct, frozen=True, omit_defaults=True):
    """One access to personal data, at an ISO 8601 time in UTC, by a user of the operating system (who used sudo as `sudo_user`).

    `last_sequence` is the last entry that was read, `head` its hash. `out` is where the data was written: `page` if it was shown, to the
    person of an API key.
    """

    at: str
    user: str
    command: str
    log_id: str
    last_sequence: int
    head: str
    out: str
    sudo_user: str | None = None
    key: str | None = None
    person: str | None = None
    consignment_id: str | None = None


def record_access(state_dir: Path, log: LogReader, command: str, out: Path) -> None:
    """Append an access to the record; it is on disk on return. After a `ServiceFault` nothing may be read."""
    access = PersonalAccess(
        datetime.now(UTC).isoformat(timespec="seconds"), _get_user(), command, log.log_id, log.last_sequence,
        log.head, str(out.absolute()), os.environ.get("SUDO_USER"),
    )  # fmt: skip
    _append(state_dir, access)


def record_page_access(state_dir: Path, log: LogReader, key: str, person: str, consignment_id: str) -> None:
    """Append the access of a person to the personal data that a page shows, as `record_access` does."""
    access = PersonalAccess(
        datetime.now(UTC).isoformat(timespec="seconds"), _get_user(), "page", log.log_id, log.last_sequence, log.head,
        "page", key=key, person=person, consignment_id=consignment_id,
    )  # fmt: skip
    _append(state_dir, access)


def _append(state_dir: Path, access: PersonalAccess) -> None:
    path = state_dir / FILE_NAME
    try:
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE_MODE), "ab") as file:  # noqa: PTH123
            file.write(msgspec.json.encode(access) + b"\n")
            flush_file(file)
    except OSError as error:
        raise ServiceFault(
            "the access to personal data cannot be recorded", where=str(path), got=error.strerror or "",
            todo="run as the user of the service, with its NPSRISK_STATE_DIR; nothing was read",
        ) from error  # fmt: skip


def _get_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return str(os.getuid())
