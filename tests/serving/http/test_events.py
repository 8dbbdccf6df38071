"""Answers of customs over HTTP: recorded once, and in the feed; `test_actions` shows that they last and change no score."""

from support.examples import day
from support.serving_examples import Client

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
