"""Micro-batching: requests that arrive while the log is being flushed are scored as one batch.

Collecting a batch adds no delay, because a decision cannot be written before the current flush ends. If the log is free, a batch
is collected as long as each turn of the event loop brings another request. A full batch does not wait. Log entries have the order in which the requests joined, and scores
equal those of scoring one by one, bit for bit.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from consignments.identifiers import normalize_identifier
from serving.event_log.group_commit import resolve_future
from serving.scoring.scorer import ScoreRequest, ScoreResult

MAX_BATCH_SIZE = 64
"""Maximum number of consignments scored together. With more, each costs a little less, but single requests wait longer
for the chunks of a list."""
YIELDS_BETWEEN_CHUNKS = 5
"""Event-loop iterations to yield between chunks of a list: one for each step of a single request (read, join a batch, see that
no further one comes, score, respond). Otherwise a single request would wait for a chunk before each step."""
BatchResults = list[ScoreResult | Exception]


class Batcher:
    """A collector of single score requests into batches; `when_free` calls its argument when the log is free."""

    def __init__(
        self,
        score: Callable[[Sequence[ScoreRequest]], BatchResults],
        when_free: Callable[[Callable[[], None]], None],
    ) -> None:
        self._score, self._when_free = score, when_free
        self._waiting: list[tuple[ScoreRequest, asyncio.Future[ScoreResult]]] = []

    def submit(self, asked: ScoreRequest) -> "asyncio.Future[ScoreResult]":
        """Add a request to the next batch; the future is resolved after the decision is on disk."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ScoreResult] = loop.create_future()
        self._waiting.append((asked, future))
        if len(self._waiting) == 1:
            self._when_free(self._collect)
        elif len(self._waiting) == MAX_BATCH_SIZE:
            loop.call_soon(self._run)
        return future

    def _collect(self, seen: int = 0) -> None:
        """Score the batch as soon as a turn of the event loop brings no further request: large batches cost less."""
        now = len(self._waiting)
        if seen < now < MAX_BATCH_SIZE:
            asyncio.get_running_loop().call_soon(self._collect, now)
        else:
            self._run()

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        futures = iter([future for _, future in waiting])
        for part in split_batches([asked for asked, _ in waiting]):
            try:
                outcomes = self._score(part)
            except Exception as fault:
                outcomes = [fault] * len(part)
            for outcome in outcomes:
                _resolve_when_durable(next(futures), outcome)


async def yield_to_requests() -> None:
    """Yield to requests that arrived meanwhile, between two chunks of a list."""
    for _ in range(YIELDS_BETWEEN_CHUNKS):
        await asyncio.sleep(0)


def _resolve_when_durable(future: "asyncio.Future[ScoreResult]", outcome: ScoreResult | Exception) -> None:
    if isinstance(outcome, Exception):
        resolve_future(future, None, outcome)
    elif outcome.group is None:
        resolve_future(future, outcome, None)
    else:
        outcome.group.resolve(future, outcome)


def split_batches(asked: Sequence[ScoreRequest]) -> Iterator[list[ScoreRequest]]:
    """Split requests into batches of at most MAX_BATCH_SIZE different consignments of one day; only the last may be cancelled."""
    part: list[ScoreRequest] = []
    names: set[str] = set()
    day = 0
    for each in asked:
        c, on = each.c, each.day
        name = normalize_identifier(c.consignment_id)
        full = len(part) == MAX_BATCH_SIZE or name in names or on != day
        if part and (full or part[-1].c.cancelled_at is not None):
            yield part
            part, names = [], set()
        day = on
        part.append(each)
        names.add(name)
    if part:
        yield part
