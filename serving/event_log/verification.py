"""Verification of the log's hash chain: of a range of entries, and at a start of the service of all entries that the start reads.

    no snapshot                      the chain of the whole log is checked
    a snapshot of entry 200,000      the chain is checked from the hash that the snapshot holds of this entry

Of many entries, another process checks the first ones while this one rebuilds the state, which takes about a third of the time of the whole
check. Then this one checks the last ones.
"""

import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from consignments.errors import NpsriskError, ServiceFault
from serving.event_log.hash_chain import ChainVerifier, Redaction, VerificationResult
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import read_redactions

HEAD_PATTERN = "[0-9a-f]{64}"
MAX_INLINE_ENTRIES = 20_000
"""Maximum number of entries that are checked without another process, within some tenths of a second."""
SHARE_OF_OTHER = 0.7
"""Share of many entries that the other process checks."""
COMMAND = [sys.executable, "-P", "-m", "serving.event_log.verification"]


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
    return walk.get_result(broken_at=walk.entries + 1 if walk.entries < until else None)


def _read_removals(log: LogReader) -> list[Redaction]:
    """Read the recorded removals of content; none if one of them was changed. The walk through the chain then stops at it, or at an entry whose removal is not known."""
    try:
        return read_redactions(log)
    except msgspec.MsgspecError:
        return []


def require_valid_chain(log: LogReader, after: int = 0, until: int | None = None) -> None:
    """Verify the hash chain of a range of entries, as `verify_chain` does; raise `ServiceFault` if it is broken."""
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


class StartCheck:
    """The check of the chain during a start, of the entries after `after`; `url` is that of the log's database."""

    def __init__(self, log: LogReader, url: str, after: int) -> None:
        self._log, self._url = log, url
        self._until = log.last_sequence
        self._after = min(after, self._until)
        self._middle = self._after + int(SHARE_OF_OTHER * (self._until - self._after))
        self._finished = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._until - self._after > MAX_INLINE_ENTRIES:
            self._process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._process.stdin is not None
            with suppress(OSError):  # the process has ended, which `finish` reports
                self._process.stdin.write(msgspec.json.encode((self._url, self._after, self._middle)))
                self._process.stdin.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Verify the chain before any other fault of an entry is reported, and end the other process."""
        try:
            if isinstance(error, Exception) and not self._finished:
                self.finish(0)
        finally:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                assert self._process.stdout is not None
                self._process.stdout.close()

    def finish(self, after: int) -> None:
        """Wait for the result, and check the entries from which the state was in fact built."""
        self._finished = True
        if after < self._after:
            require_valid_chain(self._log, after, self._after)
        if self._process is None:
            require_valid_chain(self._log, self._after, self._until)
            return
        require_valid_chain(self._log, self._middle, self._until)
        assert self._process.stdout is not None
        fault = self._process.stdout.read().decode().strip()
        if self._process.wait():
            raise ServiceFault(fault or "the hash chain of the event log could not be checked: start again")


def main() -> None:
    """Check the chain of a range of entries, which standard input names, and print what is wrong with it."""
    url, after, until = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[str, int, int])
    try:
        with LogReader.open_to_read(url) as log:
            require_valid_chain(log, after, until)
    except NpsriskError as error:
        print(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
