"""The published OpenAPI document is true: what it allows and what it forbids is tried by the thousand, and bodies are spoilt.

No answer is a fault of the service, each is one that the document tells, and what it forbids is refused, or named among the
errors of a list. At the end the log's chain holds, and a service starts over it.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, describe_key, serving, settings_in
from support.site import Site

from consignments.records import Alert, Item
from serving.http.app import list_routes

schemathesis = pytest.importorskip("schemathesis", reason="make install installs it")
told = pytest.importorskip("schemathesis.specs.openapi.checks")

KEY = "a key of the tests"
TRIED = {
    "post /v1/scores": 1100, "post /v1/outcomes": 1100, "post /v1/alerts": 900, "post /v1/cancellations": 700,
    "post /v1/events": 300, "post /v1/actions": 300, "post /v1/selections": 700, "get /v1/consignments/{consignment_id}": 700,
}  # fmt: skip
"""How often each operation is tried in the long run, half of it with bodies that the document forbids; the others once."""
MODES, SESSION = schemathesis.GenerationMode, requests.Session()
SESSION.trust_env = False
CHECKS = [
    schemathesis.checks.not_a_server_error, told.status_code_conformance, told.content_type_conformance,
    told.response_headers_conformance, told.response_schema_conformance, told.unsupported_method,
]  # fmt: skip


def refused_or_named(context: Any, response: Any, case: Any) -> bool | None:
    """Whether what the document forbids was refused; of a list, named among the errors."""
    value = response.json() if response.status_code == 200 and case.method == "POST" else {}
    if isinstance(value, dict) and value.get("errors"):
        return None
    return told.negative_data_rejection(context, response, case)


def try_operation(case_of: Any, mode: Any, count: int, answers: Counter[int]) -> None:
    @settings(
        max_examples=count, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=case_of.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        response = case.call(session=SESSION, headers={"Authorization": f"Bearer {KEY}"})
        answers[response.status_code] += 1
        case.validate_response(response, checks=[*CHECKS, refused_or_named])

    run()


def try_all(url: str, most: int | None) -> dict[str, Counter[int]]:
    """Try all operations of a document, each as often as `TRIED` says, or at most so often; gives their answers."""
    document = SESSION.get(f"{url}/openapi.json").json()
    for methods in document["paths"].values():
        for operation in methods.values():
            # Every call carries the right key; the wrong ones are tried elsewhere.
            operation.pop("security", None)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    answers: dict[str, Counter[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        name = f"{operation.method} {operation.path}"
        count, found = TRIED.get(name, 1), answers.setdefault(name, Counter())
        modes = list(MODES) if operation.method == "post" else [MODES.POSITIVE]
        for mode in modes:
            try_operation(operation, mode, -(-min(count, most or count) // len(modes)), found)
    return answers


REFUSED = {"post /v1/messages"}
"""Calls of which no generated case is accepted: nobody draws a valid signature."""


@pytest.mark.parametrize("most", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_cases_of_each_operation_are_answered_as_told(site: Site, most: int | None) -> None:
    keys = site.folder / "keys.toml"
    keys.write_text(describe_key(KEY, "score", "outcome", "read", "act", "alert", "metrics"))
    with site.serve(NPSRISK_API_KEYS_FILE=str(keys)) as client:
        answers = try_all(str(client.http.base_url), most)
    assert all(each.total() for each in answers.values())
    assert sum(map(Counter.total, answers.values())) >= (most * len(TRIED) if most else 5000)
    if most is None:
        assert {name for name in answers if not answers[name][200]} == REFUSED
        assert all(answers[name][422] for name in TRIED if name.startswith("post"))
    assert site.entries()
    with site.serve() as client:
        assert client.get("/health/ready").status_code == 200


def whole_bodies() -> list[tuple[str, bytes]]:
    """A good body of each call, with all kinds of fields."""
    item = Item(description="3-CMC", quantity=2, value=10.5, hs_code="292239")
    cs = [make_consignment(f"RB{number}", items=(item, item), gross_weight_kg=0.4) for number in range(3)]
    missed = make_outcome("RB2", status="missed", result=None)
    alert = Alert("A1", day(0), expires_at=day(9), description_pattern="3-CMC", sender_name="Orchid")
    span = {"office": "Incheon", "capacity": 3, "explore": 0.5, "from": day(0), "until": day(19)}
    bodies: list[tuple[str, Any]] = [
        ("/v1/scores", cs[0]),
        ("/v1/scores?reasons=10&features=true", {"consignments": cs}),
        ("/v1/outcomes", make_outcome("RB0", result="nps", selection_probability=0.5)),
        ("/v1/outcomes", {"outcomes": [make_outcome("RB1"), missed]}),
        ("/v1/alerts", alert),
        ("/v1/cancellations", {"cancellations": [{"consignment_id": "RB2", "cancelled_at": day(3)}]}),
        ("/v1/selections", span),
    ]
    return [(path, msgspec.json.encode(body)) for path, body in bodies]


def check(document: dict[str, Any], method: str, path: str, response: Any) -> None:
    """Check an answer by the schema that the document has for it."""
    told = document["paths"][path][method]["responses"][str(response.status_code)]["content"]
    kind = response.headers["content-type"].partition(";")[0]
    value = response.text if kind == "text/plain" else response.json()
    schema = told[kind]["schema"] | {"components": document["components"]}
    jsonschema_rs.validator_for(schema).validate(value)


def test_the_document_tells_every_call_refusal_and_field_and_no_other_call(shared_client: Client) -> None:
    document = shared_client.read("/openapi.json")
    operations = {}
    for path, methods in document["paths"].items():
        operations |= {(method.upper(), path): each for method, each in methods.items()}
    listed = list_routes(shared_client.service, shared_client.app.door)
    routes = {(method, path.replace(":path", "")) for method, path, _, _ in listed}
    assert operations.keys() == {*routes, ("POST", "/v1/scores")} - {("GET", "/interface")}
    assert all(each["summary"] for each in operations.values())
    for call, scope in (("scores", "score"), ("outcomes", "outcome"), ("selections", "score")):
        operation = operations["POST", f"/v1/{call}"]
        assert {"401", "403", "413", "422", "429", "503"} <= operation["responses"].keys()
        assert operation["security"][0]["key"] == [scope]
    for name in ("Consignment", "Outcome", "Alert", "Cancellation", "ReportedState", "SelectionRequest"):
        schema = document["components"]["schemas"][name]
        assert schema["additionalProperties"] is False
        assert all("description" in field for field in schema["properties"].values())


def test_what_is_answered_fits_the_document_with_and_without_a_model(client: Client, tmp_path: Path) -> None:
    document = client.read("/openapi.json")
    others: list[tuple[str, Any]] = [
        ("/v1/scores", {"consignments": [make_consignment(), {}]}),
        ("/v1/scores", {"channel": "sea"}),
        ("/v1/scores", b"{"),
        ("/v1/cancellations", {"consignment_id": "nobody"}),
        ("/v1/events", {"consignment_id": "RB0", "state": "do_not_load"}),
    ]
    for path, body in [*whole_bodies(), *others]:
        check(document, "post", path.partition("?")[0], client.post(path, body))
    for path in ("model", "reasons", "events"):
        check(document, "get", f"/v1/{path}", client.get(f"/v1/{path}"))
    for path in ("/health/live", "/health/ready", "/openapi.json", "/metrics"):
        check(document, "get", path, client.get(path))
    check(document, "get", "/v1/consignments/{consignment_id}", client.get("/v1/consignments/RB0"))
    with serving(settings_in(tmp_path / "none")) as without:
        for path in ("/v1/model", "/health/ready"):
            check(without.read("/openapi.json"), "get", path, without.get(path))


WORDS = [
    b"null", b"true", b"-1", b"0", b"1e400", b"-0.0", b"NaN", b"Infinity", b"99999999999999999999999999", b"[]", b"{}",
    b'""', b'"\\ud800"', b'"\\u0000"', b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:59.999999Z"', b'"2024-02-30T00:00:00Z"',
    b'"2024-03-04T09:00:00+23:59"', b"[" * 400, b'{"a":' * 400, b"\xff", b"\xef\xbb\xbf", b"\x00", b'"' + b"x" * 70_000 + b'"',
    b'"' + "가́\u202e".encode() * 30 + b'"', b"1.7976931348623157e308", b"5e-324",
]  # fmt: skip
Spoil = Callable[[bytes, random.Random], bytes]


def cut(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body))]


def flip(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body))
    return body[:at] + bytes([body[at] ^ (1 << chance.randrange(8))]) + body[at + 1 :]


def put_word(body: bytes, chance: random.Random) -> bytes:
    """Put something in the place of a value; of the whole, where so much was cut off before that none is left."""
    places = [at + 1 for at in range(len(body)) if body[at : at + 1] == b":"] or [0]
    at = chance.choice(places)
    ends = (body.find(mark, at) for mark in (b",", b"}", b"]"))
    end = min((each for each in ends if each >= 0), default=len(body))
    return body[:at] + chance.choice(WORDS) + body[end:]


SPOILS: Sequence[Spoil] = (cut, flip, put_word, put_word)


def spoilt(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    chance, bodies = random.Random(seed), whole_bodies()
    for _ in range(count):
        path, body = chance.choice(bodies)
        for _ in range(chance.choice((1, 1, 2, 3))):
            body = chance.choice(SPOILS)(body, chance) or b" "
        yield path, body


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_spoilt_bodies_are_refused_and_never_a_fault_of_ours(client: Client, count: int) -> None:
    answers: Counter[int] = Counter()
    for path, body in spoilt(count, seed=count):
        response = client.post(path, body)
        answers[response.status_code] += 1
        assert response.status_code in (200, 400, 404, 422), (path, body, response.text)
        if response.status_code != 200:
            assert response.json()["status"] == response.status_code
    assert min(answers[200], answers[400], answers[422]) > count // 50
    client.score("at the end")
