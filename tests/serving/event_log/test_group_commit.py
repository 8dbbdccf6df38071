"""Group commit: nobody is told before the entry is on disk, and entries share writes; `test_failures` shows writes that fail or hang."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import wraps

import pytest
from structlog.testing import capture_logs
from support.databases import Entry, Open

from consignments.errors import ServiceFault
from serving.event_log.events import Event
from serving.event_log.group_commit import MAX_QUEUE_ENTRIES, MAX_RESTING_ENTRIES, CommitGroup, Committer
from serving.event_log.log import EventLog


class SlowLog:
    """A log whose writes wait until they are let through; its committer, and entries for it."""

    def __init__(self, log: EventLog, entry: Entry) -> None:
        self._log, self._entry = log, entry
        self.go = threading.Event()
        self.groups: list[int] = []
        self.committer = Committer(self)  # type: ignore[arg-type]

    @property
    def last_sequence(self) -> int:
        return self._log.last_sequence

    def append(self, events: Sequence[Event]) -> None:
        self.go.wait(10)
        self.groups.append(len(events))
        self._log.append(events)

    def add(self, count: int = 1) -> CommitGroup:
        first = self.committer.next_sequence
        return self.committer.add([self._entry(first + place) for place in range(count)])

    async def begin(self) -> CommitGroup:
        """Add the next entry, whose write begins."""
        group = self.add()
        group.call_when_durable(lambda _fault: None)
        await asyncio.sleep(0.02)
        return group


@pytest.fixture
def log(open_log: Open, entry: Entry) -> Iterator[SlowLog]:
    made = SlowLog(open_log(), entry)
    yield made
    made.go.set()
    made.committer.close()


def in_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**given: object) -> None:
        asyncio.run(test(**given))

    return run


@in_loop
async def test_an_answer_waits_for_its_write_and_what_comes_meanwhile_goes_together(log: SlowLog) -> None:
    waiting = asyncio.create_task((await log.begin()).wait_until_durable())
    for _ in range(10):
        log.add()
    await asyncio.sleep(0.02)
    assert not waiting.done()
    log.go.set()
    await waiting
    assert (log.last_sequence >= 1, log.committer.find_group(1)) == (True, None)
    await log.committer.drain()
    assert log.groups == [1, 10]


@in_loop
async def test_entries_share_groups_as_long_as_nobody_waits_for_one(log: SlowLog) -> None:
    log.go.set()
    for _ in range(3):  # two chunks of a list fill a group, and the response waits after the third one
        await asyncio.sleep(0)
        group = log.add(MAX_RESTING_ENTRIES // 2)
    await group.wait_until_durable()
    log.add(2)
    await log.add().wait_until_durable()
    log.add()
    await log.committer.wait_until_durable(log.committer.next_sequence - 1)
    assert log.groups == [MAX_RESTING_ENTRIES, MAX_RESTING_ENTRIES // 2, 3, 1]
    log.add()  # nobody waits for it, and it is written soon
    while log.committer.waiting:
        await asyncio.sleep(0.001)


@in_loop
async def test_who_waits_for_a_free_log_comes_after_the_answers_and_into_the_next_group(log: SlowLog) -> None:
    told = list[str]()

    async def answer() -> None:
        await log.add().wait_until_durable()
        told.append("answered")

    def enter() -> None:
        told.append("entered")
        log.add()
        log.committer.call_when_free(lambda: told.append("again"))

    answered = asyncio.create_task(answer())
    await asyncio.sleep(0.01)
    log.add()
    log.committer.call_when_free(enter)
    await asyncio.sleep(0.02)
    assert not told
    log.go.set()
    await answered
    await log.committer.drain()
    await asyncio.sleep(0.01)
    assert told == ["answered", "entered", "again"]
    assert log.groups == [1, 2]


@in_loop
async def test_too_long_a_queue_refuses_more(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_QUEUE_ENTRIES >= 1_000
    monkeypatch.setattr("serving.event_log.group_commit.MAX_QUEUE_ENTRIES", 20)
    for place in range(20):
        assert log.committer.check() is None, place  # type: ignore[func-returns-value]
        log.add()
    with pytest.raises(ServiceFault, match=r"too many entries wait.*got 20; expected fewer than 20"):
        log.committer.check()
    log.go.set()
    await log.committer.drain()
    log.committer.check()


@in_loop
async def test_a_failed_write_is_told_to_all_who_wait_and_nothing_more_is_taken_until_the_log_is_read_again(
    log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, following, free = await log.begin(), log.add(), asyncio.Event()
    with monkeypatch.context() as broken:
        broken.setattr(log._log, "append", lambda _events: {}["disk"])
        log.go.set()
        for group in (writing, following):
            with pytest.raises(ServiceFault, match="got KeyError"):
                await asyncio.wait_for(group.wait_until_durable(), 5)
    with pytest.raises(ServiceFault, match="got KeyError"):
        log.committer.check()
    log.committer.call_when_free(free.set)
    await asyncio.wait_for(free.wait(), 5)
    log.committer.resume()
    log.committer.check()
    await log.add().wait_until_durable()
    assert (log.groups, log.committer.list_pending()) == ([1, 1], [])


@in_loop
async def test_who_waits_for_a_write_that_hangs_is_let_go_and_the_next_ones_wait_again_when_it_ends(
    log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.group_commit.STALL_SECONDS", 0.05)
    for group in (await log.begin(), log.add()):
        with pytest.raises(ServiceFault, match="takes too long"):
            await asyncio.wait_for(group.wait_until_durable(), 5)
    with pytest.raises(ServiceFault, match="takes too long"):
        log.committer.check()
    log.go.set()
    while log.committer.durable_sequence < 1:
        await asyncio.sleep(0)
    await log.committer.drain()
    log.committer.check()
    assert (log.groups, log.last_sequence) == ([1, 1], 2)


@in_loop
async def test_an_unexpected_error_of_a_write_is_logged_with_its_place(log: SlowLog) -> None:
    log.append = lambda events: {}["missing"]  # type: ignore[method-assign,assignment]
    with capture_logs() as lines, pytest.raises(ServiceFault, match="got KeyError"):
        await log.add().wait_until_durable()
    assert str(lines[0]["where"]).startswith("test_group_commit.py:")
