"""A challenger in shadow scores what was decided as if it had decided, and never slows or fails an answer."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.databases import reader_of
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import (
    Client,
    make_bundle,
    point_to,
    publish,
    running,
    serving,
    settings_in,
    vault_in,
)

from consignments.errors import BundleRefused, ServiceFault
from consignments.records import Alert
from features.config import FeatureConfig
from models.bands import Bands
from models.bundle import load_bundle
from serving.scoring.loaded_model import LoadedModel
from serving.scoring.past_models import PastModels
from serving.scoring.scoring_method import ScoringMethod
from serving.shadow.store import ShadowLog
from serving.shadow.worker import Follower

GOODS = ("socks", "research chemical powder", "3-CMC, 100 g", "tea")
WAIT_SECONDS = 240


@pytest.fixture(scope="session")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model over the same features that was taught otherwise."""
    return make_bundle(tmp_path_factory.mktemp("challenger") / "bundle", FeatureConfig(), seed=11)


def live(client: Client, arrivals: int = 40) -> list[float]:
    """Arrivals, amendments, outcomes and an alert; gives the scores of the decisions in their order."""
    told = []
    client.post("/v1/alerts", Alert("A1", day(0), sender_name="Sender 1"))
    for number in range(arrivals):
        name = f"RB{number - number % 7 if number % 9 == 8 else number}"
        c = make_consignment(
            name,
            received_at=day(number / 4),
            sender_name=f"Sender {number % 5}",
            description=GOODS[number % 4],
        )
        told.append(client.post("/v1/scores", c).json()["score"])
        if number % 6 == 5:
            client.post("/v1/outcomes", make_outcome(name, result="nps"))
    return told


class World:
    """A log that a champion decided in, and what a follower of it needs."""

    def __init__(self, folder: Path, champion: Path, arrivals: int = 40) -> None:
        self.folder = folder
        publish(folder, champion, "1")
        with serving(settings_in(folder)) as client:
            self.champions = live(client, arrivals)
        self.log = reader_of(folder)
        self.shadow_log = ShadowLog(folder, self.log.log_id)
        self.model = LoadedModel(
            "nps-risk/2",
            ScoringMethod.from_bundle(load_bundle(champion)),
            vault_in(folder),
        )

    def follow(self, bundle: Path) -> Follower:
        """Follow it from its start with the model of a bundle."""
        method = ScoringMethod.from_bundle(load_bundle(bundle))
        model = LoadedModel("nps-risk/2", method, vault_in(self.folder))
        self.shadow_log.register(model.name, model.sha256, "nps", 0)
        return Follower(model, "nps", self.log, PastModels(self.folder, _no_mlflow), self.shadow_log)

    def opinions(self) -> list[Any]:
        return self.shadow_log.read_scores(self.shadow_log.list_challengers()[-1].number, 0, 2**62)


def _no_mlflow(*_: str) -> Any:
    raise BundleRefused("not looked for")


@pytest.fixture
def world(tmp_path: Path, bundle: Path) -> Iterator[World]:
    made = World(tmp_path / "champion", bundle)
    yield made
    made.shadow_log.close()
    made.log.close()


def all_of(follower: Follower) -> None:
    while follower.process_batch():
        pass


def test_it_scores_to_the_bit_what_it_would_have_answered_as_champion(
    world: World, challenger: Path, tmp_path: Path
) -> None:
    publish(tmp_path / "other", challenger, "1")
    with serving(settings_in(tmp_path / "other")) as client:
        as_champion = live(client)
    all_of(world.follow(challenger))
    assert [opinion.score for opinion in world.opinions()] == as_champion
    assert [opinion.champion_score for opinion in world.opinions()] == world.champions
    assert as_champion != world.champions


def test_the_same_model_agrees_with_itself(world: World, bundle: Path) -> None:
    follower = world.follow(bundle)
    all_of(follower)
    assert [opinion.score for opinion in world.opinions()] == world.champions
    assert (follower.tally.scored, follower.tally.disagreed) == (40, 0)


def test_another_model_disagrees_and_that_is_counted(world: World, challenger: Path) -> None:
    follower = world.follow(challenger)
    follower.model.risk.bands = Bands(high=0.2, elevated=0.1)
    all_of(follower)
    disagreed = sum(opinion.band != opinion.champion_band for opinion in world.opinions())
    assert follower.tally.disagreed == disagreed > 0
    assert world.shadow_log.list_challengers()[-1].tally == follower.tally


def test_a_challenger_that_raises_fails_alone(world: World, bundle: Path) -> None:
    follower = world.follow(bundle)
    score = follower.model.risk.score

    def fail_now_and_then(X: Any, channels: Any) -> Any:
        if X[0, follower.model.spec.get_column("goods.names_specific")]:
            raise ValueError("as a challenger might")
        return score(X, channels)

    follower.model.risk.score = fail_now_and_then  # type: ignore[method-assign]
    all_of(follower)
    assert (follower.tally.scored, follower.tally.failed) == (30, 10)
    assert len(world.opinions()) == 30


@pytest.mark.parametrize("number", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_a_failure(world: World, bundle: Path, number: float) -> None:
    follower = world.follow(bundle)
    follower.model.risk.score = lambda *_: np.array([number])  # type: ignore[method-assign]
    all_of(follower)
    assert (follower.tally.failed, world.opinions()) == (40, [])


def test_a_challenger_that_is_too_slow_passes_over_the_oldest_and_counts_them(
    world: World, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.shadow.worker.MAX_LAG_ENTRIES", 10)
    monkeypatch.setattr("serving.shadow.worker.BATCH_ENTRIES", 4)
    follower = world.follow(bundle)
    last = world.log.last_sequence
    assert (follower.process_batch(), follower.tally.dropped, follower.sequence) == (6, last - 10, last - 6)
    all_of(follower)
    assert follower.sequence == last
    assert [opinion.sequence for opinion in world.opinions()] == [
        event.sequence for event in world.log.read_events(after=last - 10, kinds=("decision",))
    ]


def test_one_that_counts_other_keys_of_history_scores_nothing_and_says_so(
    world: World, other_bundle: Path
) -> None:
    follower = world.follow(other_bundle)
    all_of(follower)
    assert (follower.tally.unfit, follower.tally.scored) == (40, 0)


def test_what_the_rules_decided_is_scored_too(tmp_path: Path, bundle: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        live(client, 8)
    made = World.__new__(World)
    made.folder = tmp_path
    made.log = reader_of(tmp_path)
    with ShadowLog(tmp_path, made.log.log_id) as made.shadow_log:
        follower = made.follow(bundle)
        all_of(follower)
    made.log.close()
    assert (follower.tally.scored, follower.tally.unfit) == (8, 0)


def test_it_goes_on_where_it_stopped_and_a_new_one_begins_at_the_end(world: World, challenger: Path) -> None:
    all_of(world.follow(challenger))
    again = world.follow(challenger)
    all_of(again)
    assert again.tally.scored == 0
    fresh = world.shadow_log.register("nps-risk/3", "0" * 64, "nps", world.log.read_last_sequence())
    assert fresh.position == world.log.last_sequence


def test_what_is_old_is_dropped(world: World, bundle: Path) -> None:
    follower = world.follow(bundle)
    all_of(follower)
    scored_us = world.opinions()[0].scored_us
    follower.delete_expired(scored_us + 90 * 86_400_000_000)
    assert len(world.opinions()) == 40
    follower.delete_expired(scored_us + 90 * 86_400_000_000 + 1)
    assert world.opinions() == []


def test_no_name_of_anybody_is_in_its_log(world: World, bundle: Path) -> None:
    all_of(world.follow(bundle))
    written = b"".join(path.read_bytes() for path in world.folder.glob("shadow.db*"))
    assert b"nps-risk" in written
    assert b"Sender" not in written


def test_a_log_of_the_shadow_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "shadow.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(
        ServiceFault, match=r"shadow.db: the store of the challenger's scores cannot be used.*delete the file"
    ):
        ShadowLog(tmp_path, "log")


# The process beside the service


def in_shadow(state_dir: Path, bundle: Path, version: str) -> Path:
    """Publish a challenger that nobody approved."""
    current = (state_dir / "models" / "current.json").read_bytes()
    folder = publish(state_dir, bundle, version, approved=False)
    (state_dir / "models" / "current.json").rename(state_dir / "models" / "shadow.json")
    (state_dir / "models" / "current.json").write_bytes(current)
    return folder


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def ask(client: httpx.Client, first: int, count: int) -> None:
    for number in range(first, first + count):
        response = client.post("/v1/scores", json={"consignment_id": f"RB{number}", "channel": "postal"})
        assert response.status_code == 200


def child_of(process: "subprocess.Popen[bytes]") -> int | None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return int(children[0]) if children else None


def test_beside_the_service_it_scores_and_whatever_becomes_of_it_the_answers_go_on(
    tmp_path: Path, bundle: Path, challenger: Path
) -> None:
    publish(tmp_path, bundle, "1")
    in_shadow(tmp_path, challenger, "2")
    with running(tmp_path) as (process, url), httpx.Client(base_url=url) as client:
        told = client.get("/v1/model").json()["challenger"]
        assert told == {"name": "nps-risk", "version": "2", "approved": False}
        until(lambda: b"challenger started in shadow mode" in in_its_log(tmp_path))
        ask(client, 0, 30)
        until(lambda: metric(client, "npsrisk_shadow_scored_total") == 30)
        first = child_of(process)
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        ask(client, 30, 30)
        os.kill(first, signal.SIGKILL)
        ask(client, 60, 30)
        until(lambda: metric(client, "npsrisk_shadow_scored_total") == 90)
        assert metric(client, "npsrisk_shadow_restarts_total") == 1
        second = child_of(process)
        process.kill()
    assert second not in (None, first)
    until(lambda: not Path(f"/proc/{second}").exists())


def in_its_log(folder: Path) -> bytes:
    """Whether the follower has begun, which it notes in its log."""
    path = folder / "shadow.db"
    if not path.exists() or not path.stat().st_size:
        return b""
    log = reader_of(folder)
    with ShadowLog(folder, log.log_id) as shadow_log:
        begun = bool(shadow_log.list_challengers())
    log.close()
    return b"challenger started in shadow mode" if begun else b""


def test_one_that_cannot_be_used_is_told_once_and_nothing_else_suffers(
    client: Client, tmp_path: Path, challenger: Path
) -> None:
    trees = in_shadow(tmp_path, challenger, "2") / "bundle" / "trees.txt"
    trees.write_text(trees.read_text() + " ")

    def ended() -> bool:
        client.look()
        return client.service.shadow.process is None

    until(ended)
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert "the challenger does not score: " in ready.json()["warnings"][0]
    client.look()
    assert client.service.shadow.process is None
    assert client.post("/v1/scores", make_consignment()).status_code == 200
    (tmp_path / "models" / "shadow.json").unlink()
    client.look()
    assert client.get("/health/ready").json()["warnings"] == []
    assert client.get("/v1/model").json()["challenger"] is None


@pytest.mark.parametrize("name", ["approvers.toml", "models/shadow.json"])
def test_a_challenger_comes_back_when_a_broken_file_is_corrected(
    client: Client, tmp_path: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shadow = client.service.shadow
    monkeypatch.setattr(shadow, "_start", lambda: None)
    in_shadow(tmp_path, challenger, "2")
    if "shadow" in name:
        shadow.poll()
    good = (tmp_path / name).read_bytes()
    (tmp_path / name).write_text("nonsense")
    for _ in range(2):
        shadow.poll()
        assert shadow.release is None
        assert str(tmp_path / name) in (shadow.fault or "")
    (tmp_path / name).write_bytes(good)
    shadow.poll()
    assert shadow.fault is None
    assert shadow.release is not None


def test_what_nobody_approved_never_decides(client: Client, tmp_path: Path, challenger: Path) -> None:
    point_to(tmp_path, in_shadow(tmp_path, challenger, "2"))
    (tmp_path / "models" / "shadow.json").unlink()
    client.look()
    assert "a model without a promotion record" in client.get("/health/ready").json()["warnings"][0]
    assert client.get("/v1/model").json()["version"] == "1"
