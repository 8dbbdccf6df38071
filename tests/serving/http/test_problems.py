"""What cannot be is refused, with the field and the reason, by the problem document of RFC 9457; nothing of it is recorded."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.cases import read_cases
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, serving, settings_in

POSTAL = {"consignment_id": "RB1", "channel": "postal"}
ONE = msgspec.json.encode(POSTAL)
NOT_UTF_8 = b'{"consignment_id":"RB1","channel":"postal","office":"a\xff"}'


@pytest.fixture(scope="module")
def without_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(settings_in(tmp_path_factory.mktemp("rules"))) as client:
        yield client


@pytest.fixture
def both(shared_client: Client, without_model: Client) -> Iterator[list[Client]]:
    """A service with a model and one without; after the test neither has another entry."""
    clients = [shared_client, without_model]
    before = [client.service.log.last_sequence for client in clients]
    yield clients
    assert [client.service.log.last_sequence for client in clients] == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (NOT_UTF_8, f"not UTF-8 at byte {NOT_UTF_8.index(0xFF)}"),
        (b"\xef\xbb\xbf" + ONE, "byte order mark"),
        (b"[" * 100_000, ""),
        (b'{"consignments":[' + b'{"items":[' * 50_000, ""),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested too deeply"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:40],
)
def test_a_body_of_other_bytes_or_too_deep_is_the_senders_fault(
    both: list[Client], body: bytes, words: str
) -> None:
    for client in both:
        response = client.post("/v1/scores", body)
        problem = response.json()
        assert (response.status_code, problem["status"]) == (400, 400)
        assert words in problem["detail"]
        assert response.headers["content-type"] == "application/problem+json"


OUTCOME = msgspec.to_builtins(make_outcome("RB1"))
SPAN = {"from": day(0).isoformat(), "until": day(1).isoformat(), "capacity": 5, "explore": 0.2}
SOUND: dict[str, dict[str, Any]] = {
    "postal": POSTAL,
    "outcome": OUTCOME,
    "missed": OUTCOME | {"status": "missed", "result": None, "known_at": None, "inspected_at": None},
    "alert": {"alert_id": "A1", "issued_at": day(-1).isoformat()},
    "cancellation": {"consignment_id": "RB1"},
    "action": {"consignment_id": "RB1", "action": "inspect"},
    "state": {"consignment_id": "RB1", "state": "do_not_load", "issued_at": day(0).isoformat()},
    "selection": SPAN | {"office": "Incheon"},
}


def check_fault(both: list[Client], call: str, body: Any, pointer: str, kind: str, words: str = "") -> None:
    """Claim that a service with a model and one without name the field at fault, and the kind unless it is empty."""
    for client in both:
        response = client.post(f"/v1/{call}", body)
        problem = response.json()
        (error, *_) = problem["errors"]
        assert (response.status_code, problem["status"]) == (422, 422)
        assert response.headers["content-type"] == "application/problem+json"
        assert (error["pointer"], error["kind"]) == (pointer, kind or error["kind"])
        assert words in error["detail"]


@pytest.mark.parametrize("case", read_cases("request_faults"))
def test_a_field_that_cannot_be_is_named_by_its_pointer(both: list[Client], case: dict[str, Any]) -> None:
    """Each line has a call, changes of a sound body or a body of its own, and pointer, kind and words of the fault."""
    body = SOUND[case["of"]] | case["changes"] if "of" in case else case["body"]
    check_fault(both, case["call"], body, case["pointer"], case.get("kind", ""), case.get("words", ""))


def test_too_many_records_or_digits_are_named(both: list[Client]) -> None:
    check_fault(both, "scores", {"consignments": [{}] * 1001}, "#/consignments", "too_many")
    many = POSTAL | {"declared_value": msgspec.Raw(b"1" * 5_000)}
    check_fault(both, "scores", many, "#/declared_value", "bad_value")


def test_a_refusal_is_a_problem_document_that_tells_a_long_name_in_part_only(both: list[Client]) -> None:
    for client in both:
        response = client.post("/v1/scores", POSTAL | {"x" * 5000: 1})
        (error,) = response.json()["errors"]
        assert max(len(error["detail"]), len(error["pointer"])) < 200
        response = client.post("/v1/scores", POSTAL | {"office": 1})
        fault = {"detail": "Expected `str | null`, got `int`", "pointer": "#/office", "kind": "wrong_type"}
        of_all = {"title": "Unprocessable Entity", "status": 422, "type": "about:blank", "errors": [fault]}
        own = {"detail": f"office: {fault['detail']}", "request_id": response.headers["x-request-id"]}
        assert response.json() == of_all | own


def test_all_faults_of_a_record_are_named_at_once(both: list[Client]) -> None:
    bad = {"channel": "sea", "pieces": "two", "items": [{"value": 1}, {"value": -1, "colour": "red"}]}
    faults = {
        ("#/consignment_id", "missing_field"),
        ("#/channel", "bad_value"),
        ("#/pieces", "wrong_type"),
        ("#/items/1/value", "bad_value"),
        ("#/items/1/colour", "unknown_field"),
    }
    for client in both:
        problem = client.post("/v1/scores", bad).json()
        assert {(each["pointer"], each["kind"]) for each in problem["errors"]} == faults
        assert "the first of 5 faults" in problem["detail"]
        (listed,) = client.send("/v1/scores", {"consignments": [bad]})["errors"]
        pointers = {pointer.replace("#", "#/consignments/0") for pointer, _ in faults}
        assert {each["pointer"] for each in listed["errors"]} == pointers
        future = dict.fromkeys(("received_at", "cancelled_at"), "2999-01-01T00:00:00Z")
        times = client.post("/v1/scores", POSTAL | future).json()
        assert [each["pointer"] for each in times["errors"]] == ["#/received_at", "#/cancelled_at"]


@pytest.mark.parametrize("case", read_cases("repeated_fields"))
def test_a_field_has_one_value(shared_client: Client, case: dict[str, Any]) -> None:
    """Each line has a body, and the kinds of its faults if it is a list whose other records are scored."""
    response = shared_client.post("/v1/scores", case["body"].encode())
    assert response.status_code == (422 if case["kinds"] is None else 200)
    expected = ["repeated_field"] if case["kinds"] is None else case["kinds"]
    assert [each["kind"] for each in response.json()["errors"]] == expected


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("case", read_cases("refused_requests"))
def test_a_request_that_cannot_be_is_refused_with_what_to_do(
    both: list[Client], case: dict[str, Any]
) -> None:
    """Each line has a request, by default with a sound record as JSON, the status and words of the answer."""
    headers = JSON | case.get("headers", {})
    body = case["body"].encode() if "body" in case else make_consignment("RB-asked")
    for client in both:
        is_read = case["method"] == "GET"
        path = case["path"]
        response = client.get(path, headers=headers) if is_read else client.post(path, body, headers=headers)
        told = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert (response.status_code, told["status"]) == (case["status"], case["status"])
        assert told["request_id"] == response.headers["x-request-id"]
        assert case.get("words", "") in told["detail"]


def test_another_port_of_this_machine_is_no_foreign_host(shared_client: Client) -> None:
    here = JSON | {"host": "127.0.0.1:8080"}
    assert shared_client.post("/v1/scores", make_consignment(), headers=here).status_code == 200


def test_a_request_keeps_its_identifier_and_any_other_gets_one_of_its_own(shared_client: Client) -> None:
    for given in ("a", "6f1c-77", "trace/1:2@x=+", "x" * 100):
        headers = JSON | {"x-request-id": given}
        paths = ("/health/live", "/v1/model", "/nowhere")
        answers = [shared_client.get(path, headers=headers) for path in paths]
        answers.append(shared_client.post("/v1/scores", make_consignment(), headers=headers))
        assert {each.headers["x-request-id"] for each in answers} == {given}
    for bad in (None, "", "x" * 101, "a b", 'a"b', "é".encode()):
        headers = {} if bad is None else {"x-request-id": bad}
        made = [shared_client.get("/health/live", headers=headers).headers["x-request-id"] for _ in range(2)]
        assert (made[0] != made[1], bad in made) == (True, False)
        assert all(name.isascii() and 0 < len(name) < 30 for name in made)


def test_an_error_tells_its_request_in_body_header_and_log(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("could not read Kim Min-su")

    monkeypatch.setattr(client.service.active.get_scorer().model.pipeline, "fill_rows", fail)
    for name, body, status, logged in (
        ("mine-1", {"channel": "sea"}, 422, ("mine-1", "422", "scores", "bad_value")),
        ("mine-2", make_consignment(), 500, ("mine-2", "ValueError")),  # a fault of ours
    ):
        response = client.post("/v1/scores", body, headers=JSON | {"x-request-id": name})
        assert response.status_code == status
        assert response.headers["x-request-id"] == response.json()["request_id"] == name
        told = "".join(capsys.readouterr())
        assert [part for part in logged if part not in told] == []
        assert "Kim" not in response.text + told, "it tells nothing of the consignment"
