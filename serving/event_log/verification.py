"""Verification of the log's hash chain from the first entry to the last."""

from serving.event_log.event_rows import EventRow
from serving.event_log.hash_chain import ChainVerifier, VerificationResult
from serving.event_log.key_erasures import read_key_erasures
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import read_redactions
from serving.event_log.tables import COLUMNS, EVENTS

HEAD_PATTERN = "[0-9a-f]{64}"


def verify_chain(log: LogReader, kept: str = "", progress: Progress | None = None) -> VerificationResult:
    """Verify the hash chain from the first entry to the last one at the time when the log was opened.

    Parameters
    ----------
    log : LogReader
    kept : str, optional
        Hash of an entry that was stored elsewhere, hexadecimal.
    progress : callable, optional
    """
    erased = {erasure.prefix for erasure in read_key_erasures(log)}
    walk = ChainVerifier(log.origin, read_redactions(log), kept, erased)
    columns = [*COLUMNS, EVENTS.c.previous_hash, EVENTS.c.hash]
    for rows in log.queries.fetch_pages(columns, 0, log.last_sequence):
        for *values, stored, here in rows:
            row = EventRow._make(values)
            if not walk.check_row(row, stored, here):
                return walk.get_result(broken_at=row.sequence)
        if progress is not None:
            progress("chain", walk.entries, log.last_sequence)
    return walk.get_result()
