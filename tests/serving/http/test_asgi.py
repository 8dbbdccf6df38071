"""Every answer names its request, and what goes wrong is in the log under the same name."""

import json
from typing import Any

import pytest
from support.examples import make_consignment
from support.serving_examples import Client

JSON = {"content-type": "application/json"}


def lines(captured: pytest.CaptureFixture[str]) -> str:
    told = captured.readouterr()
    return told.out + told.err


@pytest.mark.parametrize("given", ["a", "6f1c-77", "trace/1:2@x=+", "x" * 100])
def test_a_request_that_has_an_identifier_keeps_it(shared_client: Client, given: str) -> None:
    for path in ("/health/live", "/v1/model", "/nowhere"):
        assert shared_client.get(path, headers={"x-request-id": given}).headers["x-request-id"] == given
    response = shared_client.post("/v1/scores", make_consignment(), headers=JSON | {"x-request-id": given})
    assert (response.status_code, response.headers["x-request-id"]) == (200, given)


@pytest.mark.parametrize("given", [None, "", "x" * 101, "a b", 'a"b', "é".encode()])
def test_any_other_request_gets_one_of_its_own(shared_client: Client, given: Any) -> None:
    headers = {} if given is None else {"x-request-id": given}
    made = [shared_client.get("/health/live", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert given not in made
    assert all(name.isascii() and 0 < len(name) < 30 for name in made)


def test_an_error_tells_its_request_in_body_header_and_log(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    response = client.post("/v1/scores", {"channel": "sea"}, headers=JSON | {"x-request-id": "mine-1"})
    assert response.status_code == 422
    assert response.headers["x-request-id"] == response.json()["request_id"] == "mine-1"
    told = lines(capsys)
    for part in ("mine-1", "422", "scores", "bad_value"):
        assert part in told


def test_a_fault_of_ours_tells_its_request_and_nothing_of_the_consignment(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("could not read Kim Min-su")

    assert client.service.active.scorer is not None
    monkeypatch.setattr(client.service.active.scorer.model.pipeline, "fill_rows", fail)
    response = client.post("/v1/scores", make_consignment(), headers=JSON | {"x-request-id": "mine-2"})
    assert (response.status_code, response.json()["request_id"]) == (500, "mine-2")
    told = lines(capsys)
    assert "mine-2" in told
    assert "ValueError" in told
    assert "Kim" not in response.text + told


def test_what_is_refused_before_any_call_is_named_too(shared_client: Client) -> None:
    for headers, path, status in (({"host": "attacker.example"}, "/health/live", 421), ({}, "/nowhere", 404)):
        response = shared_client.get(path, headers=headers)
        assert response.status_code == status
        assert json.loads(response.content)["request_id"] == response.headers["x-request-id"]
