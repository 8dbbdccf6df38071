"""Calls that came in together are scored together: a round takes what was read of all connections while the log was busy.

Gathering takes no time that a call would not wait anyhow: what was scored could not be written before the group that is being
written is done. A round that is full does not wait. Entries are in the order in which the calls joined, and bits are those
of one by one.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from consignments.visibility import day_of
from serving.event_log.group_commit import settle
from serving.scoring.scorer import Answer, Asked

MOST_TOGETHER = 32
"""Consignments that are scored at a time: more cost a little less each, and single calls beside a list wait longer."""
TURNS = 4
"""Turns of the event loop between two chunks of a list: a single call takes one for each of its steps (it is read, joins a round,
is scored, wakes when it is on disk), and would wait for a chunk before each."""
Outcomes = list[Answer | Exception]


class Rounds:
    """Gathers single calls.

    Parameters
    ----------
    score : callable
        Scores what `parts_of` gives.
    when_free : callable
        Calls what it is given when the log is free (`serving.event_log.group_commit.Committer.when_free`).
    """

    def __init__(
        self,
        score: Callable[[Sequence[Asked]], Outcomes],
        when_free: Callable[[Callable[[], None]], None],
    ) -> None:
        self._score, self._when_free = score, when_free
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []

    def ask(self, asked: Asked) -> "asyncio.Future[Answer]":
        """Let a consignment take part in the next round: when the log is free, or so many wait that they fill a round.

        The answer is there once its decision is on disk.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, future))
        if len(self._waiting) == 1:
            self._when_free(self._run)
        elif len(self._waiting) == MOST_TOGETHER:
            loop.call_soon(self._run)
        return future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        futures = iter([future for _, future in waiting])
        for part in parts_of([asked for asked, _ in waiting]):
            for outcome in self._try(part):
                _settle(next(futures), outcome)

    def _try(self, part: Sequence[Asked]) -> Outcomes:
        try:
            return self._score(part)
        except Exception as fault:
            return [fault] * len(part)


async def let_others_through() -> None:
    """Let calls that came in meanwhile take their steps, between two chunks of a list."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _settle(future: "asyncio.Future[Answer]", outcome: Answer | Exception) -> None:
    if isinstance(outcome, Exception):
        settle(future, None, outcome)
    elif outcome.group is None:
        settle(future, outcome, None)
    else:
        outcome.group.settle(future, outcome)


def parts_of(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Part what is asked into runs that may be scored together: few, of one day, none twice, none cancelled but the last."""
    part: list[Asked] = []
    names: set[str] = set()
    day = 0
    for each in asked:
        c = each.c
        assert c.received_at is not None
        on = day_of(c.received_at)
        full = len(part) == MOST_TOGETHER or c.consignment_id in names or on != day
        if part and (full or part[-1].c.cancelled_at is not None):
            yield part
            part, names = [], set()
        day = on
        part.append(each)
        names.add(c.consignment_id)
    if part:
        yield part
