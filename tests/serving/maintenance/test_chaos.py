"""Chaos: real processes, killed and given bad models under load; what was acknowledged stands, and nobody sees a failure.

`make chaos` kills 200 times, lets a standby take over 50 times, and swaps 50 models, of which 10 are corrupt; `CHAOS_KILLS`,
`CHAOS_TAKEOVERS`, `CHAOS_SWAPS` and `CHAOS_SEED` change that. The seed settles what callers send, when and how the service dies, and which models are corrupt; what is under
way at that moment is the machine's.
"""

import os
import time
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.bad_releases import DAMAGES, Damage
from support.databases import only_postgres
from support.serving_examples import place, point_to, publish
from support.serving_killed import KILLED, NEVER, Blow, Service, blows, called, live, wait_for_answers
from support.serving_pair import draw_takeovers, live_as_pair
from support.serving_proof import prove
from support.site import entries, run

TAKEOVERS = int(os.environ.get("CHAOS_TAKEOVERS", "50"))
KILLS = int(os.environ.get("CHAOS_KILLS", "200"))
SWAPS = int(os.environ.get("CHAOS_SWAPS", "50"))
SEED = int(os.environ.get("CHAOS_SEED", "7"))
ANSWERS_PER_LIFE, ANSWERS_PER_SWAP = 250, 60
LOOK_SECONDS = 60.0


@pytest.mark.slow
def test_however_often_it_is_killed_it_loses_and_changes_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    told = prove(tmp_path, *live(tmp_path, blows(KILLS, ANSWERS_PER_LIFE, SEED), SEED))
    print(f"\n{KILLS} kills, seed {SEED}: {dict(sorted(told.items()))}")
    assert told["decisions"] > KILLS * ANSWERS_PER_LIFE / 4
    assert told["ready"] > KILLS // 2
    for what in ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer"):
        assert told[what] >= KILLS // 2, what
    assert told["snapshot loaded"] >= KILLS // 2
    assert told["snapshot refused"] >= KILLS // 10


def test_three_kills_lose_nothing_and_change_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    told = prove(tmp_path, *live(tmp_path, blows(3, 60, seed=3), seed=3))
    assert told["decisions"] > 75
    for what in ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer"):
        assert told[what] >= 2, what
    assert told["snapshot loaded"] >= 1
    assert told["snapshot refused"] >= 1
    assert told["replayed"] > 10


@only_postgres
def test_takeovers_from_a_paused_and_a_killed_service_lose_nothing(tmp_path: Path, bundle: Path) -> None:
    for name in ("one", "two"):
        publish(tmp_path / name, bundle, "1")
    pair, callers = live_as_pair(tmp_path, draw_takeovers(2, 40, seed=3), seed=3)
    told = prove(pair.folder, pair, callers)
    assert [takeover.is_pause for takeover in pair.takeovers] == [True, False]
    assert told["took over as active service"] >= 1  # the line of one that is killed at once is lost
    resumed = ("another service is active: this one is a standby now", "event log can be used again")
    found_out = sum(told[line] for line in resumed)
    assert found_out >= 1, "the paused one finds that it is no longer the active one"
    assert told["decisions"] > 100


@pytest.mark.slow
@only_postgres
def test_however_often_a_standby_takes_over_nothing_is_lost_or_changed(tmp_path: Path, bundle: Path) -> None:
    for name in ("one", "two"):
        publish(tmp_path / name, bundle, "1")
    pair, callers = live_as_pair(tmp_path, draw_takeovers(TAKEOVERS, ANSWERS_PER_LIFE // 2, SEED), SEED)
    told = prove(pair.folder, pair, callers)
    print(f"\n{TAKEOVERS} takeovers, seed {SEED}: {dict(sorted(told.items()))}")
    for is_pause in (False, True):
        seconds = [each.seconds for each in pair.takeovers if each.is_pause == is_pause]
        print(
            f"{'paused' if is_pause else 'killed'}: {np.quantile(seconds, [0.5, 1.0]).round(2)} s until the other one scores"
        )
    assert len(pair.takeovers) == TAKEOVERS
    # The others were services that lost their lock and had it again before they were standbys.
    assert told["took over as active service"] > TAKEOVERS / 2
    assert told["another service is active: this one is a standby now"] > TAKEOVERS / 8
    assert told["decisions"] > TAKEOVERS * ANSWERS_PER_LIFE / 8
    for what in ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer"):
        assert told[what] >= TAKEOVERS // 2, what


def test_a_few_models_are_swapped_and_corrupt_ones_refused_while_no_call_fails(
    tmp_path: Path, bundle: Path, other_bundle: Path
) -> None:
    swap_models(tmp_path, [bundle, other_bundle], 4, 20, seed=1)


@pytest.mark.slow
def test_many_models_are_swapped_while_no_call_fails(
    tmp_path: Path, bundle: Path, other_bundle: Path
) -> None:
    told = swap_models(tmp_path, [bundle, other_bundle], SWAPS, ANSWERS_PER_SWAP, SEED)
    print(f"\n{SWAPS} swaps, seed {SEED}: {dict(sorted(told.items()))}")


def swap_models(folder: Path, bundles: list[Path], count: int, answers: int, seed: int) -> dict[str, int]:
    """Publish models under load, one in five corrupt; each is asked for so many answers."""
    publish(folder, bundles[0], "0")
    corrupt = count // 5 or 1
    random = np.random.default_rng(seed)
    is_corrupt = [*random.permutation([True] * corrupt + [False] * (count - corrupt - 1)).tolist(), False]
    good, bad = cycle(bundles[::-1]), cycle(DAMAGES)
    with called(folder, Blow(KILLED, NEVER, damage=False), seed) as (service, callers):
        scoring = "0"
        for number, spoil in enumerate(is_corrupt, start=1):
            wait_for_answers(service, callers, answers)
            damage = next(bad) if spoil else None
            swap(service, bundles[0] if spoil else next(good), number, damage)
            scoring = scoring if spoil else str(number)
            assert_told(service, scoring, damage)
        code, output = run(folder, "serve", "--port", "0")  # a second service on the directory
        assert (code, output.count("\n"), "another process uses this state directory" in output) == (
            2,
            1,
            True,
        )
        wait_for_answers(service, callers, answers)
    assert sum(caller.done["no answer"] for caller in callers) == 0
    told = prove(folder, service, callers)
    assert (told["model loaded"], told["model refused"]) == (count - corrupt, corrupt)
    assert_scored_by_turns(
        folder, ["0", *(str(number) for number, spoil in enumerate(is_corrupt, start=1) if not spoil)]
    )
    return told


def swap(service: Service, bundle: Path, number: int, damage: Damage | None) -> None:
    """Publish a version, and wait until the service has looked at it."""
    release = place(service.folder, bundle, str(number))
    if damage is not None:
        damage(release)
    point_to(service.folder, release)
    service.look()
    end = time.monotonic() + LOOK_SECONDS
    while looked_at(service) < number:
        assert time.monotonic() < end, "the service does not look at what was published"
        time.sleep(0.02)


def looked_at(service: Service) -> int:
    return sum(line["event"] in ("model loaded", "model refused") for line in service.log_lines())


def assert_told(service: Service, scoring: str, damage: Damage | None) -> None:
    """Assert that the service says which model scores, and why it is not the one that was published."""
    told: dict[str, Any] = httpx.get(f"{service.url}/health/ready").raise_for_status().json()
    assert told["model"]["version"] == scoring
    assert len(told["warnings"]) == (damage is not None)
    if damage is not None:
        assert DAMAGES[damage] in told["warnings"][0]


def assert_scored_by_turns(folder: Path, versions: list[str]) -> None:
    """Assert that good models scored, all of them, each from its turn to the next one's."""
    scored = [
        model for model, _ in groupby(getattr(event, "model", "") for event in entries(folder, "decision"))
    ]
    assert scored == [f"nps-risk/{version}" for version in versions]
