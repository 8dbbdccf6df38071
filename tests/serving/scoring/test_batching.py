"""Rounds: what comes together is scored together, in its order, and nobody suffers for another."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.examples import day, make_consignment

from consignments.timestamps import to_us
from serving.scoring.batching import MAX_BATCH_SIZE, Batcher, split_batches, yield_to_requests
from serving.scoring.scorer import ScoreRequest, ScoreResult


def asked(name: str, on: int = 1, **changes: Any) -> ScoreRequest:
    at = day(float(on))
    return ScoreRequest(make_consignment(name, received_at=at, **changes), to_us(at), "a client")


class Scores:
    """Remembers what was scored together; answers with the place in the order, and fails where it is told to."""

    def __init__(self, bad: str = "") -> None:
        self.parts: list[list[str]] = []
        self._bad = bad

    def __call__(self, part: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        names = [each.c.consignment_id for each in part]
        self.parts.append(names)
        made = ScoreResult(None, None, None, [])  # type: ignore[arg-type]
        return [KeyError(name) if name == self._bad else made for name in names]


def soon(then: Callable[[], object]) -> None:
    """Call what waits for a log that is always free."""
    asyncio.get_running_loop().call_soon(then)


def test_calls_of_one_round_are_scored_together_in_their_order_and_a_fault_is_told_to_the_one_it_concerns() -> (
    None
):
    scores = Scores(bad="RB1")

    async def main() -> list[Any]:
        rounds = Batcher(scores, soon)
        calls = [rounds.submit(asked(f"RB{place}")) for place in range(4)]
        calls[3].cancel()  # its client went away
        told = await asyncio.gather(*calls, return_exceptions=True)
        await rounds.submit(asked("RB4"))
        return told

    kinds = [type(told) for told in asyncio.run(main())]
    assert kinds == [ScoreResult, KeyError, ScoreResult, asyncio.CancelledError]
    assert scores.parts == [["RB0", "RB1", "RB2", "RB3"], ["RB4"]]


def test_a_round_waits_until_the_log_is_free_but_not_when_it_is_full() -> None:
    scores, waiting = Scores(), list[Callable[[], object]]()

    async def main() -> None:
        rounds = Batcher(scores, waiting.append)
        full = [rounds.submit(asked(f"RB{place}")) for place in range(MAX_BATCH_SIZE)]
        await asyncio.gather(*full)
        calls = [rounds.submit(asked(name)) for name in ("RC0", "RC1")]
        await asyncio.sleep(0.01)
        assert len(scores.parts) == 1
        assert len(waiting) == 2  # the full round is gone: when it is called, nobody waits for it
        for then in waiting:
            then()
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert [len(part) for part in scores.parts] == [MAX_BATCH_SIZE, 2]


MANY = [str(place) for place in range(MAX_BATCH_SIZE + 1)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([asked("A"), asked("B"), asked("C", 2)], [["A", "B"], ["C"]]),
        ([asked("A"), asked("B"), asked("A")], [["A", "B"], ["A"]]),
        ([asked("A", cancelled_at=day(1)), asked("B")], [["A"], ["B"]]),
        ([asked(name) for name in MANY], [MANY[:-1], MANY[-1:]]),
        ([], []),
    ],
    ids=["days", "twice", "cancelled", "many", "none"],
)
def test_a_part_has_one_day_nobody_twice_and_a_cancelled_one_last(
    rows: list[ScoreRequest], expected: list[list[str]]
) -> None:
    assert [[each.c.consignment_id for each in part] for part in split_batches(rows)] == expected


def test_a_call_that_came_during_a_chunk_of_a_list_is_answered_before_the_next_chunk() -> None:
    done: list[str] = []

    async def take_list() -> None:
        for chunk in ("first chunk", "second chunk"):
            done.append(chunk)
            await yield_to_requests()

    async def call(rounds: Batcher) -> None:
        await rounds.submit(asked("RB1"))
        done.append("call")

    async def main() -> None:
        await asyncio.gather(take_list(), call(Batcher(Scores(), soon)))

    asyncio.run(main())
    assert done == ["first chunk", "call", "second chunk"]
