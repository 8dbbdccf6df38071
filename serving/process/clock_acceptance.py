"""Acceptance of the system clock after a jump: a person confirms that its time is right.

It is a file in the state directory, so it works if the service is running and if it does not start. It is valid only for
some minutes after the accepted time, so it accepts no later jump.
"""

from pathlib import Path

import msgspec

from consignments.errors import ServiceFault
from serving.process.clock import MAX_JUMP_US
from serving.process.state_directory import write_part

FILE_NAME = "clock.accepted"
VALID_US = 2 * MAX_JUMP_US


class ClockAcceptance(msgspec.Struct, frozen=True):
    """The time that was accepted, in microseconds since the epoch."""

    accepted_us: int


def accept_clock(state_dir: Path, now_us: int) -> Path:
    """Write the acceptance of the current time of the system clock, and return its file.

    Raises
    ------
    ServiceFault
        The file cannot be written.
    """
    path = state_dir / FILE_NAME
    try:
        write_part(path, msgspec.json.encode(ClockAcceptance(now_us))).replace(path)
    except OSError as error:
        raise ServiceFault(
            "the acceptance of the clock cannot be written", where=str(path), got=error.strerror or "",
            todo="set NPSRISK_STATE_DIR to the state directory of the service, and run as its user",
        ) from error  # fmt: skip
    return path


def is_clock_accepted(state_dir: Path, now_us: int) -> bool:
    """Check if the time of the system clock was accepted within the last minutes of this clock."""
    try:
        found = msgspec.json.decode((state_dir / FILE_NAME).read_bytes(), type=ClockAcceptance)
    except (OSError, msgspec.MsgspecError):
        return False
    return 0 <= now_us - found.accepted_us <= VALID_US
