"""Chaos: real processes, killed and given bad models under load; what was acknowledged stands, and nobody sees a failure.

`make chaos` kills 200 times, lets a standby take over 50 times, and swaps 50 models, of which 10 are corrupt; `CHAOS_KILLS`,
`CHAOS_TAKEOVERS`, `CHAOS_SWAPS` and `CHAOS_SEED` change that. The seed settles what callers send, when and how the service dies, and which models are corrupt; what is under
way at that moment is the machine's.
"""

import os
import time
from collections import Counter
from itertools import cycle, groupby
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.bad_releases import DAMAGES, Damage
from support.databases import only_postgres, only_sqlite
from support.serving_callers import wait_for_answers
from support.serving_examples import place, point_to, publish
from support.serving_killed import KILLED, UNDISTURBED, Blow, Service, blows, called, live
from support.serving_pair import Pair, Takeover, draw_takeovers, live_as_pair
from support.serving_proof import prove
from support.site import entries, run

TAKEOVERS = int(os.environ.get("CHAOS_TAKEOVERS", "50"))
KILLS = int(os.environ.get("CHAOS_KILLS", "200"))
SWAPS = int(os.environ.get("CHAOS_SWAPS", "50"))
SEED = int(os.environ.get("CHAOS_SEED", "7"))
ANSWERS_PER_LIFE, ANSWERS_PER_SWAP = 250, 60
LOOK_SECONDS = 60.0
WHAT = ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer")


@pytest.mark.slow
def test_however_often_it_is_killed_it_loses_and_changes_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    told = prove(tmp_path, *live(tmp_path, blows(KILLS, ANSWERS_PER_LIFE, SEED), SEED))
    print(f"\n{KILLS} kills, seed {SEED}: {dict(sorted(told.items()))}")
    assert told["decisions"] > KILLS * ANSWERS_PER_LIFE / 4
    assert told["ready"] > KILLS // 2
    for what in (*WHAT, "snapshot loaded"):
        assert told[what] >= KILLS // 2, what
    assert told["snapshot refused"] >= KILLS // 10


@only_sqlite  # in PostgreSQL the takeovers are the short form
def test_a_few_kills_lose_nothing_and_change_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    plan = [Blow(KILLED, 60, damage=True), Blow("unanswered", 40, damage=False)]
    told = prove(tmp_path, *live(tmp_path, plan, seed=3))
    assert told["decisions"] > 75
    for what in set(WHAT) - {"outcome repeated"}:  # by chance there is none in one run of some hundred
        assert told[what] >= 2, what
    for what in ("snapshot loaded", "snapshot refused", "replayed"):
        assert told[what] >= 1, what


@only_postgres
def test_takeovers_from_a_paused_and_a_killed_service_lose_nothing(tmp_path: Path, bundle: Path) -> None:
    pair, told = take_over(tmp_path, bundle, draw_takeovers(2, 40, seed=3), seed=3, pause_seconds=0.05)
    assert [takeover.is_pause for takeover in pair.takeovers] == [True, False]
    assert told["took over as active service"] >= 1  # the line of one that is killed at once is lost
    resumed = ("another service is active: this one is a standby now", "event log can be used again")
    assert sum(told[line] for line in resumed), "the paused one finds that it is no longer the active one"
    assert told["decisions"] > 100


def take_over(
    folder: Path, bundle: Path, plan: list[Takeover], seed: int, pause_seconds: float = 0.0
) -> tuple[Pair, Counter[str]]:
    """Let two services live by a plan, and prove what they wrote; callers rest between their calls."""
    for name in ("one", "two"):
        publish(folder / name, bundle, "1")
    pair, callers = live_as_pair(folder, plan, seed, pause_seconds)
    return pair, prove(pair.folder, pair, callers)


@pytest.mark.slow
@only_postgres
def test_however_often_a_standby_takes_over_nothing_is_lost_or_changed(tmp_path: Path, bundle: Path) -> None:
    plan = draw_takeovers(TAKEOVERS, ANSWERS_PER_LIFE // 2, SEED)
    pair, told = take_over(tmp_path, bundle, plan, SEED)
    print(f"\n{TAKEOVERS} takeovers, seed {SEED}: {dict(sorted(told.items()))}")
    for is_pause in (False, True):
        waits = [each.seconds for each in pair.takeovers if each.is_pause == is_pause]
        seconds = np.quantile(waits, [0.5, 1.0])
        print(f"{'paused' if is_pause else 'killed'}: {seconds.round(2)} s until the other one scores")
    assert len(pair.takeovers) == TAKEOVERS
    # The others were services that lost their lock and had it again before they were standbys.
    assert told["took over as active service"] > TAKEOVERS / 2
    assert told["another service is active: this one is a standby now"] > TAKEOVERS / 8
    assert told["decisions"] > TAKEOVERS * ANSWERS_PER_LIFE / 8
    for what in WHAT:
        assert told[what] >= TAKEOVERS // 2, what


@pytest.mark.parametrize(
    ("count", "answers"), [(3, 15), pytest.param(SWAPS, ANSWERS_PER_SWAP, marks=pytest.mark.slow)]
)
def test_models_are_swapped_and_corrupt_ones_refused_while_no_call_fails(
    tmp_path: Path, bundle: Path, other_bundle: Path, count: int, answers: int
) -> None:
    """One in five of the models that are published under load is corrupt."""
    publish(tmp_path, bundle, "0")
    corrupt = count // 5 or 1
    planned = [True] * corrupt + [False] * (count - corrupt - 1)
    spoilt = [*np.random.default_rng(SEED).permutation(planned), False]
    good, bad, scoring = cycle((other_bundle, bundle)), cycle(DAMAGES), ["0"]
    with called(tmp_path, UNDISTURBED, SEED) as (service, callers):
        for number, is_spoilt in enumerate(spoilt, start=1):
            wait_for_answers(service, callers, answers)
            damage = next(bad) if is_spoilt else None
            swap(service, bundle if is_spoilt else next(good), number, damage)
            scoring += [] if is_spoilt else [str(number)]
            told = httpx.get(f"{service.url}/health/ready").raise_for_status().json()
            assert told["model"]["version"] == scoring[-1]
            assert [DAMAGES[damage] in warning for warning in told["warnings"]] == [True] * bool(damage)
        code, output = run(tmp_path, "serve", "--port", "0")  # a second service on the directory
        assert (code, output.count("\n")) == (2, 1)
        assert "another process uses this state directory" in output
        wait_for_answers(service, callers, answers)
    assert sum(caller.done["no answer"] for caller in callers) == 0
    told = prove(tmp_path, service, callers)
    assert (told["model loaded"], told["model refused"]) == (count - corrupt, corrupt)
    models = groupby(getattr(event, "model", "") for event in entries(tmp_path, "decision"))
    assert [model for model, _ in models] == [f"nps-risk/{version}" for version in scoring]


def swap(service: Service, bundle: Path, number: int, damage: Damage | None) -> None:
    release = place(service.folder, bundle, str(number))
    if damage is not None:
        damage(release)
    point_to(service.folder, release)
    service.look()
    end = time.monotonic() + LOOK_SECONDS
    while sum(line["event"] in ("model loaded", "model refused") for line in service.log_lines()) < number:
        assert time.monotonic() < end, "the service does not look at what was published"
        time.sleep(0.02)
