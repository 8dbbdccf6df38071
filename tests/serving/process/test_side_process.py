"""Processes next to the service have a lower priority, are scheduled in its session, and leave Ctrl-C to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.process.side_process import NICENESS, build_command

WORKER = """
import os, sys

def main():
    print(os.getpgid(0), os.getsid(0), os.nice(0), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (tmp_path / "a_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return build_command("a_worker")


def test_it_gives_way_in_the_session_of_its_service_and_in_a_process_group_of_its_own(
    worker: tuple[str, ...],
) -> None:
    with subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        group, session, niceness = map(int, process.stdout.readline().split())
        process.stdin.close()
        assert process.wait(30) == 0
    assert group == process.pid
    assert session == os.getsid(0)
    assert niceness == min(os.nice(0) + NICENESS, 19)


CALLER = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores the signal
process = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
process.stdout.readline()
try:
    print(flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print(process.poll(), flush=True)
    process.stdin.close()
    print(process.wait(30), flush=True)
"""


def test_ctrl_c_reaches_the_service_and_not_the_process(worker: tuple[str, ...]) -> None:
    caller = [sys.executable, "-c", CALLER.format(command=worker)]
    with subprocess.Popen(
        caller, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        still_running, ended = process.stdout.read().split()
        process.wait(30)
    assert (still_running, ended) == ("None", "0")
