"""The service's clock never goes back, whatever the system's does."""

import re

import pytest
from support.examples import day, make_outcome
from support.serving_examples import refused, scored
from support.site import Site

from consignments.errors import ServiceFault
from consignments.timestamps import US_PER_DAY, to_us
from serving.process.clock import MAX_JUMP_US, SteadyClock


class Times:
    """A system clock and the time since the machine was started, both in microseconds."""

    def __init__(self) -> None:
        self.system, self.elapsed = to_us(day(20)), 5_000
        self.clocks = (lambda: self.system), (lambda: self.elapsed)

    def set(self, days: float) -> None:
        self.system = to_us(day(days))

    def pass_by(self, us: int, jump: int = 0) -> None:
        self.system += us + jump
        self.elapsed += us


@pytest.fixture
def times() -> Times:
    return Times()


def test_a_jump_back_refuses_nothing_records_nothing_earlier_and_is_told(site: Site, times: Times) -> None:
    with site.serve(times.clocks[0]) as client:
        client.score("RB1", received_at=day(20))
        client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
        times.set(18.5)
        assert "129,600 s behind" in client.read("/health/ready")["warnings"][0]
        assert "npsrisk_clock_behind_seconds 129600.0" in client.get("/metrics").text
        client.score("RB2", received_at=day(20))
        undated = client.send("/v1/scores", {"consignment_id": "RB3", "channel": "postal"})
        assert undated["scored_at"] == "2024-03-24T09:00:00Z"
        client.send("/v1/outcomes", make_outcome("RB1", result="clear"))
        assert client.compute_features("RB4", received_at=day(20))["history.sender.nps_ever"] == 0
        times.set(20.5)
        assert client.read("/health/ready")["warnings"] == []
    recorded = [event.recorded_us or 0 for event in site.entries()]
    assert recorded == sorted(recorded)


def test_a_restart_with_a_clock_behind_goes_on_from_the_latest_entry(site: Site, times: Times) -> None:
    for days, latest in ((20, "2024-03-24"), (-9000, "2024-03-24"), (21, "2024-03-25")):
        times.set(days)
        with site.serve(times.clocks[0]) as client:
            assert client.score(f"RB{days}")["scored_at"] == f"{latest}T09:00:00Z"


@pytest.mark.parametrize(("days", "where"), [(400, "ahead of"), (-400, "behind")])
def test_a_jump_is_not_followed_and_ends_when_the_clock_is_back(times: Times, days: int, where: str) -> None:
    clock = SteadyClock(*times.clocks)
    begun = clock()
    times.pass_by(1_000, jump=MAX_JUMP_US)
    assert (clock() - begun, clock.jump_us) == (1_000 + MAX_JUMP_US, 0)
    times.pass_by(1_000, jump=days * US_PER_DAY)
    assert clock() - begun == 2_000 + MAX_JUMP_US
    told = rf"system clock is 34,560,000 s {where}.*npsrisk serve --accept-clock"
    assert re.search(told, str(clock.get_fault()))
    times.pass_by(1_000, jump=-days * US_PER_DAY)
    assert clock.get_fault() is None
    assert clock() - begun == 3_000 + MAX_JUMP_US


def test_slow_drift_is_followed_and_a_small_step_back_and_setting_it_right_are_no_jumps(times: Times) -> None:
    clock = SteadyClock(*times.clocks)
    for _ in range(10):
        times.pass_by(1_000, jump=MAX_JUMP_US // 2)
        assert clock() == times.system
    assert clock.get_fault() is None
    begun = clock()
    times.pass_by(1_000, jump=-MAX_JUMP_US)
    assert (clock(), clock.behind_seconds) == (begun, (MAX_JUMP_US - 1_000) / 1_000_000)
    times.pass_by(1_000, jump=MAX_JUMP_US)
    assert clock.get_fault() is None
    assert clock() == begun + 2_000


@pytest.mark.parametrize(
    ("any_days", "own_days", "refused"),
    [
        (0, 0, ""),
        (1, 7, ""),
        (1, 7.01, "7.0 days old"),
        (-0.04, 0.0, ""),
        (-0.05, 1, "4,320 s in the future"),
    ],
)
def test_a_start_far_away_needs_consent(times: Times, any_days: float, own_days: float, refused: str) -> None:
    """Imported entries keep the times of their tables, so only what the service recorded tells how long it was away."""
    any_us, own_us = (times.system - int(days * US_PER_DAY) if days else 0 for days in (any_days, own_days))
    clock = SteadyClock(*times.clocks)
    if refused:
        with pytest.raises(ServiceFault, match=refused):
            clock.start(any_us, own_us)
    clock.start(any_us, own_us, accepted=bool(refused))
    assert clock.get_fault() is None
    assert clock() == max(times.system, any_us)


def test_nothing_is_recorded_after_a_jump_until_a_start_accepts_it(site: Site, times: Times) -> None:
    with site.serve(*times.clocks) as client:
        assert scored(client, "RB1") == 200
        times.pass_by(1_000, jump=40 * US_PER_DAY)
        assert "npsrisk serve --accept-clock" in refused(client, "RB2")
        assert client.get("/v1/consignments/RB1").status_code == 200
        ready = client.get("/health/ready")
        assert (ready.status_code, "system clock" in ready.text) == (503, True)
        assert "npsrisk_clock_ahead_seconds 3.456e+06" in client.get("/metrics").text
    refusal = pytest.raises(ServiceFault, match=r"last entry of the log is 40.0 days old.*--accept-clock")
    with refusal, site.serve(*times.clocks):
        pass
    with site.serve(*times.clocks, accept_clock=True) as client:
        assert scored(client, "RB2") == 200
    assert site.entries()[-1].recorded_us == times.system
    times.pass_by(1_000, jump=-US_PER_DAY)
    with site.serve(*times.clocks, accept_clock=True) as client:
        assert scored(client, "RB3") == 200
    recorded = [event.recorded_us for event in site.entries()]
    assert recorded[-1] == recorded[-2], "it does not go back behind the last entry"
