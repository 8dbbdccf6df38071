"""OpenAPI document, generated from the types that decode requests and encode responses, so that both always agree."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from http import HTTPStatus
from importlib.metadata import version as installed_version
from pathlib import Path
from string import Template
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from consignments.records import Consignment
from serving.http import feed, inquiries
from serving.http.asgi import respond
from serving.http.feed import select_consignments
from serving.http.ingestion import INGESTION_ROUTES
from serving.http.problems import Problem
from serving.http.protocol.records import MAX_RECORDS
from serving.http.requests import DEFAULT_PAGE_LENGTH, MAX_SEQUENCE_DIGITS
from serving.http.routing import ApiRequest, Operation, describe_parameter, route
from serving.http.scores import score_body

REFERENCE_TEMPLATE = "#/components/schemas/{name}"
REQUEST_ID_HEADER, RETRY_HEADER = "X-Request-Id", "Retry-After"
RETRY_STATUSES = (429, 503)
FOLDER = Path(__file__).parent
FRAME = (FOLDER / "openapi_frame.json").read_bytes()  # the document without what derives from the operations
EXAMPLES: dict[str, Any] = msgspec.json.decode((FOLDER / "examples.json").read_bytes())
"""A record of each operation with a body, by the operation's name."""
COMMON_ERROR_STATUSES = (401, 403, 429)
BODY_ERROR_STATUSES = (400, 408, 413, 415, 422)
Document = dict[str, Any]


@route("/openapi.json", "openapi", tag="service", scope=None, answer="application/json", refusals=())
async def read_document(request: ApiRequest) -> Document:
    """Return this OpenAPI document."""
    return build_document(request.service.active.model.record, installed_version("npsrisk"))


ROUTES = (
    score_body,
    *INGESTION_ROUTES,
    select_consignments,
    inquiries.read_consignment,
    feed.list_decisions,
    feed.list_messages,
    feed.list_customs_events,
    feed.list_open_selections,
    inquiries.read_model,
    inquiries.list_reasons,
    inquiries.read_liveness,
    inquiries.send_readiness,
    inquiries.send_metrics,
    read_document,
)


def list_operations(record: type[Consignment] = Consignment) -> tuple[Operation, ...]:
    """List the operations; `record` is the loaded model's type of consignment."""
    scores = msgspec.structs.replace(score_body.operation, record=record)
    return (scores, *(each.operation for each in ROUTES[1:]))


AFTER_TEXT = "sequence number after which the page begins: `next` of the page before"
LAST_SEQUENCE, LIMIT_TEXT = 10**MAX_SEQUENCE_DIGITS - 1, "maximum number of log entries in the page"
LIMITS: dict[str, Any] = {"minimum": 1, "maximum": MAX_RECORDS, "default": DEFAULT_PAGE_LENGTH}
PAGE_PARAMETERS = (
    describe_parameter("after", AFTER_TEXT, type="integer", minimum=0, maximum=LAST_SEQUENCE, default=0),
    describe_parameter("limit", LIMIT_TEXT, type="integer", **LIMITS),
)
ID_TEXT = "identifier of the consignment; may contain slashes, such as AWB/HAWB"
ID_PARAMETER = (
    describe_parameter("consignment_id", ID_TEXT, "path", type="string", minLength=1) | {"required": True},
)


def build_document(record: type[Consignment], version: str) -> Document:
    """Build the OpenAPI document for the type of consignment of the loaded model, whose declared columns are part of the interface."""
    described = list_operations(record)
    types = [each for call in described for each in _types(call)]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=REFERENCE_TEMPLATE)
    document: Document = msgspec.json.decode(FRAME)
    document["info"]["version"] = version
    document["components"]["schemas"] = _drop_null_defaults(schemas)
    for call in described:
        document["paths"].setdefault(strip_converter(call.path), {})[call.method.lower()] = _operation(call)
    return document


def strip_converter(path: str) -> str:
    """Return a path of the router as the document writes it."""
    return path.replace(":path}", "}")


def _drop_null_defaults(value: Any) -> Any:
    """Leave out `default: null`. Generators of clients would make such fields required."""
    if isinstance(value, dict):
        return {
            name: _drop_null_defaults(each)
            for name, each in value.items()
            if not (name == "default" and each is None)
        }
    return [_drop_null_defaults(each) for each in value] if isinstance(value, list) else value


def _types(call: Operation) -> list[Any]:
    types = [each for each in (call.record, call.list_answer) if each is not None]
    if call.plural:
        members: Any = Annotated[list[call.record], Meta(max_length=MAX_RECORDS)]  # type: ignore[name-defined]
        name, fields = call.plural.capitalize(), [(call.plural, members)]
        types.append(msgspec.defstruct(name, fields, forbid_unknown_fields=True))
    return types if isinstance(call.answer, str) else [*types, call.answer]


def _operation(call: Operation) -> Document:
    operation: Document = {
        "summary": call.summary,
        "tags": [call.tag],
        "operationId": f"{call.method.lower()}_{call.path.strip('/').partition('/{')[0].replace('/', '_').replace('.', '_')}",
        "responses": {"200": _response(call), **_error_responses(call)},
    }
    parameters = [
        *call.parameters,
        *(ID_PARAMETER if "{" in call.path else ()),
        *(PAGE_PARAMETERS if call.paged else ()),
    ]
    if parameters:
        operation["parameters"] = parameters
    if call.scope is not None:
        operation["security"] = [{"key": [call.scope]}]
    if call.record is not None:
        schema: Document = _reference(call.record.__name__)
        examples: Document = {"one": {"value": EXAMPLES[call.name]}}
        if call.plural:
            schema = {"oneOf": [schema, _reference(call.plural.capitalize())]}
            examples["list"] = {"value": {call.plural: [EXAMPLES[call.name]]}}
        content: Document = {"application/json": {"schema": schema, "examples": examples}}
        content |= {name: {"schema": {"type": "string"}} for name in call.message_types}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _response(call: Operation) -> Document:
    if isinstance(call.answer, str):
        kind = "object" if call.answer == "application/json" else "string"
        return {"description": call.summary, "content": {call.answer: {"schema": {"type": kind}}}}
    schema: Document = _reference(call.answer.__name__)
    if call.list_answer is not None:
        schema = {"oneOf": [schema, _reference(call.list_answer.__name__)]}
    return {
        "description": "Success",
        "headers": _refer_to_headers(REQUEST_ID_HEADER),
        "content": {"application/json": {"schema": schema}},
    }


def _refer_to_headers(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error_responses(call: Operation) -> Document:
    statuses = {421, 431, 500, 501, 505, *call.refusals}
    if call.scope is not None:
        statuses |= set(COMMON_ERROR_STATUSES)
    if call.record is not None:
        statuses |= set(BODY_ERROR_STATUSES)
    if call.paged:
        statuses.add(422)
    responses = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "headers": _refer_to_headers(
                REQUEST_ID_HEADER, *((RETRY_HEADER,) if status in RETRY_STATUSES else ())
            ),
            "content": {"application/problem+json": {"schema": _reference("Problem")}},
        }
        for status in sorted(statuses)
    }
    if call.path == "/health/ready":
        responses["503"] = {"description": "The service cannot score", "content": _response(call)["content"]}
    return responses


def _reference(name: str) -> Document:
    return {"$ref": REFERENCE_TEMPLATE.format(name=name)}


@route("/interface", "page", scope=None, answer="text/html", refusals=())
async def send_page(request: ApiRequest) -> int:
    """Return the page that lists the calls; it has no script and no external resources."""
    model = request.service.active.model
    loaded = model.release is not None
    state = f"Scores with {model.name}" if loaded else "No model is loaded: train, promote and publish one"
    text = Template((FOLDER / "landing_page.html").read_text(encoding="utf-8")).substitute(
        style=_STYLE,
        state_class="" if loaded else "waiting",
        state=escape(state),
        calls="\n".join(map(_format_row, list_operations())),
        version=escape(installed_version("npsrisk")),
    )
    await respond(request.call, 200, text.encode(), b"text/html; charset=utf-8", policy=build_policy())
    return 200


_STYLE = (FOLDER / "landing_page.css").read_text(encoding="utf-8")


def build_policy() -> tuple[bytes, bytes]:
    """Build the Content-Security-Policy header that allows only this page's own style sheet."""
    digest = b64encode(sha256(_STYLE.encode()).digest()).decode()
    value = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
    return b"content-security-policy", value.encode()


def _format_row(call: Operation) -> str:
    verb = f'<code><span class="verb">{call.method}</span>{escape(strip_converter(call.path))}</code>'
    return f"<tr><td>{verb}</td><td>{escape(call.summary)}</td><td>{call.scope or ''}</td></tr>"
