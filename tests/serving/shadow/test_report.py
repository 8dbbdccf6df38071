"""The disagreement report: counted on opinions written by hand, and over what the service and a challenger wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.databases import reader_of, state_environment
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import publish, serving, settings_in

from npsrisk import main
from serving.shadow.report import DisagreementReport, measure_disagreement
from serving.shadow.store import ShadowCounters, ShadowLog, ShadowScore

SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
BANDS = ["high", "elevated", *["routine"] * 8]


@pytest.fixture
def state(tmp_path: Path, bundle: Path) -> Path:
    """A log with two outcomes: RB0 is a find, RB9 is clear, RB5 is not known yet."""
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        for number in range(10):
            client.post("/v1/scores", make_consignment(f"RB{number}"))
        client.post("/v1/outcomes", make_outcome("RB0", result="clear"))
        client.post("/v1/outcomes", make_outcome("RB0", result="nps", known_at=day(12)))
        client.post("/v1/outcomes", make_outcome("RB9", result="clear"))
        client.post("/v1/outcomes", make_outcome("RB5", result="pending"))
    return tmp_path


def write(state: Path, scores: list[float], bands: list[str], model: str = "nps-risk/2") -> None:
    """Write what a challenger said of RB0 to RB9, whose champion's scores fall from RB0 on."""
    log = reader_of(state)
    with ShadowLog(state, log.log_id) as shadow_log:
        me = shadow_log.register(model, "0" * 64, "nps", 0)
        opinions = [
            ShadowScore(
                number + 1,
                f"RB{number}",
                1_000_000 * number,
                "nps-risk/1",
                SCORES[number],
                BANDS[number],
                score,
                band,
            )
            for number, (score, band) in enumerate(zip(scores, bands, strict=True))
        ]
        shadow_log.add(me.number, opinions, 10, ShadowCounters(scored=10, dropped=3))
    log.close()


def report(
    state: Path, model: str | None = None, from_us: int = 0, until_us: int = 2**62
) -> DisagreementReport:
    log = reader_of(state)
    with ShadowLog(state, log.log_id) as shadow_log:
        found = measure_disagreement(log, shadow_log, model, from_us, until_us)
    log.close()
    return found


def test_who_agrees_in_everything_has_nothing_to_show(state: Path) -> None:
    write(state, SCORES, BANDS)
    found = report(state)
    assert (found.decisions, found.other_band, found.rank_correlation) == (10, 0, pytest.approx(1))
    assert [(each.taken, each.common) for each in found.capacities] == [(1, 1)] * 3
    assert found.examples == []


def test_who_says_the_contrary_is_shown(state: Path) -> None:
    write(state, SCORES[::-1], BANDS[::-1])
    found = report(state)
    assert found.other_band == 4
    assert found.bands["high"] == {"high": 0, "elevated": 0, "routine": 1}
    assert found.bands["routine"] == {"high": 1, "elevated": 1, "routine": 6}
    assert found.rank_correlation == pytest.approx(-1)
    assert {each.consignment_id for each in found.examples[:2]} == {"RB0", "RB9"}
    least = found.capacities[0]
    assert (least.taken, least.common) == (1, 0)
    assert least.opened == {"both": 0, "champion alone": 1, "challenger alone": 1}
    assert least.found == {"both": 0, "champion alone": 1, "challenger alone": 0}


def test_equal_scores_share_their_rank(state: Path) -> None:
    write(state, [0.5] * 10, BANDS)
    assert report(state).rank_correlation is None
    assert "one of the scores is constant" in report(state).to_text()


def test_a_time_and_a_challenger_can_be_chosen(state: Path) -> None:
    write(state, SCORES, BANDS)
    write(state, SCORES[::-1], BANDS, model="nps-risk/3")
    assert report(state).challenger == "nps-risk/3"
    found = report(state, "nps-risk/2", from_us=2_000_000, until_us=5_000_000)
    assert (found.challenger, found.decisions) == ("nps-risk/2", 3)
    assert "No decisions in this period" in report(state, from_us=2**61).to_text()


def call(state: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["shadow", *words], env=state_environment(state))
    return done.exit_code, done.output


def test_the_command_tells_it_in_words_and_as_json(state: Path) -> None:
    write(state, SCORES[::-1], BANDS[::-1])
    code, told = call(state, "--from", "1970-01-01")
    assert code == 0
    assert "another band: 4 (40.00%)" in told
    assert "3 log entries skipped" in told
    _, told = call(state, "--json")
    values: dict[str, Any] = json.loads(told.splitlines()[-1])
    assert (values["other_band"], values["tally"]["scored"], values["capacities"][0]["common"]) == (4, 10, 0)


def test_the_command_says_that_no_challenger_scored(state: Path) -> None:
    code, told = call(state)
    assert (code, told.count("\n")) == (2, 1)
    assert "no such challenger ever scored in shadow mode" in told
