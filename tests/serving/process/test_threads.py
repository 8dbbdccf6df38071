"""Background threads give way to the others, and only they do."""

import os
import sys
import threading

import pytest

from serving.process.threads import ADDED_NICENESS, create_executor


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_background_thread_gives_way_and_the_others_do_not() -> None:
    before = priority()
    with create_executor("aside") as aside:
        assert aside.submit(priority).result(30) == min(before + ADDED_NICENESS, 19)
        assert aside.submit(threading.current_thread).result(30).name.startswith("aside")
    assert priority() == before


def test_where_priorities_cannot_be_set_the_work_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_given: int) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "setpriority", forbidden)
    with create_executor("aside") as aside:
        assert aside.submit(sum, [1, 2]).result(30) == 3
