"""Other processes give what this one would, and do not outlive it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest

from consignments.errors import ServiceFault
from consignments.workers import WorkerPool, explain_lost_process

POOL = """
import time
from consignments.workers import MIN_PARALLEL_ROWS, WorkerPool

def same(number):
    return number

if __name__ == "__main__":
    with WorkerPool(2, MIN_PARALLEL_ROWS) as workers:
        print(*workers.map(same, range(8)), flush=True)
        time.sleep(600)
"""


def test_the_other_processes_end_when_this_one_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as killed:
        assert killed.stdout.readline().split() == [b"%d" % number for number in range(8)]
        killed.kill()
        # The pipe ends when the last process that holds it does.
        killed.communicate(timeout=60)


def end_third(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_process_is_named_also_if_the_next_chunk_is_handed_out_after_it() -> None:
    def give_slowly() -> Iterator[int]:
        for number in range(10):
            yield number
            time.sleep(0.3)

    named = pytest.raises(ServiceFault, match="a worker process was terminated from outside")
    with WorkerPool(2, 1, least=1) as workers, named:
        list(workers.map(end_third, give_slowly()))
    with named, explain_lost_process():
        joblib.Parallel(n_jobs=2)(joblib.delayed(end_third)(number) for number in range(4))
