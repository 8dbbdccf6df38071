"""A challenger in shadow scores what was decided as if it had decided."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.databases import reader_of, state_environment
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, make_bundle, point_to, publish, serving, settings_in, vault_in

from consignments.errors import BundleRefused
from consignments.records import Alert
from features.config import FeatureConfig
from models.bands import Bands
from models.bundle import load_bundle
from npsrisk import main
from serving.scoring.loaded_model import LoadedModel, PastModels, ScoringMethod
from serving.shadow.challenger import Challenger, ShadowScore

GOODS = ("socks", "research chemical powder", "3-CMC, 100 g", "tea")


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
    """A log that a champion decided in."""

    def __init__(self, folder: Path, champion: Path) -> None:
        self.folder = folder
        publish(folder, champion, "1")
        with serving(settings_in(folder)) as client:
            self.champions = live(client)
        self.log = reader_of(folder)

    def challenge(self, bundle: Path) -> Challenger:
        """Follow it with the model of a bundle."""
        method = ScoringMethod.from_bundle(load_bundle(bundle))
        model = LoadedModel("nps-risk/2", method, vault_in(self.folder))
        return Challenger(model, "nps", self.log, PastModels(self.folder, _no_mlflow))


def score_all(challenger: Challenger) -> list[ShadowScore]:
    return list(challenger.score_decisions(0, sys.maxsize))


def _no_mlflow(*_: str) -> Any:
    raise BundleRefused("not looked for")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("champion"), bundle)
    yield made
    made.log.close()


def test_it_scores_to_the_bit_what_it_would_have_answered_as_champion(
    world: World, challenger: Path, tmp_path: Path
) -> None:
    publish(tmp_path / "other", challenger, "1")
    with serving(settings_in(tmp_path / "other")) as client:
        as_champion = live(client)
    opinions = score_all(world.challenge(challenger))
    assert [opinion.score for opinion in opinions] == as_champion
    assert [opinion.champion_score for opinion in opinions] == world.champions
    assert as_champion != world.champions


def test_the_same_model_agrees_with_itself(world: World, bundle: Path) -> None:
    same = world.challenge(bundle)
    assert [opinion.score for opinion in score_all(same)] == world.champions
    assert (same.tally.scored, same.tally.disagreed) == (40, 0)


def test_another_model_disagrees_and_that_is_counted(world: World, challenger: Path) -> None:
    other = world.challenge(challenger)
    other.model.risk.bands = Bands(high=0.2, elevated=0.1)
    disagreed = sum(opinion.band != opinion.champion_band for opinion in score_all(other))
    assert other.tally.disagreed == disagreed > 0


def test_a_challenger_that_raises_fails_alone(world: World, bundle: Path) -> None:
    failing = world.challenge(bundle)
    score = failing.model.risk.score

    def fail_now_and_then(X: Any, channels: Any) -> Any:
        if X[0, failing.model.spec.get_column("goods.names_specific")]:
            raise ValueError("as a challenger might")
        return score(X, channels)

    failing.model.risk.score = fail_now_and_then  # type: ignore[method-assign]
    assert len(score_all(failing)) == 30
    assert (failing.tally.scored, failing.tally.failed) == (30, 10)


@pytest.mark.parametrize("number", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_a_failure(world: World, bundle: Path, number: float) -> None:
    failing = world.challenge(bundle)
    failing.model.risk.score = lambda *_: np.array([number])  # type: ignore[method-assign]
    assert (score_all(failing), failing.tally.failed) == ([], 40)


def test_one_that_counts_other_keys_of_history_scores_nothing_and_says_so(
    world: World, other_bundle: Path
) -> None:
    other = world.challenge(other_bundle)
    assert score_all(other) == []
    assert (other.tally.unfit, other.tally.scored) == (40, 0)


def test_only_the_decisions_of_a_period_are_scored(world: World, bundle: Path) -> None:
    every = score_all(world.challenge(bundle))
    begins, ends = every[10].scored_us, every[20].scored_us
    chosen = list(world.challenge(bundle).score_decisions(begins, ends))
    assert chosen == [each for each in every if begins <= each.scored_us < ends]


def test_what_the_rules_decided_is_scored_too(tmp_path: Path, bundle: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        live(client, 8)
    made = World.__new__(World)
    made.folder = tmp_path
    made.log = reader_of(tmp_path)
    after_rules = made.challenge(bundle)
    score_all(after_rules)
    made.log.close()
    assert (after_rules.tally.scored, after_rules.tally.unfit) == (8, 0)


def in_shadow(state_dir: Path, bundle: Path, version: str) -> Path:
    """Publish a challenger that nobody approved."""
    current = (state_dir / "models" / "current.json").read_bytes()
    folder = publish(state_dir, bundle, version, approved=False)
    (state_dir / "models" / "current.json").rename(state_dir / "models" / "shadow.json")
    (state_dir / "models" / "current.json").write_bytes(current)
    return folder


def test_the_service_names_the_challenger_and_nothing_suffers_from_a_broken_one(
    client: Client, tmp_path: Path, challenger: Path
) -> None:
    in_shadow(tmp_path, challenger, "2")
    told = client.get("/v1/model").json()["challenger"]
    assert told == {"name": "nps-risk", "version": "2", "approved": False}
    (tmp_path / "models" / "shadow.json").write_text("nonsense")
    assert client.get("/v1/model").json()["challenger"] is None
    assert client.post("/v1/scores", make_consignment()).status_code == 200


def test_what_nobody_approved_never_decides(client: Client, tmp_path: Path, challenger: Path) -> None:
    point_to(tmp_path, in_shadow(tmp_path, challenger, "2"))
    (tmp_path / "models" / "shadow.json").unlink()
    client.look()
    assert "a model without a promotion record" in client.get("/health/ready").json()["warnings"][0]
    assert client.get("/v1/model").json()["version"] == "1"


def shadow(state: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["shadow", *words], env=state_environment(state))
    return done.exit_code, done.output


def test_the_command_reports_the_published_challenger_in_words_and_as_json(
    world: World, challenger: Path
) -> None:
    code, told = shadow(world.folder)
    assert (code, told.count("\n")) == (2, 1)
    assert "no such challenger is published" in told
    in_shadow(world.folder, challenger, "2")
    code, told = shadow(world.folder)
    assert code == 0, told
    assert "nps-risk/2 in shadow: 40 decisions scored" in told
    _, told = shadow(world.folder, "--model", "nps-risk/1", "--json")
    values: dict[str, Any] = json.loads(told.splitlines()[-1])
    assert (values["other_band"], values["tally"]["scored"]) == (0, 40)
    assert values["rank_correlation"] == pytest.approx(1)
    assert "No decisions in this period" in shadow(world.folder, "--from", "2999-01-01")[1]
