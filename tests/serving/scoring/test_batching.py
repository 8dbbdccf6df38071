"""Rounds: what comes together is scored together, and nobody waits long for a list; `test_scores` holds the answers against those of one after the other."""

import asyncio
from collections.abc import Callable, Sequence

from support.examples import day, make_consignment

from consignments.timestamps import to_us
from serving.scoring.batching import MAX_BATCH_SIZE, Batcher, yield_to_requests
from serving.scoring.scorer import ScoreRequest, ScoreResult


def asked(name: str) -> ScoreRequest:
    return ScoreRequest(make_consignment(name, received_at=day(1)), to_us(day(1)), "a client")


class Scores:
    def __init__(self) -> None:
        self.parts: list[int] = []

    def __call__(self, part: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        self.parts.append(len(part))
        return [ScoreResult(None, None, None, [])] * len(part)  # type: ignore[arg-type]


def soon(then: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_soon(then)


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
    assert scores.parts == [MAX_BATCH_SIZE, 2]


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
