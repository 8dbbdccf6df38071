"""Entries of a clock that was ahead: after the correction, clock, history and parity are as if it had not been."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.databases import reader_of, state_environment
from support.examples import day, make_consignment
from support.serving_examples import Client, publish, serving, settings_in

from consignments.errors import BadInput
from consignments.timestamps import to_us
from npsrisk import main
from serving.event_log.verification.chain import verify_chain
from serving.maintenance.clock_correction import correct_clock
from serving.maintenance.retention import RetentionApproval

APPROVAL = RetentionApproval("operations", "the time server failed")


class Clock:
    def __init__(self) -> None:
        self.date = day(20)

    def __call__(self) -> int:
        return to_us(self.date)


def score(client: Client, name: str) -> dict[str, Any]:
    c = {"consignment_id": name, "channel": "postal", "sender_name": "Orchid Trading"}
    answer = client.post("/v1/scores?features=true", c)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def parity(folder: Path) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["parity", "--json"], env=state_environment(folder))
    return done.exit_code, json.loads(done.output.splitlines()[-1])


def test_after_a_correction_the_clock_and_history_go_on_from_now(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    settings, clock = settings_in(tmp_path), Clock()
    with serving(settings, clock) as client:
        score(client, "RB1")
        clock.date = day(600)
        score(client, "RB2")
    now = day(21)
    dry = correct_clock(settings, APPROVAL, to_us(now), dry_run=True)
    done = correct_clock(settings, APPROVAL, to_us(now))
    assert (dry.first, dry.last, done.first, done.last) == (2, 2, 2, 2)
    assert dry.head != done.head
    clock.date = now
    with serving(settings, clock) as client:
        answer = score(client, "RB3")
        assert answer["scored_at"] == now.isoformat().replace("+00:00", "Z")
        # All three are of the last week now.
        assert answer["features"]["history.sender.arrivals_7d"] == 2
        assert score(client, "RB2")["decision_id"].endswith("-2")
    with reader_of(tmp_path) as log:
        assert verify_chain(log).broken_at is None
        assert log.read_event(2).recorded_us == to_us(now)
        assert [log.read_event(sequence).kind for sequence in (3, 4)] == ["clock", "decision"]
    code, report = parity(tmp_path)
    assert (code, report["compared"], report["corrected"], report["equal"]) == (0, 2, 1, True)


def test_without_an_entry_in_the_future_nothing_is_corrected(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        client.post("/v1/scores", make_consignment("RB1"))
    with pytest.raises(BadInput, match="no entry of the log was recorded later than now"):
        correct_clock(settings, APPROVAL, to_us(day(20)))
    with reader_of(tmp_path) as log:
        assert log.last_sequence == 1
