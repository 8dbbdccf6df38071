"""The service's clock never goes back, whatever the system's does."""

from pathlib import Path

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import publish, refused, scored, serving, settings_in

from consignments.errors import ServiceFault
from consignments.timestamps import US_PER_DAY, to_us
from serving.process.clock import MAX_JUMP_US, SteadyClock


class Hands:
    """A system's clock that can be set."""

    def __init__(self, days: float) -> None:
        self.set(days)

    def set(self, days: float) -> None:
        self.us = to_us(day(days))

    def __call__(self) -> int:
        return self.us


def test_it_stands_still_until_the_other_has_caught_up_and_tells_how_far_that_is_behind() -> None:
    times = iter([10, 20, 15, 19, 21])
    clock = SteadyClock(lambda: next(times))
    assert [clock() for _ in range(5)] == [10, 20, 20, 20, 21]
    hands = Hands(20)
    clock = SteadyClock(hands)
    clock()
    assert clock.behind_seconds == 0
    hands.us -= 90_000_000
    assert clock.behind_seconds == 90


def test_a_clock_that_jumps_back_refuses_nothing_and_records_nothing_earlier(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    hands = Hands(20)
    with serving(settings_in(tmp_path), hands) as client:
        now = make_consignment("RB1", received_at=day(20))
        assert client.post("/v1/scores", now).status_code == 200
        client.post("/v1/outcomes", make_outcome("RB1", result="nps"))
        hands.set(18.5)
        assert client.post("/v1/scores", make_consignment("RB2", received_at=day(20))).status_code == 200
        undated = client.post("/v1/scores", {"consignment_id": "RB3", "channel": "postal"}).json()
        assert undated["scored_at"] == "2024-03-24T09:00:00Z"
        client.post("/v1/outcomes", make_outcome("RB1", result="clear"))
        told = client.post("/v1/scores?features=true", make_consignment("RB4", received_at=day(20))).json()
        assert told["features"]["history.sender.nps_ever"] == 0
        recorded = [event.recorded_us or 0 for event in client.service.log.read_events()]
        assert recorded == sorted(recorded)


def test_the_service_warns_until_the_clock_has_caught_up(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    hands = Hands(20)
    with serving(settings_in(tmp_path), hands) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        hands.set(19)
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert "86,400 s behind" in ready.json()["warnings"][0]
        assert "npsrisk_clock_behind_seconds 86400.0" in client.get("/metrics").text
        hands.set(20.5)
        assert client.get("/health/ready").json()["warnings"] == []


def test_a_restart_with_a_clock_that_is_behind_goes_on_from_the_latest_entry(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path), Hands(20)) as client:
        first = client.post("/v1/scores", make_consignment("RB1")).json()["scored_at"]
    with serving(settings_in(tmp_path), Hands(-9000)) as client:
        second = client.post("/v1/scores", make_consignment("RB2")).json()["scored_at"]
        assert second == first
    with serving(settings_in(tmp_path), Hands(21)) as client:
        third = client.post("/v1/scores", make_consignment("RB3")).json()["scored_at"]
        assert third == day(21).isoformat().replace("+00:00", "Z")


class Times:
    """A system clock and the time since the machine was started, both in microseconds."""

    def __init__(self) -> None:
        self.system, self.elapsed = to_us(day(20)), 5_000

    def pass_by(self, us: int, jump: int = 0) -> None:
        self.system += us + jump
        self.elapsed += us

    def make_clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.system, lambda: self.elapsed)


@pytest.mark.parametrize("days", [400, -400])
def test_a_jump_is_not_followed_and_ends_when_the_clock_is_back(days: int) -> None:
    times = Times()
    clock = times.make_clock()
    begun = clock()
    times.pass_by(1_000, jump=MAX_JUMP_US)
    assert (clock() - begun, clock.jump_us) == (1_000 + MAX_JUMP_US, 0)
    times.pass_by(1_000, jump=days * US_PER_DAY)
    assert clock() - begun == 2_000 + MAX_JUMP_US
    where = "ahead of" if days > 0 else "behind"
    with pytest.raises(
        ServiceFault, match=rf"system clock is 34,560,000 s {where}.*npsrisk serve --accept-clock"
    ):
        clock.check()
    times.pass_by(1_000, jump=-days * US_PER_DAY)
    clock.check()
    assert clock() - begun == 3_000 + MAX_JUMP_US


def test_slow_drift_is_followed_and_a_small_step_back_and_setting_it_right_are_no_jumps() -> None:
    times = Times()
    clock = times.make_clock()
    for _ in range(10):
        times.pass_by(1_000, jump=MAX_JUMP_US // 2)
        assert clock() == times.system
    assert clock.get_fault() is None
    begun = clock()
    times.pass_by(1_000, jump=-MAX_JUMP_US)
    assert clock() == begun
    times.pass_by(1_000, jump=MAX_JUMP_US)
    clock.check()
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
def test_a_start_far_from_the_last_entry_needs_acceptance(
    any_days: float, own_days: float, refused: str
) -> None:
    """Imported entries keep the times of their tables, so only what the service recorded tells how long it was away."""
    times = Times()
    any_us, own_us = (times.system - int(days * US_PER_DAY) if days else 0 for days in (any_days, own_days))
    clock = times.make_clock()
    if refused:
        with pytest.raises(ServiceFault, match=refused):
            clock.start(any_us, own_us)
    clock.start(any_us, own_us, accepted=bool(refused))
    clock.check()
    assert clock() == max(times.system, any_us)


def test_the_service_records_nothing_while_the_clock_has_jumped_and_a_start_accepts_it(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    times = Times()
    with serving(settings_in(tmp_path), lambda: times.system, lambda: times.elapsed) as client:
        assert scored(client, "RB1") == 200
        times.pass_by(1_000, jump=40 * US_PER_DAY)
        assert "npsrisk serve --accept-clock" in refused(client, "RB2")
        assert client.get("/v1/consignments/RB1").status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "system clock" in ready.text
        assert "npsrisk_clock_ahead_seconds 3.456e+06" in client.get("/metrics").text
    with (
        pytest.raises(ServiceFault, match=r"last entry of the log is 40.0 days old.*--accept-clock"),
        serving(settings_in(tmp_path), lambda: times.system, lambda: times.elapsed),
    ):
        pass
    with serving(
        settings_in(tmp_path), lambda: times.system, lambda: times.elapsed, accept_clock=True
    ) as client:
        assert scored(client, "RB2") == 200
        last = client.service.log.read_event(client.service.log.last_sequence)
        assert last.recorded_us == times.system
    times.pass_by(1_000, jump=-US_PER_DAY)
    with serving(
        settings_in(tmp_path), lambda: times.system, lambda: times.elapsed, accept_clock=True
    ) as client:
        assert scored(client, "RB3") == 200
        recorded = [event.recorded_us or 0 for event in client.service.log.read_events()]
        assert recorded[-1] == recorded[-2], "it does not go back behind the last entry"
