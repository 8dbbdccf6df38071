"""The OpenAPI document is true: it tells every call, and what is answered fits it."""

from typing import Any

import jsonschema_rs
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, serving, settings_in

from consignments.records import Alert
from serving.http.app import list_routes


def check(document: dict[str, Any], method: str, path: str, response: Any) -> None:
    told = document["paths"][path][method]["responses"][str(response.status_code)]["content"]
    kind = response.headers["content-type"].partition(";")[0]
    value = response.text if kind == "text/plain" else response.json()
    schema = told[kind]["schema"] | {"components": document["components"]}
    jsonschema_rs.validator_for(schema).validate(value)


def test_it_tells_every_call_and_no_other(shared_client: Client) -> None:
    document = shared_client.read("/openapi.json")
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (method, path.replace(":path", ""))
        for method, path, _, _ in list_routes(shared_client.service, shared_client.app.door)
    } | {("POST", "/v1/scores")}
    assert told == routes - {("GET", "/interface")}
    assert all(each["summary"] for methods in document["paths"].values() for each in methods.values())


def test_what_is_answered_fits_it(client: Client) -> None:
    document = client.get("/openapi.json").json()
    consignment = make_consignment(description="research chemical powder")
    posts: list[tuple[str, Any]] = [
        ("/v1/scores", consignment),
        ("/v1/scores", {"consignments": [consignment, {}]}),
        ("/v1/scores", {"channel": "sea"}),
        ("/v1/scores", b"{"),
        ("/v1/outcomes", make_outcome()),
        ("/v1/outcomes", {"outcomes": [make_outcome(), {}]}),
        ("/v1/alerts", Alert("A1", day(0), hs_code="2939")),
        ("/v1/cancellations", {"consignment_id": consignment.consignment_id}),
        ("/v1/cancellations", {"consignment_id": "nobody"}),
        (
            "/v1/selections",
            {"office": "Incheon", "capacity": 1, "explore": 0, "from": day(-1), "until": day(1)},
        ),
    ]
    posts.append(("/v1/events", {"consignment_id": consignment.consignment_id, "state": "do_not_load"}))
    for path, body in posts:
        check(document, "post", path, client.post(path, body))
    scored = client.post("/v1/scores?features=true&reasons=5", consignment)
    check(document, "post", "/v1/scores", scored)
    for path in ("/v1/model", "/v1/reasons", "/health/live", "/health/ready", "/openapi.json", "/metrics"):
        check(document, "get", path, client.get(path))
    check(document, "get", "/v1/events", client.get("/v1/events"))
    told = client.get(f"/v1/consignments/{consignment.consignment_id}")
    check(document, "get", "/v1/consignments/{consignment_id}", told)


def test_without_a_model_what_is_answered_fits_it_too(tmp_path: Any) -> None:
    with serving(settings_in(tmp_path)) as client:
        document = client.get("/openapi.json").json()
        for path in ("/v1/model", "/health/ready"):
            check(document, "get", path, client.get(path))


def test_every_record_is_described_field_by_field(shared_client: Client) -> None:
    schemas = shared_client.read("/openapi.json")["components"]["schemas"]
    for name in ("Consignment", "Outcome", "Alert", "Cancellation", "ReportedState", "SelectionRequest"):
        assert schemas[name]["additionalProperties"] is False
        assert all("description" in field for field in schemas[name]["properties"].values())


@pytest.mark.parametrize("path", ["/v1/scores", "/v1/outcomes", "/v1/selections"])
def test_keys_and_refusals_are_told(shared_client: Client, path: str) -> None:
    operation = shared_client.read("/openapi.json")["paths"][path]["post"]
    assert {"401", "403", "413", "422", "429", "503"} <= operation["responses"].keys()
    assert operation["security"][0]["key"] in (["score"], ["outcome"])
