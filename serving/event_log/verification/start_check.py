"""Check of the hash chain at a start of the service: of all entries that the start reads, before anything is written.

    no snapshot                      the chain of the whole log is checked
    a snapshot of entry 200,000      the chain is checked from the hash that the snapshot holds of this entry

Many entries are checked by another process, because the check takes as long as the rebuild of the state, and both can run
at the same time.
"""

import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec

from consignments.errors import NpsriskError, ServiceFault
from serving.event_log.hash_chain import VerificationResult
from serving.event_log.reader import LogReader
from serving.event_log.verification.chain import refuse_broken_chain, require_valid_chain, verify_chain

MAX_INLINE_ENTRIES = 20_000
"""Maximum number of entries that are checked without another process, within some tenths of a second."""
COMMAND = [sys.executable, "-P", "-m", "serving.event_log.verification.start_check"]


class ChainCheck:
    """The check of the chain during a start."""

    def __init__(self, log: LogReader, url: str, after: int) -> None:
        self._log, self._url = log, url
        self._until = log.last_sequence
        self._after = min(after, self._until)
        self._finished = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._until - self._after > MAX_INLINE_ENTRIES:
            task = msgspec.json.encode((self._url, self._after, self._until))
            self._process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._process.stdin is not None
            with suppress(OSError):  # the process has ended, which `finish` reports
                self._process.stdin.write(task)
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
            self._end()

    def finish(self, after: int) -> None:
        """Wait for the result, and check the entries from which the state was in fact built."""
        self._finished = True
        if after < self._after:
            require_valid_chain(self._log, after, self._after)
        if self._process is None:
            require_valid_chain(self._log, self._after, self._until)
        else:
            self._read_result(self._process)

    def _read_result(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        answer = process.stdout.read()
        try:
            result = msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.DecodeError:
            raise ServiceFault(
                "the hash chain of the event log could not be checked",
                got=f"exit code {process.wait()} of the checking process",
                todo="start again; if it happens again, run npsrisk verify-log",
            ) from None
        if "fault" in result:
            raise ServiceFault("the hash chain of the event log could not be checked", got=result["fault"])
        refuse_broken_chain(VerificationResult(**result))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def run_task(task: bytes) -> dict[str, Any]:
    """Check the chain of the range of a task, and return the fields of the result, or the fault."""
    url, after, until = msgspec.json.decode(task, type=tuple[str, int, int])
    try:
        with LogReader.open_to_read(url) as log:
            return verify_chain(log, after=after, until=until)._asdict()
    except NpsriskError as error:
        return {"fault": str(error)}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run_task(sys.stdin.buffer.read())))
