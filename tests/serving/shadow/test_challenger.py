"""A challenger in shadow scores what was decided as if it had decided."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.databases import reader_of
from support.examples import day, make_outcome
from support.serving_examples import Client, make_bundle, point_to, publish, serving, settings_in, vault_in
from support.site import Site, run, told

from consignments.records import Alert
from consignments.timestamps import to_us
from features.config import FeatureConfig
from models.bands import Bands
from models.bundle import load_bundle
from serving.event_log.reader import LogReader
from serving.maintenance.recomputation import DecisionFilter
from serving.scoring.loaded_model import ScoringMethod
from serving.shadow.challenger import Challenger, ShadowCounters, ShadowScore
from serving.shadow.report import DisagreementReport, measure_disagreement

GOODS = ("socks", "research chemical powder", "3-CMC, 100 g", "tea")


@pytest.fixture(scope="session")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model over the same features that was taught otherwise."""
    return make_bundle(tmp_path_factory.mktemp("challenger") / "bundle", FeatureConfig(), seed=11)


def live(client: Client, arrivals: int = 40) -> list[float]:
    """Arrivals, amendments, outcomes and an alert; gives the scores of the decisions in their order."""
    told = []
    client.send("/v1/alerts", Alert("A1", day(0), sender_name="Sender 1"))
    for number in range(arrivals):
        name = f"RB{number - number % 7 if number % 9 == 8 else number}"
        changes = {"sender_name": f"Sender {number % 5}", "description": GOODS[number % 4]}
        told.append(client.score(name, received_at=day(number / 4), **changes)["score"])
        if number % 6 == 5:
            client.send("/v1/outcomes", make_outcome(name, result="nps"))
    return told


class World(NamedTuple):
    """A log that a champion decided in, and its scores."""

    folder: Path
    log: LogReader
    champions: list[float]

    def challenge(self, bundle: Path) -> Challenger:
        method = ScoringMethod.from_bundle(load_bundle(bundle))
        return Challenger("nps-risk/2", method, "nps", self.log, vault_in(self.folder))


def score_all(challenger: Challenger) -> list[ShadowScore]:
    return list(challenger.score_decisions(DecisionFilter()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[World]:
    site = Site(tmp_path_factory.mktemp("champion"), bundle)
    with site.serve() as client:
        champions = live(client)
    with reader_of(site.folder) as log:
        yield World(site.folder, log, champions)


def test_it_scores_to_the_bit_what_it_would_have_answered_as_champion_and_disagreement_is_counted(
    world: World, challenger: Path, tmp_path: Path
) -> None:
    with Site(tmp_path / "other", challenger).serve() as client:
        as_champion = live(client)
    other = world.challenge(challenger)
    other.method.judge.bands = Bands(high=0.2, elevated=0.1)
    opinions = score_all(other)
    assert [opinion.score for opinion in opinions] == as_champion
    assert [opinion.champion_score for opinion in opinions] == world.champions
    assert as_champion != world.champions
    begins, ends = opinions[10].scored_at, opinions[20].scored_at
    of_period = world.challenge(challenger).score_decisions(DecisionFilter(to_us(begins), to_us(ends)))
    expected = [each.decision_id for each in opinions if begins <= each.scored_at < ends]
    assert [each.decision_id for each in of_period] == expected
    assert any(opinion.band != opinion.champion_band for opinion in opinions)


def test_a_score_that_is_no_probability_fails_alone(world: World, bundle: Path) -> None:
    failing = world.challenge(bundle)
    score, named = failing.method.judge.score, failing.method.judge.spec.get_column("goods.names_specific")

    def fail(X: Any, channels: Any) -> Any:
        return np.where(X[:, named] > 0, np.nan, score(X, channels))

    failing.method.judge.score = fail  # type: ignore[method-assign]
    assert len(score_all(failing)) == 30
    assert (failing.tally.scored, failing.tally.failed) == (30, 10)


def test_one_with_other_keys_of_history_scores_as_if_it_had_decided(
    world: World, other_bundle: Path, tmp_path: Path
) -> None:
    with Site(tmp_path / "other", other_bundle).serve() as client:
        as_champion = live(client)
    other = world.challenge(other_bundle)
    assert [each.score for each in score_all(other)] == as_champion
    assert (other.tally.unfit, other.tally.scored) == (0, 40)


def test_what_the_rules_decided_is_scored_too(tmp_path: Path, bundle: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        live(client, 8)
    with reader_of(tmp_path) as log:
        after_rules = World(tmp_path, log, []).challenge(bundle)
        score_all(after_rules)
    assert (after_rules.tally.scored, after_rules.tally.unfit) == (8, 0)


def in_shadow(state_dir: Path, bundle: Path, version: str) -> Path:
    current = (state_dir / "models" / "current.json").read_bytes()
    folder = publish(state_dir, bundle, version, approved=False)
    (state_dir / "models" / "current.json").rename(state_dir / "models" / "shadow.json")
    (state_dir / "models" / "current.json").write_bytes(current)
    return folder


def test_the_service_names_the_challenger_that_nobody_approved_and_never_lets_it_decide(
    client: Client, tmp_path: Path, challenger: Path
) -> None:
    folder = in_shadow(tmp_path, challenger, "2")
    told = client.read("/v1/model")["challenger"]
    assert told == {"name": "nps-risk", "version": "2", "approved": False}
    (tmp_path / "models" / "shadow.json").write_text("nonsense")
    assert client.read("/v1/model")["challenger"] is None
    client.score("RB1")
    point_to(tmp_path, folder)
    client.look()
    assert "a model without a promotion record" in client.read("/health/ready")["warnings"][0]
    assert client.read("/v1/model")["version"] == "1"


def test_the_command_reports_the_challenger_in_words_and_as_json(world: World, challenger: Path) -> None:
    code, output = run(world.folder, "shadow")
    assert (code, output.count("\n"), "no such challenger is published" in output) == (2, 1, True)
    in_shadow(world.folder, challenger, "2")
    code, output = run(world.folder, "shadow")
    assert (code, "nps-risk/2 in shadow: 40 decisions scored" in output) == (0, True), output
    values = told(world.folder, "shadow", "--model", "nps-risk/1")
    assert (values["other_band"], values["tally"]["scored"]) == (0, 40)
    assert values["rank_correlation"] == pytest.approx(1)
    assert "No decisions in this period" in run(world.folder, "shadow", "--from", "2999-01-01")[1]


SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
BANDS = ["high", "elevated", *["routine"] * 8]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A log with two outcomes: RB0 is a find, RB9 is clear, RB5 is not known yet."""
    made = Site(tmp_path_factory.mktemp("state"), bundle)
    with made.serve() as client:
        for number in range(10):
            client.score(f"RB{number}")
        found = (("RB0", "clear", 10), ("RB0", "nps", 12), ("RB9", "clear", 10), ("RB5", "pending", 10))
        for name, result, when in found:
            client.send("/v1/outcomes", make_outcome(name, result=result, known_at=day(when)))
    return made.folder


def report(state: Path, scores: list[float], bands: list[str]) -> DisagreementReport:
    """Report on a challenger's scores of RB0 to RB9, whose champion's scores fall from RB0 on."""
    decided = zip(SCORES, BANDS, scores, bands, strict=True)
    opinions = [
        ShadowScore(f"log-{n}", f"RB{n}", day(n), "nps-risk/1", *each) for n, each in enumerate(decided)
    ]
    with reader_of(state) as log:
        return measure_disagreement(log, "nps-risk/2", "nps", ShadowCounters(scored=10, unfit=3), opinions)


def test_who_says_the_contrary_is_shown_and_who_agrees_in_everything_has_nothing_to_show(state: Path) -> None:
    same = report(state, SCORES, BANDS)
    assert (same.decisions, same.other_band, same.rank_correlation) == (10, 0, pytest.approx(1))
    assert ([(each.taken, each.common) for each in same.capacities], same.examples) == ([(1, 1)] * 3, [])
    constant = report(state, [0.5] * 10, BANDS)
    assert constant.rank_correlation is None
    assert "one of the scores is constant" in constant.to_text()
    found = report(state, SCORES[::-1], BANDS[::-1])
    for words in ("another band: 4 (40.00%)", "3 without content"):
        assert words in found.to_text()
    assert found.other_band == 4
    assert found.bands["high"] == {"high": 0, "elevated": 0, "routine": 1}
    assert found.bands["routine"] == {"high": 1, "elevated": 1, "routine": 6}
    assert found.rank_correlation == pytest.approx(-1)
    assert {each.consignment_id for each in found.examples[:2]} == {"RB0", "RB9"}
    least = found.capacities[0]
    assert (least.taken, least.common) == (1, 0)
    assert least.opened == {"both": 0, "champion alone": 1, "challenger alone": 1}
    assert least.found == {"both": 0, "champion alone": 1, "challenger alone": 0}
