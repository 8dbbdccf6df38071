"""Answers of customs over HTTP: recorded once, kept over a restart, in the feed and the export; no score changes by them."""

from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import CliRunner
from support.databases import state_environment
from support.examples import day, make_outcome
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


def test_an_answer_is_recorded_once_and_without_its_words(client: Client) -> None:
    client.score("RB1", "?features=true")
    receipts = [client.send("/v1/events", HELD) for _ in range(2)]
    assert [(told["repeated"], told["known"]) for told in receipts] == [(False, True), (True, True)]
    assert receipts[0]["recorded_at"] == receipts[1]["recorded_at"]
    again = client.send("/v1/events", HELD | {"issued_at": day(4)})
    assert again["repeated"] is False
    shown = client.read("/v1/consignments/RB1")["events"]
    assert [(each["state"], each["code"], each["authority"], "text" in each) for each in shown] == [
        ("request_for_information", "RI", "PACT", False)
    ] * 2
    page = client.read("/v1/events?limit=1")
    assert page["more"] is True
    assert page["events"][0]["consignment_id"] == "RB1"
    rest = client.read(f"/v1/events?after={page['next']}")
    assert [(each["issued_at"], rest["more"]) for each in rest["events"]] == [("2024-03-08T09:00:00Z", False)]


def test_answers_come_in_lists_or_in_messages_and_before_their_consignment(client: Client) -> None:
    unknown = HELD | {"consignment_id": "180-48103826/H1"}
    sent = [unknown, HELD | {"state": "perhaps"}, HELD | {"issued_at": day(90)}]
    told = client.send("/v1/events", {"events": sent})
    assert [receipt["known"] for receipt in told["events"]] == [False]
    assert [error["pointer"] for error in told["errors"]] == ["#/events/1/state", "#/events/2/issued_at"]
    body = b"PSN\n180-48103826-H1\nCSN/7H-01/01MAR0930/MISSING_SHP_NAME\n"
    told = client.send("/v1/scores", body, headers={"content-type": "text/plain"})
    (event,) = told["messages"]["events"]
    assert (told["scores"], event["state"]) == ([], "request_for_information")
    assert client.send("/v1/events", {"events": [event]})["errors"] == []
    assert client.score("180-48103826/H1", "?features=true", channel="air_cargo")["repeated"] is False
    assert len(client.read("/v1/consignments/180-48103826/H1")["events"]) == 2


def test_answers_survive_a_restart_and_change_no_score(tmp_path: Path, bundle: Path) -> None:
    """Two services get the same consignments, and one of them answers of customs too."""
    scores: list[list[Any]] = []
    for name, answered in (("plain", False), ("answered", True)):
        folder = tmp_path / name
        folder.mkdir()
        publish(folder, bundle, "1")
        found = []
        with serving(settings_in(folder)) as client:
            found.append(client.score("RB1", "?features=true", received_at=day(1)))
            if answered:
                client.send("/v1/events", HELD)
                client.send("/v1/events", HELD | {"consignment_id": "RB2"})
            client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
        with serving(settings_in(folder)) as client:
            if answered:
                assert client.send("/v1/events", HELD)["repeated"] is True
                assert client.send("/v1/events", HELD | {"consignment_id": "RB2"})["known"] is False
            found.append(client.score("RB2", "?features=true", received_at=day(16)))
            found.append(client.score("RB1", "?features=true", received_at=day(17), description="boots"))
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
