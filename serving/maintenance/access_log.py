"""Record of who read personal data by commands: a line of JSON for each, appended before anything is read.

It is a file of its own, because a command may read the log while the service writes it.
"""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from consignments.errors import ServiceFault
from serving.event_log.reader import LogReader
from serving.process.state_directory import PRIVATE_FILE_MODE, flush_file

FILE_NAME = "access.jsonl"


class PersonalAccess(msgspec.Struct, frozen=True, omit_defaults=True):
    """One access to personal data.

    Attributes
    ----------
    at : str
        UTC time, ISO 8601.
    user : str
        User of the operating system.
    sudo_user : str or None
        User who called sudo, if that was used.
    command : str
    log_id : str
    last_sequence : int
        Last entry that was read.
    head : str
        Hash of that entry.
    out : str
        Where the data was written.
    """

    at: str
    user: str
    command: str
    log_id: str
    last_sequence: int
    head: str
    out: str
    sudo_user: str | None = None


def record_access(state_dir: Path, log: LogReader, command: str, out: Path) -> None:
    """Append an access to the record; it is on disk on return.

    Raises
    ------
    ServiceFault
        The record cannot be written; then nothing may be read.
    """
    access = PersonalAccess(
        datetime.now(UTC).isoformat(timespec="seconds"), _get_user(), command, log.log_id, log.last_sequence,
        log.head, str(out.absolute()), os.environ.get("SUDO_USER"),
    )  # fmt: skip
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
