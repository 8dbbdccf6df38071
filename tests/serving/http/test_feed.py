"""The feeds tell each decision once, and the selections that wait for an outcome; long histories come in pages."""

from support.examples import day, make_outcome
from support.serving_examples import Client


def test_each_decision_comes_once_and_in_order(client: Client) -> None:
    sent = [client.score(f"RB{number}")["decision_id"] for number in range(7)]
    client.post("/v1/outcomes", make_outcome("RB1"))
    sent.append(client.score("RB1", description="other goods")["decision_id"])
    after, seen = 0, []
    while True:
        page = client.read(f"/v1/decisions?after={after}&limit=3")
        seen += [each["decision_id"] for each in page["decisions"]]
        after = page["next"]
        if not page["more"]:
            break
    assert seen == sent
    name = sent[0].partition("-")[0]
    end = {"decisions": [], "next": after, "more": False, "log": name}
    assert client.read(f"/v1/decisions?after={after}") == end
    later = client.score("RB9")
    (new,) = client.read(f"/v1/decisions?after={after}")["decisions"]
    assert (new["decision_id"], new["score"]) == (later["decision_id"], later["score"])
    assert (new["consignment_id"], new["office"]) == ("RB9", "Incheon")


def test_a_cursor_beyond_the_log_is_refused(client: Client) -> None:
    client.score("RB1")
    for path in ("decisions", "events", "messages", "selections"):
        assert client.get(f"/v1/{path}?after=1").status_code == 200
        response = client.get(f"/v1/{path}?after=2")
        assert (response.status_code, "restored" in response.json()["detail"]) == (409, True)


def test_a_page_with_wrong_bounds_is_refused(client: Client) -> None:
    for query in (
        "after=-1",
        "after=x",
        "limit=0",
        "limit=1001",
        "limit=00001000000",
        "limit=0001" + "0" * 5000,
        "after=1&after=2",
        "after=" + "9" * 30,
        "q=1",
    ):
        assert client.get(f"/v1/decisions?{query}").status_code == 422, query


def test_a_selection_is_open_until_its_final_outcome(client: Client) -> None:
    for number in range(3):
        client.score(f"RB{number}", received_at=day(0))
    wanted = {"office": "Incheon", "capacity": 3, "explore": 0, "from": day(-1), "until": day(1)}
    assert len(client.post("/v1/selections", wanted).json()["selections"]) == 3
    pending = make_outcome("RB0", result="pending", known_at=None)
    assert client.post("/v1/outcomes", pending).status_code == 200
    assert client.post("/v1/outcomes", make_outcome("RB1", result="clear")).status_code == 200
    found = client.read("/v1/selections")
    assert {each["consignment_id"]: each["pending"] for each in found["selections"]} == {
        "RB0": True,
        "RB2": False,
    }
    client.post("/v1/cancellations", {"consignment_id": "RB2"})
    assert [each["consignment_id"] for each in client.read("/v1/selections")["selections"]] == ["RB0"]
    assert client.read("/v1/selections?limit=1")["more"] is True


def test_a_late_version_opens_no_cancelled_selection(client: Client) -> None:
    wanted = {"office": "Incheon", "capacity": 3, "explore": 0, "from": day(-1), "until": day(1)}
    for name in ("RB1", "RB2"):
        client.score(name, received_at=day(0), issued_at=day(0))
    client.post("/v1/selections", wanted)
    for name in ("RB1", "RB2"):
        client.post("/v1/cancellations", {"consignment_id": name})
    client.score("RB1", received_at=day(0), issued_at=day(-1), description="boots")
    client.score("RB2", received_at=day(0), issued_at=day(0.1), description="boots")
    assert [each["consignment_id"] for each in client.read("/v1/selections")["selections"]] == ["RB2"]


def test_a_long_history_comes_in_pages(client: Client) -> None:
    for number in range(12):
        client.score("RB1", pieces=float(number))
    whole = client.read("/v1/consignments/RB1")
    assert "next" not in whole
    first = client.read("/v1/consignments/RB1?limit=5")
    second = client.read(f"/v1/consignments/RB1?limit=5&after={first['next']}")
    last = client.read(f"/v1/consignments/RB1?limit=5&after={second['next']}")
    assert "next" not in last
    assert first["decisions"] + second["decisions"] + last["decisions"] == whole["decisions"]
