"""Correction of the times of entries that were recorded by a clock that was ahead; the correction is an entry of the log.

Without it, the service's clock stands still until the system clock reaches those times, and history counts from them.
"""

from typing import NamedTuple

import msgspec

from consignments.errors import BadInput
from features.history.pseudonyms import load_data_key
from serving.encryption.vault import Vault
from serving.event_log.clock_corrections import ClockCorrection
from serving.event_log.events import ClockCorrectionEvent
from serving.event_log.log import EventLog
from serving.event_log.redactions import find_first_recorded
from serving.event_log.verification.chain import require_valid_chain
from serving.maintenance.retention import RetentionApproval
from serving.process.clock import MAX_JUMP_US
from serving.process.settings import Settings
from serving.process.state_directory import StateLock


class CorrectionResult(NamedTuple):
    """The result of a correction, or of its dry run.

    Attributes
    ----------
    first, last : int
        Sequence numbers of the first and the last entry whose times are corrected.
    clock_us : int
        Time that replaces later ones.
    head : str
        Hash of the last entry of the log.
    """

    first: int
    last: int
    clock_us: int
    head: str


def correct_clock(
    settings: Settings, approval: RetentionApproval, now_us: int, *, dry_run: bool = False
) -> CorrectionResult:
    """Correct the times of all entries from the first one that is in the future; the service must not be running.

    Parameters
    ----------
    settings : Settings
    approval : RetentionApproval
    now_us : int
        Current time, which must be right.
    dry_run : bool
        Only find the entries.

    Raises
    ------
    BadInput
        No entry is in the future.
    ServiceFault
        The state directory is in use by another process, or the log is damaged or cannot be written.
    """
    with StateLock(settings.state_dir):
        vault = Vault.load(settings.period_keys_dir, load_data_key(settings.data_key_file))
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            corrected = max((each.up_to for each in log.corrections.all), default=0)
            first = find_first_recorded(log, now_us + MAX_JUMP_US, corrected)
            if first is None:
                raise BadInput(
                    "no entry of the log was recorded later than now",
                    where="npsrisk clock correct",
                    got=f"{log.last_sequence:,} entries",
                    todo="nothing needs a correction; check that the system clock is right",
                )
            last = log.last_sequence
            if not dry_run:
                correction = ClockCorrection(first - 1, last, now_us, *approval)
                log.append(
                    [ClockCorrectionEvent(last + 1, now_us, now_us, msgspec.msgpack.encode(correction))]
                )
            return CorrectionResult(first, last, now_us, log.head)
