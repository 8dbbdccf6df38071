"""Group commit: nobody is told before the entry is on disk; a failed write is told to all whom it concerns."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import wraps

import pytest
from structlog.testing import capture_logs

from consignments.errors import ServiceFault
from serving.event_log.events import Event
from serving.event_log.group_commit import MAX_QUEUE_ENTRIES, MAX_RESTING_ENTRIES, Committer
from serving.event_log.log import EventLog

Open = Callable[[], EventLog]
Entry = Callable[..., Event]


class SlowLog:
    """A log whose writes wait until they are let through, or fail."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.go = threading.Event()
        self.failing = False
        self.groups: list[int] = []

    @property
    def last_sequence(self) -> int:
        return self._log.last_sequence

    def append(self, events: Sequence[Event]) -> None:
        self.go.wait(10)
        if self.failing:
            raise ServiceFault("the event log cannot be written", got="disk full")
        self.groups.append(len(events))
        self._log.append(events)


@pytest.fixture
def log(open_log: Open) -> SlowLog:
    return SlowLog(open_log())


@pytest.fixture
def committer(log: SlowLog) -> Iterator[Committer]:
    made = Committer(log)  # type: ignore[arg-type]
    yield made
    made.close()


def in_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run(**given: object) -> None:
        asyncio.run(test(**given))

    return run


@in_loop
async def test_an_answer_waits_for_the_write_of_its_entry(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    waiting = asyncio.create_task(committer.add([entry(1)]).wait_until_durable())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert committer.find_group(1) is not None
    log.go.set()
    await waiting
    assert log.last_sequence == 1
    assert committer.find_group(1) is None


@in_loop
async def test_what_comes_during_a_write_goes_together_in_the_next_one(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    committer.add([entry(1)])
    await asyncio.sleep(0.05)
    for sequence in range(2, 12):
        committer.add([entry(sequence)])
    log.go.set()
    await committer.drain()
    assert log.groups == [1, 10]


@in_loop
async def test_chunks_of_a_list_share_groups_as_long_as_nobody_waits(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    log.go.set()
    chunk, sequences = MAX_RESTING_ENTRIES // 2, iter(range(1, 3 * MAX_RESTING_ENTRIES))
    for _ in range(3):  # two chunks fill a group, and the response waits after the third one
        await asyncio.sleep(0)
        group = committer.add([entry(next(sequences)) for _ in range(chunk)])
    await group.wait_until_durable()
    assert log.groups == [MAX_RESTING_ENTRIES, MAX_RESTING_ENTRIES // 2]


@in_loop
async def test_who_waits_for_an_entry_of_a_resting_group_has_it_written(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    log.go.set()
    committer.add([entry(1), entry(2)])
    await committer.add([entry(3)]).wait_until_durable()
    committer.add([entry(4)])
    await committer.wait_until_durable(4)
    assert log.groups == [3, 1]


@in_loop
async def test_a_resting_group_delays_nobody_who_waits_for_a_free_log(open_log: Open, entry: Entry) -> None:
    committer = Committer(open_log())
    committer.add([entry(1)])
    free = asyncio.Event()
    committer.call_when_free(free.set)
    await asyncio.sleep(0)
    assert free.is_set()
    assert committer.durable_sequence == 0
    while committer.waiting:  # an entry that nobody waits for is written soon
        await asyncio.sleep(0.001)
    committer.close()


@in_loop
async def test_who_waits_for_a_free_log_comes_after_the_answers_and_into_the_next_group(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    told = list[str]()

    async def answer() -> None:
        await committer.add([entry(1)]).wait_until_durable()
        told.append("answered")

    def enter() -> None:
        told.append("entered")
        committer.add([entry(3)])

    answered = asyncio.create_task(answer())
    await asyncio.sleep(0.01)
    committer.add([entry(2)])
    committer.call_when_free(enter)
    await asyncio.sleep(0.05)
    assert not told
    log.go.set()
    await answered
    await committer.wait_until_durable(2)
    await committer.drain()
    committer.call_when_free(lambda: told.append("free"))
    await asyncio.sleep(0.01)
    assert told == ["answered", "entered", "free"]
    assert log.groups == [1, 2]


@in_loop
async def test_who_asks_for_a_free_log_at_its_last_moment_of_work_is_not_forgotten(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    free = asyncio.Event()
    committer.add([entry(1)])
    await asyncio.sleep(0.01)
    committer.call_when_free(lambda: committer.call_when_free(free.set))
    log.go.set()
    await asyncio.wait_for(free.wait(), 5)


@in_loop
async def test_nobody_waits_for_a_log_that_cannot_be_written(
    log: SlowLog, committer: Committer, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.group_commit.STALL_SECONDS", 0.05)
    told = list[str]()
    committer.add([entry(1)])
    await asyncio.sleep(0.01)
    committer.call_when_free(lambda: told.append("the write takes too long"))
    await asyncio.sleep(0.1)
    committer.call_when_free(lambda: told.append("it still does"))
    await asyncio.sleep(0.01)
    assert told == ["the write takes too long", "it still does"]
    log.go.set()
    while committer.waiting:
        await asyncio.sleep(0.01)
    log.go.clear()
    log.failing = True
    committer.add([entry(2)])
    await asyncio.sleep(0.01)
    committer.call_when_free(lambda: told.append("the write failed"))
    log.go.set()
    while committer.fault is None:
        await asyncio.sleep(0.01)
    committer.call_when_free(lambda: told.append("it had failed"))
    await asyncio.sleep(0.01)
    assert told[2:] == ["the write failed", "it had failed"]


@in_loop
async def test_a_failed_write_is_told_to_everybody_and_nothing_more_is_taken(
    log: SlowLog, committer: Committer, entry: Entry
) -> None:
    writing = committer.add([entry(1)])
    await asyncio.sleep(0.05)
    following = committer.add([entry(2)])
    log.failing = True
    log.go.set()
    for group in (writing, following):
        with pytest.raises(ServiceFault, match="disk full"):
            await group.wait_until_durable()
    with pytest.raises(ServiceFault, match="disk full"):
        committer.check()
    log.failing = False
    committer.resume()
    committer.check()
    assert committer.list_pending() == []
    await committer.add([entry(1)]).wait_until_durable()
    with pytest.raises(ServiceFault, match="disk full"):
        await writing.wait_until_durable()


@in_loop
async def test_too_long_a_queue_refuses_more(log: SlowLog, committer: Committer, entry: Entry) -> None:
    for sequence in range(1, MAX_QUEUE_ENTRIES + 1):
        committer.add([entry(sequence)])
    with pytest.raises(
        ServiceFault, match=f"too many entries wait.*got {MAX_QUEUE_ENTRIES:,}; expected fewer"
    ):
        committer.check()
    log.go.set()
    await committer.drain()
    committer.check()


@in_loop
async def test_who_waits_for_a_write_that_hangs_is_let_go_and_finds_it_on_disk_later(
    log: SlowLog, committer: Committer, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.group_commit.STALL_SECONDS", 0.05)
    waiting = asyncio.create_task(committer.add([entry(1)]).wait_until_durable())
    await asyncio.sleep(0)
    following = asyncio.create_task(committer.add([entry(2)]).wait_until_durable())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    for task in (waiting, following):
        with pytest.raises(ServiceFault, match="takes too long"):
            await task
    with pytest.raises(ServiceFault, match="takes too long"):
        committer.check()
    assert committer.lag_seconds > 0.05
    log.go.set()
    while committer.waiting:
        await asyncio.sleep(0.01)
    committer.check()
    assert (committer.lag_seconds, log.last_sequence, sum(log.groups)) == (0, 2, 2)
    await committer.add([entry(3)]).wait_until_durable()


@in_loop
async def test_after_a_write_that_hung_a_new_request_waits_for_its_own_write(
    log: SlowLog, committer: Committer, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.group_commit.STALL_SECONDS", 0.05)
    committer.add([entry(1)]).call_when_durable(lambda _fault: None)
    await asyncio.sleep(0.02)
    with pytest.raises(ServiceFault, match="takes too long"):
        await committer.add([entry(2)]).wait_until_durable()
    log.go.set()
    while committer.durable_sequence < 1:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    committer.check()
    await committer.add([entry(3)]).wait_until_durable()
    assert log.last_sequence == 3


@in_loop
async def test_an_unexpected_error_of_a_write_is_logged_with_its_place(open_log: Open, entry: Entry) -> None:
    log = open_log()
    committer = Committer(log)
    log.append = lambda events: {}["missing"]  # type: ignore[method-assign,assignment]
    with capture_logs() as lines, pytest.raises(ServiceFault, match="got KeyError"):
        await committer.add([entry(1)]).wait_until_durable()
    committer.close()
    assert str(lines[0]["where"]).startswith("test_group_commit.py:")
