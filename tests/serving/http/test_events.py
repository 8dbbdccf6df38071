"""Answers of customs over HTTP: recorded once, kept over a restart, in the feed and the export; no score changes by them."""

from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import CliRunner
from support.databases import state_environment
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in

from npsrisk import main

HELD = {
    "consignment_id": "RB1",
    "state": "request_for_information",
    "authority": "PACT",
    "code": "RI",
    "text": "NAME OF PARK JI HO IS MISSING",
    "issued_at": day(3),
    "source": "XCSN",
}


def send(client: Client, body: Any, path: str = "/v1/events") -> dict[str, Any]:
    response = client.post(path, body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def read(client: Client, path: str) -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def score(client: Client, name: str, **changes: Any) -> dict[str, Any]:
    return send(client, make_consignment(name, **changes), "/v1/scores?features=true")


def test_an_answer_is_recorded_once_and_without_its_words(client: Client) -> None:
    score(client, "RB1")
    receipts = [send(client, HELD) for _ in range(2)]
    assert [(told["repeated"], told["known"]) for told in receipts] == [(False, True), (True, True)]
    assert receipts[0]["recorded_at"] == receipts[1]["recorded_at"]
    again = send(client, HELD | {"issued_at": day(4)})
    assert again["repeated"] is False
    shown = read(client, "/v1/consignments/RB1")["events"]
    assert [(each["state"], each["code"], each["authority"], "text" in each) for each in shown] == [
        ("request_for_information", "RI", "PACT", False)
    ] * 2
    page = read(client, "/v1/events?limit=1")
    assert page["more"] is True
    assert page["events"][0]["consignment_id"] == "RB1"
    rest = read(client, f"/v1/events?after={page['next']}")
    assert [(each["issued_at"], rest["more"]) for each in rest["events"]] == [("2024-03-08T09:00:00Z", False)]


def test_answers_come_in_lists_and_before_their_consignment(client: Client) -> None:
    unknown = HELD | {"consignment_id": "180-48103826/H1"}
    told = send(client, {"events": [unknown, HELD | {"state": "perhaps"}, HELD | {"issued_at": day(90)}]})
    assert [receipt["known"] for receipt in told["events"]] == [False]
    assert [error["pointer"] for error in told["errors"]] == ["#/events/1/state", "#/events/2/issued_at"]
    assert score(client, "180-48103826/H1", channel="air_cargo")["repeated"] is False
    assert len(read(client, "/v1/consignments/180-48103826/H1")["events"]) == 1


def test_the_states_of_a_message_can_be_sent_on(client: Client) -> None:
    body = b"PSN\n180-48103826-H1\nCSN/7H-01/01MAR0930/MISSING_SHP_NAME\n"
    response = client.post("/v1/scores", body, headers={"content-type": "text/plain"})
    told = response.json()
    assert (response.status_code, told["scores"]) == (200, [])
    (event,) = told["messages"]["events"]
    assert event["state"] == "request_for_information"
    assert send(client, {"events": [event]})["errors"] == []


def test_answers_survive_a_restart_and_change_no_score(tmp_path: Path, bundle: Path) -> None:
    """Two services get the same consignments, and one of them answers of customs too."""
    scores: list[list[Any]] = []
    for name, answered in (("plain", False), ("answered", True)):
        folder = tmp_path / name
        folder.mkdir()
        publish(folder, bundle, "1")
        found = []
        with serving(settings_in(folder)) as client:
            found.append(score(client, "RB1", received_at=day(1)))
            if answered:
                send(client, HELD)
                send(client, HELD | {"consignment_id": "RB2"})
            send(client, make_outcome("RB1", result="nps"), "/v1/outcomes")
        with serving(settings_in(folder)) as client:
            if answered:
                assert send(client, HELD)["repeated"] is True
                assert send(client, HELD | {"consignment_id": "RB2"})["known"] is False
            found.append(score(client, "RB2", received_at=day(16)))
            found.append(score(client, "RB1", received_at=day(17), description="boots"))
        scores.append([(each["score"], each["features"], each["repeated"]) for each in found])
    assert scores[0] == scores[1]
    for command in (["parity", "--json"], ["verify-log"]):
        done = CliRunner().invoke(main, command, env=state_environment(tmp_path / "answered"))
        assert done.exit_code == 0, done.output
    out = tmp_path / "tables"
    done = CliRunner().invoke(
        main, ["export", "--personal", "--out", str(out)], env=state_environment(tmp_path / "answered")
    )
    assert done.exit_code == 0, done.output
    states = pd.read_parquet(out / "states.parquet")
    assert states["consignment_id"].tolist() == ["RB1", "RB2"]
    assert "text" not in states
    assert states["recorded_at"].notna().all()
    assert b"PARK JI HO" not in b"".join(
        path.read_bytes() for path in (tmp_path / "answered").rglob("*") if path.is_file()
    )
