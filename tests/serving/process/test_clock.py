"""The service's clock never goes back, whatever the system's does."""

from pathlib import Path

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import publish, refused, scored, serving, settings_in

from consignments.errors import ServiceFault
from consignments.timestamps import to_us
from serving.process.clock import MAX_JUMP_US, MAX_START_GAP_US, SteadyClock
from serving.process.clock_acceptance import accept_clock, is_clock_accepted


class Hands:
    """A system's clock that can be set."""

    def __init__(self, days: float) -> None:
        self.set(days)

    def set(self, days: float) -> None:
        self.us = to_us(day(days))

    def __call__(self) -> int:
        return self.us


def test_it_stands_still_until_the_other_has_caught_up() -> None:
    times = iter([10, 20, 15, 19, 21])
    clock = SteadyClock(lambda: next(times))
    assert [clock() for _ in range(5)] == [10, 20, 20, 20, 21]


def test_it_tells_how_far_the_other_is_behind() -> None:
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


def test_a_jump_forward_is_not_followed_and_ends_when_the_clock_is_back() -> None:
    times = Times()
    clock = times.make_clock()
    begun = clock()
    times.pass_by(1_000, jump=MAX_JUMP_US)
    assert (clock() - begun, clock.ahead_us) == (1_000 + MAX_JUMP_US, 0)
    times.pass_by(1_000, jump=400 * 86_400_000_000)
    assert clock() - begun == 2_000 + MAX_JUMP_US
    with pytest.raises(ServiceFault, match=r"system clock is 34,560,000 s ahead.*npsrisk clock accept"):
        clock.check()
    times.pass_by(1_000, jump=-400 * 86_400_000_000)
    clock.check()
    assert clock() - begun == 3_000 + MAX_JUMP_US


def test_slow_drift_is_followed_and_an_accepted_jump_too() -> None:
    times = Times()
    clock = times.make_clock()
    for _ in range(10):
        times.pass_by(1_000, jump=MAX_JUMP_US // 2)
        assert clock() == times.system
    times.pass_by(0, jump=2 * MAX_JUMP_US)
    assert clock() < times.system
    clock.accept()
    assert clock() == times.system
    assert clock.get_fault() is None


def test_a_clock_that_was_set_back_by_mistake_may_be_set_right() -> None:
    times = Times()
    clock = times.make_clock()
    begun = clock()
    times.pass_by(1_000, jump=-86_400_000_000)
    assert clock() == begun
    times.pass_by(1_000, jump=86_400_000_000)
    clock.check()
    assert clock() == begun + 2_000


def test_a_start_long_after_the_last_entry_needs_acceptance_but_not_the_first_start() -> None:
    times = Times()
    clock = times.make_clock()
    clock.check_start(0)
    clock.check_start(times.system - MAX_START_GAP_US)
    clock.check()
    clock.check_start(times.system - MAX_START_GAP_US - 1)
    assert clock.get_fault() is not None


def test_an_acceptance_is_valid_for_some_minutes(tmp_path: Path) -> None:
    assert not is_clock_accepted(tmp_path, 10)
    accept_clock(tmp_path, 10)
    assert is_clock_accepted(tmp_path, 10 + 2 * MAX_JUMP_US)
    assert not is_clock_accepted(tmp_path, 11 + 2 * MAX_JUMP_US)
    assert not is_clock_accepted(tmp_path, 9)
    (tmp_path / "clock.accepted").write_text("{")
    assert not is_clock_accepted(tmp_path, 10)


def test_the_service_records_nothing_while_the_clock_has_jumped_until_it_is_accepted(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    times = Times()
    with serving(settings_in(tmp_path), lambda: times.system, lambda: times.elapsed) as client:
        assert scored(client, "RB1") == 200
        times.pass_by(1_000, jump=40 * 86_400_000_000)
        assert "npsrisk clock accept" in refused(client, "RB2")
        assert client.get("/v1/consignments/RB1").status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "system clock" in ready.text
        assert "npsrisk_clock_ahead_seconds 3.456e+06" in client.get("/metrics").text
        accept_clock(tmp_path, times.system)
        client.look()
        assert scored(client, "RB2") == 200
        last = client.service.log.read_event(client.service.log.last_sequence)
        assert last.recorded_us == times.system
    times.pass_by(1_000, jump=8 * 86_400_000_000)
    with serving(settings_in(tmp_path), lambda: times.system, lambda: times.elapsed) as client:
        assert "npsrisk clock accept" in refused(client, "RB3")
