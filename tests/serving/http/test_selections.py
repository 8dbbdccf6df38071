"""Selections: an inspection list with known probabilities, the same for the same request, nobody chosen twice."""

from collections.abc import Sequence
from typing import Any

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client
from support.site import Site

from consignments.errors import ServiceFault
from serving.event_log.events import Event


def fill(client: Client, many: int = 20, office: str = "Incheon", first: int = 0) -> None:
    rows, goods = [], ("socks", "research chemical powder")
    for place in range(first, first + many):
        own = {"received_at": day(0.01 * place), "description": goods[place % 2]}
        rows.append(make_consignment(f"{office}{place}", office=office, **own))
    assert client.send("/v1/scores", {"consignments": rows})["errors"] == []


def request(**changes: Any) -> dict[str, Any]:
    body = {"office": "Incheon", "capacity": 5, "explore": 0.2, "from": "2024-03-04T00:00:00Z"}
    return body | {"until": "2024-03-05T00:00:00Z"} | changes


def chosen(client: Client, **changes: Any) -> list[dict[str, Any]]:
    return client.send("/v1/selections", request(**changes))["selections"]


def test_the_list_fills_the_capacity_tells_each_probability_and_stays_the_same(site: Site) -> None:
    with site.serve() as client:
        fill(client)
        fill(client, 3, office="Busan")
        first = chosen(client)
        assert len(first) == 5
        assert [each["selected_by"] for each in first].count("random") == 1
        assert all(0 < each["selection_probability"] <= 1 for each in first)
        assert {each["office"] for each in first} == {"Incheon"}
        assert client.read(f"/v1/consignments/{first[0]['consignment_id']}")["selections"] == first[:1]
        fill(client, first=20)
        assert chosen(client) == first
    with site.serve() as again:
        assert chosen(again) == first


def test_what_was_chosen_or_inspected_before_is_not_chosen_again(client: Client) -> None:
    fill(client, 12)
    client.post("/v1/outcomes", make_outcome("Incheon1", selected_by="officer"))
    client.post("/v1/cancellations", {"consignment_id": "Incheon2"})
    given = [each["consignment_id"] for capacity in (5, 6, 7) for each in chosen(client, capacity=capacity)]
    assert len(given) == 10
    assert set(given) == {f"Incheon{place}" for place in range(12)} - {"Incheon1", "Incheon2"}


def test_too_long_or_unlogged_a_list_selects_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(client, office="Nowhere") == []
    fill(client, 6)

    def fail(events: Sequence[Event]) -> None:
        raise ServiceFault("the event log cannot be written", got="disk full")

    with monkeypatch.context() as broken:
        broken.setattr(client.service.log, "append", fail)
        assert client.post("/v1/selections", request()).status_code == 503
    client.look()
    monkeypatch.setattr("serving.scoring.inspection_lists.MAX_SELECTIONS", 5)
    refused = client.post("/v1/selections", request(capacity=6))
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["pointer"]) == (422, "#/capacity")
    assert "gives a list of 6 consignments, more than 5" in error["detail"]
    names = [each["consignment_id"] for each in chosen(client)]
    assert len(names) == 5
    logged = [each.consignment_id for each in client.service.log.read_events() if each.kind == "selection"]
    assert logged == names
    assert len(chosen(client, **{"from": "2024-02-03T00:00:00Z"})) == 1


def test_a_late_version_brings_no_cancelled_consignment_or_selection_back(client: Client) -> None:
    fill(client, 1)
    for name in ("RB1", "RB2"):
        client.score(name, issued_at=day(0), description="shoes")
    assert len(chosen(client)) == 3
    for name in ("RB1", "RB2"):
        client.send("/v1/cancellations", {"consignment_id": name})
        client.score(name, issued_at=day(-1), description="boots")
    client.score("RB2", issued_at=day(0.1), description="hats")
    open_ones = client.read("/v1/selections")["selections"]
    assert {each["consignment_id"] for each in open_ones} == {"Incheon0", "RB2"}
    for name in ("RB3", "RB4"):
        client.score(name, issued_at=day(0), description="shoes")
        client.send("/v1/cancellations", {"consignment_id": name})
        client.score(name, issued_at=day(-1), description="boots")
    client.score("RB4", issued_at=day(0.1), description="hats")
    assert {each["consignment_id"] for each in chosen(client, capacity=6)} == {"RB4"}


def test_each_decision_comes_once_and_in_order_and_no_cursor_beyond_the_log(client: Client) -> None:
    sent = [client.score(f"RB{number}")["decision_id"] for number in range(7)]
    client.post("/v1/outcomes", make_outcome("RB1"))
    sent += [client.score("RB1", pieces=number)["decision_id"] for number in (1.5, 2.5)]
    after, seen, more = 0, list[dict[str, Any]](), True
    while more:
        page = client.read(f"/v1/decisions?after={after}&limit=3")
        seen, after, more = seen + page["decisions"], page["next"], page["more"]
    assert [each["decision_id"] for each in seen] == sent
    end = {"decisions": [], "next": after, "more": False, "log": sent[0].partition("-")[0]}
    assert client.read(f"/v1/decisions?after={after}") == end
    later = client.score("RB9")
    (new,) = client.read(f"/v1/decisions?after={after}")["decisions"]
    assert (new["decision_id"], new["score"]) == (later["decision_id"], later["score"])
    assert (new["consignment_id"], new["office"]) == ("RB9", "Incheon")
    whole = client.read("/v1/consignments/RB1")
    first = client.read("/v1/consignments/RB1?limit=2")
    rest = client.read(f"/v1/consignments/RB1?limit=2&after={first['next']}")
    assert ("next" in whole, "next" in rest) == (False, False)
    assert first["decisions"] + rest["decisions"] == whole["decisions"]
    assert (len(whole["decisions"]), rest["outcomes"] + first["outcomes"]) == (3, whole["outcomes"])
    last = client.service.log.last_sequence
    for path in ("decisions", "events", "messages", "selections"):
        assert client.get(f"/v1/{path}?after={last}").status_code == 200
        response = client.get(f"/v1/{path}?after={last + 1}")
        assert (response.status_code, "restored" in response.json()["detail"]) == (409, True)


def test_a_selection_is_open_until_its_final_outcome(client: Client) -> None:
    def read_pending() -> dict[str, bool]:
        listed = client.read("/v1/selections")["selections"]
        return {each["consignment_id"]: each["pending"] for each in listed}

    fill(client, 3)
    assert len(chosen(client, capacity=3)) == 3
    for name, changes in (("Incheon0", {"result": "pending", "known_at": None}), ("Incheon1", {})):
        client.send("/v1/outcomes", make_outcome(name, **changes))
    assert read_pending() == {"Incheon0": True, "Incheon2": False}
    assert client.read("/v1/selections?limit=1")["more"] is True
    client.send("/v1/cancellations", {"consignment_id": "Incheon2"})
    assert read_pending() == {"Incheon0": True}
