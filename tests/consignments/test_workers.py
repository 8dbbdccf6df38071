"""Other processes give what this one would, and do not outlive it."""

import os
import subprocess
import sys
from pathlib import Path

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
        assert killed.stdout is not None
        assert killed.stdout.readline().split() == [b"%d" % number for number in range(8)]
        killed.kill()
        # The pipe ends when the last process that holds it does.
        killed.communicate(timeout=60)
