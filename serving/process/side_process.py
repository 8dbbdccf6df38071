"""Processes next to the service, which render pages or follow the log, and which give way to it.

python -m serving.process.side_process MODULE
"""

import os
import sys
from importlib import import_module

NICENESS = 10
"""Leaves about a tenth of a busy core. With 19, or with SCHED_IDLE, officers would wait for minutes on a busy machine."""


def build_command(module: str) -> tuple[str, ...]:
    """Build the command that runs `main` of a module in a process that gives way once everything is imported."""
    return (sys.executable, "-P", "-m", __name__, module)


def run(module: str) -> None:
    """Run `main` of a module.

    Ctrl-C at a terminal signals a process group: the service stops, and then stops this process. It stays in the session of
    the service, because Linux schedules each session as a group (sched(7), "The autogroup feature"), and a niceness counts
    only within it.
    """
    os.setpgid(0, 0)
    main = import_module(module).main
    os.nice(NICENESS)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    main()


if __name__ == "__main__":
    run(sys.argv[1])
