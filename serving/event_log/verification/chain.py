"""Verification of the log's hash chain from the first entry to the last."""

import msgspec

from consignments.errors import ServiceFault
from serving.event_log.hash_chain import ChainVerifier, Redaction, VerificationResult
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import read_redactions

HEAD_PATTERN = "[0-9a-f]{64}"


def verify_chain(
    log: LogReader, kept: str = "", progress: Progress | None = None, after: int = 0, until: int | None = None
) -> VerificationResult:
    """Verify the hash chain of a range of entries; of the whole log as it was when it was opened, by default."""
    until = log.last_sequence if until is None else until
    removals = _read_removals(log)
    after = min([after, *(removal.after for removal in removals if removal.up_to > after)])
    before = log.read_hash(after)
    if before is None:
        return VerificationResult(after - 1, after, "")
    walk = ChainVerifier(before, removals, kept, after)
    for rows, hashes in log.read_hashed_rows(after, until):
        broken_at = walk.check_rows(rows, hashes)
        if broken_at is not None:
            return walk.get_result(broken_at=broken_at)
        if progress is not None:
            progress("chain", walk.entries, until)
    if walk.entries < until:
        return walk.get_result(broken_at=walk.entries + 1)
    return walk.get_result()


def _read_removals(log: LogReader) -> list[Redaction]:
    """Read the recorded removals of content; none if one of them was changed.

    The walk through the chain then stops at it, or at an entry whose removal is not known.
    """
    try:
        return read_redactions(log)
    except msgspec.MsgspecError:
        return []


def require_valid_chain(log: LogReader, after: int = 0, until: int | None = None) -> None:
    """Verify the hash chain of a range of entries, as `verify_chain` does."""
    refuse_broken_chain(verify_chain(log, after=after, until=until))


def refuse_broken_chain(result: VerificationResult) -> None:
    """Raise `ServiceFault` if the chain is broken."""
    if result.broken_at is not None:
        raise ServiceFault(
            "the event log is damaged: the hash chain is broken",
            where=f"log entry {result.broken_at}",
            got=result.describe_fault(),
            expected="an unchanged log",
            todo="nothing was written; run npsrisk verify-log, then restore the log from its backup (npsrisk restore)",
        )
