"""Measure two versions of npsrisk by turns: each runs the same script in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

THIS_TREE = Path(__file__).resolve().parent.parent


def measure_by_turns(command: Sequence[object], other: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run a script that measures with the code of two trees, by turns.

    Parameters
    ----------
    command : sequence
        The script and its arguments. It writes one line of JSON for each line of its input. The modules that it imports are those of the tree
        that is measured, so it may import this one only where no other version runs it.
    other : Path
        Folder of the other version, a git worktree.
    rounds : int
        The order of the two changes from round to round.

    Returns
    -------
    dict
        What the script wrote in each round, by `before` and `now`.
    """
    with ExitStack() as stack:
        trees = {"before": other.absolute(), "now": THIS_TREE}
        servers = {name: stack.enter_context(_start(command, tree)) for name, tree in trees.items()}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        for number in range(rounds):
            for name in list(servers) if number % 2 else reversed(servers):
                found[name].append(_ask(servers[name]))
    return found


def _start(command: Sequence[object], tree: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(server: "subprocess.Popen[str]") -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    answer: dict[str, Any] = json.loads(server.stdout.readline())
    return answer
