"""What officers do and customs answer: who and why, once each, durable, and outside of the scores."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from support.databases import stored_bytes
from support.examples import day, make_outcome
from support.serving_examples import Client
from support.site import Site


def act(client: Client, name: str, **more: Any) -> Any:
    return client.post("/v1/actions", {"consignment_id": name, **more})


def read_actions(client: Client, name: str) -> list[tuple[str, str, str | None, str | None]]:
    found = client.get(f"/v1/consignments/{name}").json()["actions"]
    return [(each["action"], each["by"], each["reason"], each["proposal"]) for each in found]


def test_an_action_says_who_and_why_and_is_recorded_once(client: Client) -> None:
    assert act(client, "RB1", action="inspect").status_code == 404
    proposed = {"high": "inspect", "elevated": "check", "routine": "release"}[client.score("RB1")["band"]]
    sent = {"action": "request_information", "by": "K. Lee", "reason": "value and goods differ"}
    for at, repeated in ((day(1), False), (day(1), True), (day(1.1), False)):
        response = act(client, "RB1", **sent, acted_at=at)
        assert (response.status_code, response.json()["repeated"]) == (200, repeated)
    assert read_actions(client, "RB1") == [(*sent.values(), proposed)] * 2
    future = act(client, "RB1", action="inspect", acted_at="2999-01-01T00:00:00Z")
    assert (future.status_code, future.json()["errors"][0]["kind"]) == (422, "in_future")


def test_an_override_of_the_proposal_or_of_a_find_needs_a_reason(client: Client) -> None:
    assert "high" not in [client.score(name)["band"] for name in ("RB1", "RB2")]
    wanted = {"office": "Incheon", "capacity": 1, "explore": 0, "from": day(0), "until": day(1)}
    (chosen,) = client.send("/v1/selections", wanted)["selections"]
    selected = chosen["consignment_id"]
    refused = act(client, selected, action="release", by="K. Lee", reason=" ")
    assert (refused.status_code, refused.json()["errors"][0]["kind"]) == (422, "reason_required")
    assert act(client, selected, action="inspect", by="K. Lee").status_code == 200
    assert act(client, selected, action="release", by="K. Lee", reason="opened yesterday").status_code == 200
    assert [each[0] for each in read_actions(client, selected)] == ["inspect", "release"]
    other = "RB1" if selected == "RB2" else "RB2"
    client.send("/v1/outcomes", make_outcome(other, result="clear", known_at=day(1)))
    assert act(client, other, action="release").status_code == 200
    client.send("/v1/outcomes", make_outcome(other, result="nps", known_at=day(2)))
    assert act(client, other, action="release", acted_at=day(3)).status_code == 422
    assert act(client, other, action="release", acted_at=day(3), reason="sealed").status_code == 200


def test_what_is_said_of_a_consignment_lasts_and_changes_no_score(tmp_path: Path, bundle: Path) -> None:
    held = {"consignment_id": "RB1", "state": "do_not_load", "issued_at": day(3), "text": "ASK PARK JI HO"}
    scores: list[list[Any]] = []
    for is_plain in (True, False):
        site, found = Site(tmp_path / str(is_plain), bundle), list[dict[str, Any]]()
        for repeated in (False, True):
            with site.serve() as client:
                client.score("RB1", received_at=day(1))
                for name, known in () if is_plain else (("RB1", True), ("RB2", False)):
                    told = client.send("/v1/events", held | {"consignment_id": name})
                    assert (told["repeated"], told["known"]) == (repeated, known)
                if not is_plain:
                    answer = act(client, "RB1", action="inspect", by="K. Lee", reason="asked by the police")
                    assert answer.json()["repeated"] is repeated
                client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
        with site.serve() as client:
            found.append(client.score("RB2", "?features=true", received_at=day(16)))
            found.append(client.score("RB1", "?features=true", received_at=day(17), description="boots"))
        scores.append([(each["score"], each["features"], each["repeated"]) for each in found])
    assert scores[0] == scores[1]
    assert site.told("parity")["equal"]
    for words, reason in ((("--personal",), "asked by the police"), ((), None)):
        site.told("export", "--out", str(site.folder / "out"), *words)
        (row,) = parquet.read_table(site.folder / "out" / "actions.parquet").to_pylist()
        assert (row["consignment_id"], row["action"], row["by"]) == ("RB1", "inspect", "K. Lee")
        assert row.get("reason") == reason
    states = parquet.read_table(site.folder / "out" / "states.parquet")
    assert (states["consignment_id"].to_pylist(), "text" in states.column_names) == (["RB1", "RB2"], False)
    shutil.rmtree(site.folder / "out")
    files = [path.read_bytes() for path in site.folder.rglob("*") if path.is_file()]
    written = b"".join([stored_bytes(site.folder), *files])
    assert [word for word in (b"police", b"PARK JI HO") if word in written] == []


HELD = {"consignment_id": "RB1", "state": "request_for_information", "authority": "PACT", "code": "RI"}
HELD |= {"text": "NAME OF PARK JI HO IS MISSING", "issued_at": day(3), "source": "XCSN"}


def test_an_answer_is_recorded_once_and_without_its_words(client: Client) -> None:
    client.score("RB1", "?features=true")
    receipts = [client.send("/v1/events", HELD) for _ in range(2)]
    assert [(told["repeated"], told["known"]) for told in receipts] == [(False, True), (True, True)]
    assert receipts[0]["recorded_at"] == receipts[1]["recorded_at"]
    again = client.send("/v1/events", HELD | {"issued_at": day(4)})
    assert again["repeated"] is False
    shown = client.read("/v1/consignments/RB1")["events"]
    told = [(each["state"], each["code"], each["authority"], "text" in each) for each in shown]
    assert told == [("request_for_information", "RI", "PACT", False)] * 2
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
    many = [HELD | {"consignment_id": f"RB{number}"} for number in range(2, 132)]
    assert len(client.send("/v1/events", {"events": many})["events"]) == 130
    assert len(client.read("/v1/events?limit=1000")["events"]) == 131
    body = b"PSN\n180-48103826-H1\nCSN/7H-01/01MAR0930/MISSING_SHP_NAME\n"
    told = client.send("/v1/scores", body, headers={"content-type": "text/plain"})
    (event,) = told["messages"]["events"]
    assert (told["scores"], event["state"]) == ([], "request_for_information")
    assert client.send("/v1/events", {"events": [event]})["errors"] == []
    assert client.score("180-48103826/H1", "?features=true", channel="air_cargo")["repeated"] is False
    assert len(client.read("/v1/consignments/180-48103826/H1")["events"]) == 2
