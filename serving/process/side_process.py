"""Processes next to the service, which render pages or follow the log, and which give way to it.

python -m serving.process.side_process MODULE
"""

import os
import runpy
import sys

NICENESS = 19


def build_command(module: str) -> tuple[str, ...]:
    """Build the command that runs a module as a process that gives way from its first import on."""
    return (sys.executable, "-P", "-m", __name__, module)


def give_way() -> None:
    """Allow the calling process to run only if nothing else wants the core, and leave Ctrl-C to the service.

    Ctrl-C at a terminal signals a process group: the service stops, and then stops this process. It stays in the session of
    the service, because Linux schedules each session as a group (sched(7), "The autogroup feature"), and a priority counts only
    within it. On Linux it gets the policy SCHED_IDLE. With niceness alone it keeps the core until the next tick, while an
    answer waits.
    """
    os.setpgid(0, 0)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(NICENESS)


if __name__ == "__main__":
    give_way()
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
