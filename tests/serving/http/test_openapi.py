"""The OpenAPI document is true: it tells every call, and what is answered fits it."""

from typing import Any

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in

from consignments.records import Alert
from serving.http.app import list_routes

TYPES = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}
KNOWN = {
    "$ref", "anyOf", "oneOf", "type", "enum", "properties", "required", "items", "additionalProperties", "title",
    "description", "default", "format", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "maxItems",
}  # fmt: skip


def faults(value: Any, schema: dict[str, Any], document: dict[str, Any], path: str = "$") -> list[str]:
    """What in a value does not fit a schema; of JSON Schema what the document uses, anything else is a fault."""
    if schema.keys() - KNOWN:
        return [f"{path}: cannot check {schema.keys() - KNOWN}"]
    if "$ref" in schema:
        return faults(
            value, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, path
        )
    if "oneOf" in schema or "anyOf" in schema:
        fit = [not faults(value, each, document, path) for each in schema.get("oneOf", schema.get("anyOf"))]
        good = sum(fit) == 1 if "oneOf" in schema else any(fit)
        return [] if good else [f"{path}: fits {sum(fit)} of the choices"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r} is none of {schema['enum']}"]
    kind = schema.get("type")
    if kind is not None and not isinstance(value, TYPES[kind]):
        return [f"{path}: {value!r} is no {kind}"]
    if isinstance(value, list):
        return [
            each
            for n, item in enumerate(value)
            for each in faults(item, schema["items"], document, f"{path}[{n}]")
        ]
    return _member_faults(value, schema, document, path) if isinstance(value, dict) else []


def _member_faults(
    value: dict[str, Any], schema: dict[str, Any], document: dict[str, Any], path: str
) -> list[str]:
    known, further = (
        schema.get("properties", {}),
        schema.get("additionalProperties", not schema.get("properties")),
    )
    found = [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, member in value.items():
        if name not in known and further is False:
            found.append(f"{path}: {name} is not told")
        told = known.get(name, further)
        if isinstance(told, dict):
            found += faults(member, told, document, f"{path}.{name}")
    return found


def check(document: dict[str, Any], method: str, path: str, response: Any) -> None:
    told = document["paths"][path][method]["responses"][str(response.status_code)]["content"]
    kind = response.headers["content-type"].partition(";")[0]
    value = response.text if kind == "text/plain" else response.json()
    assert faults(value, told[kind]["schema"], document) == []


def test_it_tells_every_call_and_no_other(client: Client) -> None:
    document = client.get("/openapi.json").json()
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (method, path.replace(":path", ""))
        for method, path, _, _ in list_routes(client.service, client.app.door)
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


def test_every_record_is_described_field_by_field(client: Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Consignment", "Outcome", "Alert", "Cancellation", "ReportedState", "SelectionRequest"):
        assert schemas[name]["additionalProperties"] is False
        assert all("description" in field for field in schemas[name]["properties"].values())


def test_a_column_that_the_model_declares_is_told(tmp_path: Any, column_bundle: Any) -> None:
    publish(tmp_path, column_bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert "tax_rate" in schemas["DeclaredConsignment"]["properties"]


@pytest.mark.parametrize("path", ["/v1/scores", "/v1/outcomes", "/v1/selections"])
def test_keys_and_refusals_are_told(client: Client, path: str) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["post"]
    assert {"401", "403", "413", "422", "429", "503"} <= operation["responses"].keys()
    assert operation["security"][0]["key"] in (["score"], ["outcome"])
