"""The disagreement report: counted on opinions written by hand, and over what the service and a challenger wrote."""

from pathlib import Path

import pytest
from support.databases import reader_of
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import publish, serving, settings_in

from serving.shadow.challenger import ShadowCounters, ShadowScore
from serving.shadow.report import DisagreementReport, measure_disagreement

SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
BANDS = ["high", "elevated", *["routine"] * 8]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A log with two outcomes: RB0 is a find, RB9 is clear, RB5 is not known yet."""
    tmp_path = tmp_path_factory.mktemp("state")
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        for number in range(10):
            client.post("/v1/scores", make_consignment(f"RB{number}"))
        client.post("/v1/outcomes", make_outcome("RB0", result="clear"))
        client.post("/v1/outcomes", make_outcome("RB0", result="nps", known_at=day(12)))
        client.post("/v1/outcomes", make_outcome("RB9", result="clear"))
        client.post("/v1/outcomes", make_outcome("RB5", result="pending"))
    return tmp_path


def report(state: Path, scores: list[float], bands: list[str]) -> DisagreementReport:
    """Report on a challenger's scores of RB0 to RB9, whose champion's scores fall from RB0 on."""
    decided = zip(SCORES, BANDS, scores, bands, strict=True)
    opinions = [
        ShadowScore(number + 1, f"RB{number}", 1_000_000 * number, "nps-risk/1", *each)
        for number, each in enumerate(decided)
    ]
    log = reader_of(state)
    found = measure_disagreement(log, "nps-risk/2", "nps", ShadowCounters(scored=10, unfit=3), opinions)
    log.close()
    return found


def test_who_agrees_in_everything_has_nothing_to_show(state: Path) -> None:
    found = report(state, SCORES, BANDS)
    assert (found.decisions, found.other_band, found.rank_correlation) == (10, 0, pytest.approx(1))
    assert [(each.taken, each.common) for each in found.capacities] == [(1, 1)] * 3
    assert found.examples == []


def test_who_says_the_contrary_is_shown(state: Path) -> None:
    found = report(state, SCORES[::-1], BANDS[::-1])
    assert "another band: 4 (40.00%)" in found.to_text()
    assert "3 with other history keys" in found.to_text()
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
    found = report(state, [0.5] * 10, BANDS)
    assert found.rank_correlation is None
    assert "one of the scores is constant" in found.to_text()
