"""The service's clock never goes back, whatever the system's does."""

from pathlib import Path

from support.examples import day, make_consignment, make_outcome
from support.serving_examples import publish, serving, settings_in

from consignments.timestamps import to_us
from serving.process.clock import SteadyClock


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
