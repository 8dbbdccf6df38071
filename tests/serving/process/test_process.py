"""One process at a time on one state directory, and stamps of its files."""

import errno
import fcntl
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consignments.errors import FileFault
from serving.process.logging import MAX_LINES_PER_SECOND, MAX_QUEUED_LINES, QueuedStream, RateLimitedLogger
from serving.process.side_process import NICENESS, build_command
from serving.process.state_directory import lock_state


def test_a_disk_without_locks_is_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: object, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = "the state directory cannot be locked; got No locks available"
    with pytest.raises(FileFault, match=told), lock_state(tmp_path):
        pass


def test_so_many_lines_a_second_are_written_and_the_next_tells_how_many_were_not() -> None:
    now = [10.0]
    log = RateLimitedLogger(clock=lambda: now[0])
    with capture_logs() as written:
        for number in range(MAX_LINES_PER_SECOND + 30):
            log.write("refused", is_error=False, number=number)
        assert len(written) == MAX_LINES_PER_SECOND
        now[0] = 11.0
        for number in (-1, -2):
            log.write("refused", is_error=True, number=number)
    assert [(line["log_level"], line.get("left_out")) for line in written[-3:]] == [
        ("info", None), ("error", 30), ("error", None),
    ]  # fmt: skip


class Pipe(io.StringIO):
    """What is written goes into a pipe, and waits where that is full."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.writer = os.pipe()

    def write(self, text: str) -> int:
        return os.write(self.writer, text.encode())


def test_lines_are_written_whole_and_in_their_order_and_nobody_waits_for_a_reader_that_hangs() -> None:
    stream, pipe = io.StringIO(), Pipe()
    log = QueuedStream(stream)
    for number in range(100):
        print("line", number, file=log, flush=True)
    log.close()
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(100)]
    log = QueuedStream(pipe)
    for number in range(2 * MAX_QUEUED_LINES):
        print("x" * 200, number, file=log, flush=True)
    assert os.read(pipe.reader, 65_536).startswith(b"x" * 200 + b" 0\n")
    os.close(pipe.reader)
    log._thread.join(10)
    assert not log._thread.is_alive()
    os.close(pipe.writer)


WORKER = """
import os, sys

def main():
    print(os.getpgid(0), os.getsid(0), os.nice(0), flush=True)
    sys.stdin.read()
"""
CALLER = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores the signal
process = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
told = process.stdout.readline().decode().strip()
try:
    print(process.pid, told, flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print(process.poll(), flush=True)
    process.stdin.close()
    print(process.wait(30), flush=True)
"""


def test_a_process_gives_way_in_the_session_of_its_service_and_ctrl_c_reaches_the_service_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    caller = [sys.executable, "-c", CALLER.format(command=build_command("a_worker"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(caller, **pipes, text=True, start_new_session=True) as process:
        worker, group, session, niceness = map(int, process.stdout.readline().split())
        assert (group, session) == (worker, process.pid)
        assert niceness == min(os.nice(0) + NICENESS, 19)
        os.killpg(process.pid, signal.SIGINT)
        still_running, ended = process.stdout.read().split()
        process.wait(30)
    assert (still_running, ended) == ("None", "0")
