"""The OpenAPI document, made from the types that read and write the bodies, so that it cannot tell anything else."""

from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from consignments.records import Alert, Consignment, Outcome
from serving.event_log.event_codec import Cancellation
from serving.http import schemas as answers
from serving.http.auth import Scope
from serving.http.messages import MESSAGE_TYPES
from serving.http.problems import Problem
from serving.http.requests import MAX_RECORDS
from serving.http.selections import SelectionList, SelectionRequest
from serving.scoring.intake import Receipt
from serving.scoring.scorer import MAX_REASONS

REFERENCE_TEMPLATE = "#/components/schemas/{name}"
COMMON_ERROR_STATUSES = (401, 403, 429)
BODY_ERROR_STATUSES = (400, 408, 413, 415, 422)
Document = dict[str, Any]


class ApiOperation(NamedTuple):
    """One call of the interface.

    Attributes
    ----------
    method, path, summary : str
    scope : str or None
        The scope its key must have; None where no key is asked for.
    answer : type or str
        Type of the answer, or the media type of one that is not JSON.
    record : type or None
        What is sent: one of these, or a list under `plural`.
    plural : str
        Empty where no list is taken.
    list_answer : type or None
        Type of the answer to a list.
    parameters : tuple
        Of the query, or the path.
    refusals : tuple of int
        Statuses beside the common ones.
    message_types : tuple of str
        Media types of messages that are taken in the place of JSON.
    """

    method: str
    path: str
    summary: str
    scope: Scope | None
    answer: Any
    record: type[Any] | None = None
    plural: str = ""
    list_answer: type[Any] | None = None
    parameters: tuple[Document, ...] = ()
    refusals: tuple[int, ...] = ()
    message_types: tuple[str, ...] = ()


def list_operations(record: type[Consignment] = Consignment) -> tuple[ApiOperation, ...]:
    """List the calls; `record` is the loaded model's type of consignment."""
    return (
        ApiOperation(
            "post", "/v1/scores", "Score one consignment, a list, or messages", "score", answers.Score, record, "consignments",
            answers.Scores, SCORE_PARAMETERS, (503,), tuple(name.decode() for name in MESSAGE_TYPES),
        ),
        ApiOperation(
            "post", "/v1/outcomes", "Tell what was found", "outcome", Receipt, Outcome, "outcomes",
            answers.OutcomeReceipts, (), (503,),
        ),
        ApiOperation(
            "post", "/v1/alerts", "Tell what partners warn of", "outcome", Receipt, Alert, "alerts",
            answers.AlertReceipts, (), (503,),
        ),
        ApiOperation(
            "post", "/v1/cancellations", "Withdraw a consignment: it no longer counts", "outcome", Receipt,
            Cancellation, "cancellations", answers.CancellationReceipts, (), (404, 503),
        ),
        ApiOperation(
            "post", "/v1/selections", "The inspection list of an office, over what was scored", "score",
            SelectionList, SelectionRequest, refusals=(503,),
        ),
        ApiOperation(
            "get", "/v1/consignments/{consignment_id}", "Every decision and outcome recorded for a consignment",
            "read", answers.ConsignmentHistory, parameters=ID_PARAMETER, refusals=(404, 503),
        ),
        ApiOperation("get", "/v1/model", "The model that scores", "read", answers.ModelInfo, refusals=(503,)),
        ApiOperation(
            "get", "/v1/reasons", "All codes of reasons with the texts of their features", "read", answers.ReasonCodes,
            refusals=(503,),
        ),
        ApiOperation("get", "/health/live", "Whether the process answers", None, answers.Liveness),
        ApiOperation("get", "/health/ready", "Whether scores can be given now, and why not", None, answers.Health),
        ApiOperation("get", "/metrics", "Numbers for Prometheus", "read", "text/plain"),
        ApiOperation("get", "/openapi.json", "This description", None, "application/json"),
    )  # fmt: skip


SCORE_PARAMETERS: tuple[Document, ...] = (
    {
        "name": "reasons",
        "in": "query",
        "description": "how many reasons; left out: 3 for `high` and `elevated`, none for `routine`",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_REASONS},
    },
    {
        "name": "features",
        "in": "query",
        "description": "whether to add the values of the features",
        "schema": {"type": "boolean", "default": False},
    },
)
ID_PARAMETER: tuple[Document, ...] = (
    {
        "name": "consignment_id",
        "in": "path",
        "required": True,
        "description": "may hold slashes, as AWB/HAWB",
        "schema": {"type": "string", "minLength": 1},
    },
)


def build_document(record: type[Consignment], version: str) -> Document:
    """Make the document.

    Parameters
    ----------
    record : type
        Type of consignment of the loaded model: its declared columns are part of the interface.
    version : str
        Of npsrisk.
    """
    described = list_operations(record)
    types = [each for call in described for each in _types(call)]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=REFERENCE_TEMPLATE)
    paths: Document = {}
    for call in described:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "npsrisk",
            "version": version,
            "summary": "Risk that a postal item or an air-cargo consignment holds a new psychoactive substance",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "an API key; not asked for on loopback",
                }
            },
        },
    }


def _types(call: ApiOperation) -> list[Any]:
    types = [each for each in (call.record, call.list_answer) if each is not None]
    if call.plural:
        types.append(_list_type(call))
    return types if isinstance(call.answer, str) else [*types, call.answer]


def _list_type(call: ApiOperation) -> type[Any]:
    assert call.record is not None
    members: Any = Annotated[list[call.record], Meta(max_length=MAX_RECORDS)]  # type: ignore[name-defined]
    return msgspec.defstruct(call.plural.capitalize(), [(call.plural, members)], forbid_unknown_fields=True)


def _operation(call: ApiOperation) -> Document:
    operation: Document = {
        "summary": call.summary,
        "operationId": f"{call.method}_{call.path.strip('/').partition('/{')[0].replace('/', '_').replace('.', '_')}",
        "responses": {"200": _response(call), **_error_responses(call)},
    }
    if call.parameters:
        operation["parameters"] = list(call.parameters)
    if call.scope is not None:
        operation["security"] = [{"key": [call.scope]}]
    if call.record is not None:
        schema: Document = _reference(call.record.__name__)
        if call.plural:
            schema = {"oneOf": [schema, _reference(call.plural.capitalize())]}
        content: Document = {"application/json": {"schema": schema}}
        content |= {name: {"schema": {"type": "string"}} for name in call.message_types}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _response(call: ApiOperation) -> Document:
    if isinstance(call.answer, str):
        kind = "object" if call.answer == "application/json" else "string"
        return {"description": call.summary, "content": {call.answer: {"schema": {"type": kind}}}}
    schema: Document = _reference(call.answer.__name__)
    if call.list_answer is not None:
        schema = {"oneOf": [schema, _reference(call.list_answer.__name__)]}
    return {"description": "done", "content": {"application/json": {"schema": schema}}}


def _error_responses(call: ApiOperation) -> Document:
    statuses = {421, *call.refusals}
    if call.scope is not None:
        statuses |= set(COMMON_ERROR_STATUSES)
    if call.record is not None:
        statuses |= set(BODY_ERROR_STATUSES)
    told = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _reference("Problem")}},
        }
        for status in sorted(statuses)
    }
    if call.path == "/health/ready":
        told["503"] = {"description": "not ready", "content": _response(call)["content"]}
    return told


def _reference(name: str) -> Document:
    return {"$ref": REFERENCE_TEMPLATE.format(name=name)}
