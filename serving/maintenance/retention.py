"""Data retention: removes the content of consignments recorded before a date, or of one consignment, and logs each removal.

Such a consignment keeps its identifier, times, history keys (pseudonyms), score, band and model. So history features and the
hash chain stay valid. Its fields, features and reasons are removed. Outcomes, alerts, cancellations and selections stay.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from consignments.errors import BadInput
from consignments.timestamps import to_datetime, to_us
from features.history.kernels import REMEMBERED_DAYS
from serving.encryption.vault import Vault
from serving.event_log.log import EventLog
from serving.event_log.reader import Progress
from serving.event_log.redactions import count_unredacted, find_redaction_end, list_content
from serving.event_log.verification.chain import require_valid_chain
from serving.process.clock import read_clock_us
from serving.process.settings import Settings
from serving.process.state_directory import StateLock
from serving.state.forgetting import (
    ForgottenList,
    ForgottenRecord,
    RetentionApproval,
    find_end,
    remove_before,
    remove_consignment,
)
from serving.state.published_config import build_key_reader

MARGIN_DAYS = 2
"""Additional days, because client clocks may be ahead and days begin at midnight."""


class RetentionResult(NamedTuple):
    """The result of a removal of content, or of its dry run.

    `up_to` is the last entry recorded before the date, 0 if there is none; `consignments` the number of versions up to it that had
    content; `steps` the number of entries that record the removal; `head` the hash of the last entry, to be stored elsewhere.
    """

    before: datetime
    up_to: int
    consignments: int
    steps: int
    head: str


class ConsignmentErasure(NamedTuple):
    """The result of the removal of one consignment's content, or of its dry run; `versions` is the number that had content."""

    consignment_id: str
    versions: int
    head: str


def forget(
    settings: Settings,
    before: datetime,
    approval: RetentionApproval,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RetentionResult:
    """Remove the content of consignments recorded before a date, or only count it; the service must not be running.

    After an interruption, the next run continues where the last one stopped. Raises `BadInput` if history still needs entries before the
    date, and `ServiceFault` if the state directory is in use, the log is damaged, or the log or the list cannot be written.
    """
    with StateLock(settings.state_dir):
        vault = Vault.load(settings.data_key_file)
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            _require_past(log, before)
            after, up_to = find_redaction_end(log), find_end(log, to_us(before))
            count, steps = count_unredacted(log, after, up_to), 0
            if count and not dry_run:
                record = ForgottenRecord(to_datetime(read_clock_us()), before=before)
                ForgottenList(settings.data_key_file).add([record])
                keys = build_key_reader(settings.state_dir, vault)
                steps = remove_before(log, to_us(before), approval, keys, progress)
                log.wipe()
            return RetentionResult(before, up_to, count, steps, log.head)


def forget_consignment(
    settings: Settings, consignment_id: str, approval: RetentionApproval, *, dry_run: bool = False
) -> ConsignmentErasure:
    """Remove the content of one consignment, whenever it was recorded; the service must not be running.

    Identifier, times, history keys, score, band and model stay, so history and decisions about others do not change. Raises `BadInput` if
    the log has no content of such a consignment, and `ServiceFault` as `forget` does.
    """
    with StateLock(settings.state_dir):
        vault = Vault.load(settings.data_key_file)
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            places = list_content(log, consignment_id)
            if not places:
                raise BadInput(
                    "there is no content of this consignment in the log",
                    where="--consignment",
                    got=repr(consignment_id),
                    todo="check the identifier; content that was deleted before needs nothing",
                )
            if not dry_run:
                record = ForgottenRecord.of_consignment(log, consignment_id, read_clock_us())
                ForgottenList(settings.data_key_file).add([record])
                keys = build_key_reader(settings.state_dir, vault)
                remove_consignment(log, consignment_id, places, approval, keys)
                log.wipe()
            return ConsignmentErasure(consignment_id, len(places), log.head)


def _require_past(log: EventLog, before: datetime) -> None:
    """Check that history no longer needs the content before a date, for example to compute other history keys."""
    latest_us = log.find_latest_arrival_us()
    latest = datetime.now(UTC) if latest_us is None else to_datetime(latest_us)
    limit = (latest - timedelta(days=REMEMBERED_DAYS + MARGIN_DAYS)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    if before > limit:
        raise BadInput(
            "history still needs consignments before this date",
            where="--before",
            got=before.isoformat(),
            expected=f"{limit.date()} or earlier: {REMEMBERED_DAYS + MARGIN_DAYS} days before the latest consignment",
            todo="give an earlier date",
        )
