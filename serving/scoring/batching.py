"""Micro-batching: requests that arrive while the log is being flushed are scored as one batch.

Collecting a batch adds no delay, because a decision cannot be written before the current flush ends. If the log is free, a batch
is collected as long as each turn of the event loop brings another request. A full batch does not wait. Log entries have the order in which the requests joined, and scores
equal those of scoring one by one, bit for bit.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from serving.event_log.group_commit import CommitGroup, resolve_future
from serving.scoring.scorer import ScoreRequest, ScoreResult

MAX_BATCH_SIZE = 64
"""Maximum number of consignments scored together. With more, each costs a little less, but single requests wait longer
for the chunks of a list."""
YIELDS_BETWEEN_CHUNKS = 5
"""Event-loop iterations to yield between chunks of a list: one for each step of a single request (read, join a batch, see that
no further one comes, score, respond). Otherwise a single request would wait for a chunk before each step."""
BatchResults = list[ScoreResult | Exception]
Read = Callable[[Sequence[Any]], Sequence[ScoreRequest | None]]
"""Returns the requests of some calls when their batch begins; None for one that is answered in another way. It must not raise."""
Receive = Callable[[ScoreResult | Exception], object]
"""Receives the result of a request once its decision is on disk, or the error. It must not raise."""


class Batcher:
    """A collector of single score requests into batches.

    Parameters
    ----------
    score : callable
        Scores a batch from `split_batches`.
    when_free : callable
        Calls its argument when the log is free (`serving.event_log.group_commit.Committer.call_when_free`).
    """

    def __init__(
        self,
        score: Callable[[Sequence[ScoreRequest]], BatchResults],
        when_free: Callable[[Callable[[], None]], None],
    ) -> None:
        self._score, self._when_free = score, when_free
        self._waiting: list[tuple[Read, Any, Receive]] = []

    def submit(self, asked: ScoreRequest) -> "asyncio.Future[ScoreResult]":
        """Add a request as `add` does; the future is resolved after the decision is on disk."""
        future: asyncio.Future[ScoreResult] = asyncio.get_running_loop().create_future()
        self.add(_return_as_given, asked, partial(_resolve, future))
        return future

    def add(self, read: Read, call: Any, receive: Receive) -> None:
        """Add a call to the next batch, which is scored when the log is free and no further call comes, or when it is full.

        The calls of a batch that have the same `read` are read together.
        """
        self._waiting.append((read, call, receive))
        if len(self._waiting) == 1:
            self._when_free(self._collect)
        elif len(self._waiting) == MAX_BATCH_SIZE:
            asyncio.get_running_loop().call_soon(self._run)

    def _collect(self, seen: int = 0) -> None:
        """Score the batch as soon as a turn of the event loop brings no further request: large batches cost less."""
        now = len(self._waiting)
        if seen < now < MAX_BATCH_SIZE:
            asyncio.get_running_loop().call_soon(self._collect, now)
        else:
            self._run()

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        requests: list[ScoreRequest | None] = []
        for read, group in groupby(waiting, key=itemgetter(0)):
            requests += read([call for _, call, _ in group])
        found = zip(requests, waiting, strict=True)
        asked = [(request, receive) for request, (_, _, receive) in found if request is not None]
        receivers = iter([receive for _, receive in asked])
        for part in split_batches([request for request, _ in asked]):
            _deliver_when_durable([(next(receivers), outcome) for outcome in self._try(part)])

    def _try(self, part: Sequence[ScoreRequest]) -> BatchResults:
        try:
            return self._score(part)
        except Exception as fault:
            return [fault] * len(part)


async def yield_to_requests() -> None:
    """Yield to requests that arrived meanwhile, between two chunks of a list."""
    for _ in range(YIELDS_BETWEEN_CHUNKS):
        await asyncio.sleep(0)


def _return_as_given(requests: Sequence[ScoreRequest]) -> Sequence[ScoreRequest]:
    return requests


def _resolve(future: "asyncio.Future[ScoreResult]", outcome: ScoreResult | Exception) -> None:
    if isinstance(outcome, Exception):
        resolve_future(future, None, outcome)
    else:
        resolve_future(future, outcome, None)


def _deliver_when_durable(results: Sequence[tuple[Receive, ScoreResult | Exception]]) -> None:
    """Send each result to its receiver; those of one commit group together, when the group is on disk."""
    groups: dict[CommitGroup, list[tuple[Receive, ScoreResult]]] = {}
    for receive, outcome in results:
        if isinstance(outcome, Exception) or outcome.group is None:
            receive(outcome)
        else:
            groups.setdefault(outcome.group, []).append((receive, outcome))
    for group, waiting in groups.items():
        group.call_when_durable(partial(_deliver, waiting))


def _deliver(waiting: Sequence[tuple[Receive, ScoreResult]], fault: ServiceFault | None) -> None:
    for receive, outcome in waiting:
        receive(outcome if fault is None else fault)


def split_batches(asked: Sequence[ScoreRequest]) -> Iterator[list[ScoreRequest]]:
    """Split requests into batches that may be scored together.

    A batch has at most MAX_BATCH_SIZE consignments of one day, none twice, and only the last may be cancelled.
    """
    part: list[ScoreRequest] = []
    names: set[str] = set()
    day = 0
    for each in asked:
        c, on = each.c, each.day
        name = each.name or normalize_identifier(c.consignment_id)
        full = len(part) == MAX_BATCH_SIZE or name in names or on != day
        if part and (full or part[-1].c.cancelled_at is not None):
            yield part
            part, names = [], set()
        day = on
        part.append(each)
        names.add(name)
    if part:
        yield part
