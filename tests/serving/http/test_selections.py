"""Selections: an inspection list with known probabilities, the same for the same request, nobody chosen twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in

from consignments.errors import ServiceFault
from serving.event_log.events import Event


def fill(client: Client, many: int = 20, office: str = "Incheon", first: int = 0) -> None:
    rows = [
        make_consignment(
            f"{office}{place}",
            office=office,
            received_at=day(0.01 * place),
            description=("socks", "research chemical powder")[place % 2],
        )
        for place in range(first, first + many)
    ]
    assert client.post("/v1/scores", {"consignments": rows}).json()["errors"] == []


def request(**changes: Any) -> dict[str, Any]:
    body = {"office": "Incheon", "capacity": 5, "explore": 0.2, "from": "2024-03-04T00:00:00Z"}
    return body | {"until": "2024-03-05T00:00:00Z"} | changes


def chosen(client: Client, **changes: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.send("/v1/selections", request(**changes))["selections"]
    return found


def test_the_list_fills_the_capacity_and_tells_each_probability(client: Client) -> None:
    fill(client)
    told = chosen(client)
    assert len(told) == 5
    assert [each["selected_by"] for each in told].count("random") == 1
    assert all(0 < each["selection_probability"] <= 1 for each in told)
    assert {each["office"] for each in told} == {"Incheon"}


def test_the_same_request_gets_the_same_list_also_after_a_restart(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        fill(client)
        first = chosen(client)
        fill(client, first=20)
        assert chosen(client) == first
    with serving(settings_in(tmp_path)) as again:
        assert chosen(again) == first


def test_what_was_chosen_or_inspected_before_is_not_chosen_again(client: Client) -> None:
    fill(client, 12)
    client.post("/v1/outcomes", make_outcome("Incheon1", selected_by="officer"))
    client.post("/v1/cancellations", {"consignment_id": "Incheon2"})
    first, second, third = (
        [each["consignment_id"] for each in chosen(client, capacity=capacity)] for capacity in (5, 6, 7)
    )
    assert len(first) + len(second) + len(third) == 10
    assert set(first + second + third) == {f"Incheon{place}" for place in range(12)} - {
        "Incheon1",
        "Incheon2",
    }


def test_another_offices_consignments_are_left_alone(client: Client) -> None:
    fill(client, 3)
    fill(client, 3, office="Busan")
    assert {each["office"] for each in chosen(client, office="Busan")} == {"Busan"}


def test_the_probability_comes_back_with_the_consignment(client: Client) -> None:
    fill(client)
    one = chosen(client)[0]
    told = client.get(f"/v1/consignments/{one['consignment_id']}").json()
    assert told["selections"] == [one]


def test_a_list_that_could_not_be_logged_is_drawn_and_logged_when_it_is_asked_for_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client)

    def fail(events: Sequence[Event]) -> None:
        raise ServiceFault("the event log cannot be written", got="disk full")

    with monkeypatch.context() as broken:
        broken.setattr(client.service.log, "append", fail)
        assert client.post("/v1/selections", request()).status_code == 503
    client.look()
    names = [each["consignment_id"] for each in chosen(client)]
    logged = [each.consignment_id for each in client.service.log.read_events() if each.kind == "selection"]
    assert logged == names


def test_a_list_that_would_be_too_long_is_refused_and_selects_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.scoring.inspection_lists.MAX_SELECTIONS", 5)
    fill(client, 6)
    refused = client.post("/v1/selections", request(capacity=6))
    assert refused.status_code == 422
    assert "gives a list of 6 consignments, more than 5" in refused.json()["errors"][0]["detail"]
    assert refused.json()["errors"][0]["pointer"] == "#/capacity"
    assert len(chosen(client)) == 5
    assert len(chosen(client, **{"from": "2024-02-03T00:00:00Z"})) == 1


def test_a_late_version_brings_no_cancelled_consignment_back(client: Client) -> None:
    fill(client, 1)
    for name in ("RB1", "RB2"):
        client.score(name, issued_at=day(0), description="shoes")
        client.post("/v1/cancellations", {"consignment_id": name})
        client.score(name, issued_at=day(-1), description="boots")
    client.score("RB2", issued_at=day(0.1), description="hats")
    assert {each["consignment_id"] for each in chosen(client)} == {"Incheon0", "RB2"}


def test_where_nothing_was_scored_the_list_is_empty(shared_client: Client) -> None:
    assert chosen(shared_client, office="Nowhere") == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"capacity": 0}, "#/capacity"),
        ({"explore": 1.5}, "#/explore"),
        ({"until": "2024-03-03T00:00:00Z"}, "#/until"),
        ({"until": "2999-01-01T00:00:00Z"}, "#/until"),
        ({"from": None}, "#/from"),
        ({"from": "2024-02-02T23:59:59Z"}, "#/from"),
        ({"seed": 1}, "#/seed"),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    shared_client: Client, changes: dict[str, Any], pointer: str
) -> None:
    response = shared_client.post("/v1/selections", request(**changes))
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer
