"""Calls that came in together are scored together: a round takes what was read of all connections while the log was busy.

Gathering takes no time that a call would not wait anyhow: what was scored could not be written before the group that is being
written is done. A round that is full does not wait. Entries are in the order in which the calls joined, and bits are those
of one by one.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from consignments.timestamps import to_day
from serving.event_log.group_commit import resolve_future
from serving.scoring.scorer import ScoreRequest, ScoreResult

MAX_BATCH_SIZE = 32
"""Consignments that are scored at a time: more cost a little less each, and single calls beside a list wait longer."""
YIELDS_BETWEEN_CHUNKS = 4
"""Turns of the event loop between two chunks of a list: a single call takes one for each of its steps (it is read, joins a round,
is scored, wakes when it is on disk), and would wait for a chunk before each."""
BatchResults = list[ScoreResult | Exception]


class Batcher:
    """Gathers single calls.

    Parameters
    ----------
    score : callable
        Scores what `split_batches` gives.
    when_free : callable
        Calls what it is given when the log is free (`serving.event_log.group_commit.Committer.call_when_free`).
    """

    def __init__(
        self,
        score: Callable[[Sequence[ScoreRequest]], BatchResults],
        when_free: Callable[[Callable[[], None]], None],
    ) -> None:
        self._score, self._when_free = score, when_free
        self._waiting: list[tuple[ScoreRequest, asyncio.Future[ScoreResult]]] = []

    def submit(self, asked: ScoreRequest) -> "asyncio.Future[ScoreResult]":
        """Let a consignment take part in the next round: when the log is free, or so many wait that they fill a round.

        The answer is there once its decision is on disk.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ScoreResult] = loop.create_future()
        self._waiting.append((asked, future))
        if len(self._waiting) == 1:
            self._when_free(self._run)
        elif len(self._waiting) == MAX_BATCH_SIZE:
            loop.call_soon(self._run)
        return future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        futures = iter([future for _, future in waiting])
        for part in split_batches([asked for asked, _ in waiting]):
            for outcome in self._try(part):
                _resolve(next(futures), outcome)

    def _try(self, part: Sequence[ScoreRequest]) -> BatchResults:
        try:
            return self._score(part)
        except Exception as fault:
            return [fault] * len(part)


async def yield_to_requests() -> None:
    """Let calls that came in meanwhile take their steps, between two chunks of a list."""
    for _ in range(YIELDS_BETWEEN_CHUNKS):
        await asyncio.sleep(0)


def _resolve(future: "asyncio.Future[ScoreResult]", outcome: ScoreResult | Exception) -> None:
    if isinstance(outcome, Exception):
        resolve_future(future, None, outcome)
    elif outcome.group is None:
        resolve_future(future, outcome, None)
    else:
        outcome.group.resolve(future, outcome)


def split_batches(asked: Sequence[ScoreRequest]) -> Iterator[list[ScoreRequest]]:
    """Part what is asked into runs that may be scored together: few, of one day, none twice, none cancelled but the last."""
    part: list[ScoreRequest] = []
    names: set[str] = set()
    day = 0
    for each in asked:
        c = each.c
        assert c.received_at is not None
        on = to_day(c.received_at)
        full = len(part) == MAX_BATCH_SIZE or c.consignment_id in names or on != day
        if part and (full or part[-1].c.cancelled_at is not None):
            yield part
            part, names = [], set()
        day = on
        part.append(each)
        names.add(c.consignment_id)
    if part:
        yield part
