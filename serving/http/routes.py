"""The calls beside scores: what was found, warned of and cancelled comes in; what is known goes out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from importlib.metadata import version as installed_version
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from consignments.records import Alert, Outcome
from consignments.visibility import moment_of_us
from models.reasons import Reason
from serving.event_log.event_codec import Cancellation, Entries
from serving.event_log.events import Event
from serving.event_log.group_commit import Group
from serving.http import landing_page as page
from serving.http import openapi
from serving.http import schemas as answers
from serving.http.asgi import JSON, Reply, respond
from serving.http.auth import Caller
from serving.http.problems import Refusal, RowFault
from serving.http.requests import Records, Single, admit, refusal_of
from serving.http.selections import SelectionRequest, choose, complaint_about_request
from serving.scoring.batching import MOST_TOGETHER, let_others_through
from serving.scoring.intake import (
    Complaint,
    Receipt,
    Taken,
    complaint_about_alert,
    complaint_about_cancellation,
    complaint_about_outcome,
)
from serving.service import Service
from serving.state.consignment_states import NO_REASONS

SELECTIONS = Single(SelectionRequest)
METRICS_KIND = b"text/plain; version=0.0.4; charset=utf-8"
UNKNOWN = Complaint("consignment_id", "was neither scored nor imported", "unknown_consignment")
Endpoint = Callable[[Service, Scope, Receive, Reply], Awaitable[int]]
"""Answers a call and gives its status; what it raises is answered by `serving.http.asgi.Call`."""


class Taker:
    """`POST` of outcomes, alerts or cancellations: one, or a list under the plural name."""

    def __init__(
        self,
        record: type[Any],
        plural: str,
        list_answer: type[Any],
        complain: Callable[[Any, int], Complaint | None],
        take: Callable[[Service, Any, int, Caller], Taken | None],
    ) -> None:
        self._records: Records[Any] = Records(record, plural)
        self._list_answer, self._complain, self._take = list_answer, complain, take

    async def __call__(self, service: Service, scope: Scope, receive: Receive, reply: Reply) -> int:
        """Take one record or a list; the receipts leave once all is on disk."""
        caller = admit(service.access, scope, "outcome")
        found = self._records.read(await service.bodies.read_json(scope, receive))
        if isinstance(found, list):
            caller.spend(max(len(found), 1))
            return await _send_json(reply, await self._take_list(service, found, caller))
        caller.spend(1)
        await _meet(service, [found])
        taken = self._take_one(service, found, caller)
        if isinstance(taken, Complaint):
            raise refusal_of(taken) if taken is not UNKNOWN else Refusal(404, taken.reason)
        if taken.group is not None:
            await taken.group.durable()
        return await _send_json(reply, taken.receipt)

    async def _take_list(self, service: Service, raws: list[msgspec.Raw], caller: Caller) -> Any:
        receipts: list[Receipt] = []
        errors: list[RowFault] = []
        groups: list[Group] = []
        for start in range(0, len(raws), MOST_TOGETHER):
            if start:
                await let_others_through()
            chunk = raws[start : start + MOST_TOGETHER]
            records = [self._records.one_of(raw, index) for index, raw in enumerate(chunk, start)]
            await _meet(service, records)
            for index, record in enumerate(records, start):
                taken = record if isinstance(record, RowFault) else self._take_one(service, record, caller)
                if isinstance(taken, Complaint):
                    taken = self._records.row_fault(taken, index)
                if isinstance(taken, RowFault):
                    errors.append(taken)
                    continue
                receipts.append(taken.receipt)
                if taken.group is not None and taken.group not in groups[-1:]:
                    groups.append(taken.group)
        for group in groups:
            await group.durable()
        for error in errors:
            service.metrics.rejected(self._records.plural, error.kind)
        return self._list_answer(receipts, errors)

    def _take_one(self, service: Service, record: Any, caller: Caller) -> Taken | Complaint:
        service.committer.check()
        now_us = service.clock()
        complaint = self._complain(record, now_us)
        return complaint or self._take(service, record, now_us, caller) or UNKNOWN


async def _meet(service: Service, records: Sequence[Any]) -> None:
    """Let the service bring into memory what it knows of the consignments that records tell of."""
    await service.meet(
        [record.consignment_id for record in records if isinstance(record, Outcome | Cancellation)]
    )


async def _choose(service: Service, scope: Scope, receive: Receive, reply: Reply) -> int:
    caller = admit(service.access, scope, "score")
    request = SELECTIONS.read(await service.bodies.read_json(scope, receive))
    caller.spend(1)
    now_us = service.clock()
    complaint = complaint_about_request(request, now_us)
    if complaint is not None:
        raise refusal_of(complaint)
    return await _send_json(reply, await choose(service, request, now_us, caller))


async def _tell_consignment(service: Service, scope: Scope, _receive: Receive, reply: Reply) -> int:
    admit(service.access, scope, "read").spend(1)
    name = scope["path_params"]["consignment_id"]
    events = await asyncio.to_thread(service.log.of, name)
    if not events:
        raise Refusal(404, "nothing is recorded for this consignment")
    return await _send_json(
        reply, consignment_history(name, events, service.log.decision_id, service.entries)
    )


def consignment_history(
    name: str, events: list[Event], decision_id: Callable[[int], str], entries: Entries
) -> answers.ConsignmentHistory:
    """Sort the entries of a consignment by what they tell; nothing personal is among it."""
    of_kind = {
        kind: [event for event in events if event.kind == kind] for kind in {event.kind for event in events}
    }
    return answers.ConsignmentHistory(
        name,
        decisions=[_past_decision(event, decision_id) for event in of_kind.get("decision", [])],
        outcomes=[entries.outcome_of(event) for event in of_kind.get("outcome", [])],
        imported=[moment_of_us(event.at_us) for event in of_kind.get("arrival", [])],
        cancellations=[moment_of_us(event.at_us) for event in of_kind.get("cancellation", [])],
        selections=[entries.selection_of(event) for event in of_kind.get("selection", [])],
    )


def _past_decision(event: Event, decision_id: Callable[[int], str]) -> answers.PastDecision:
    assert event.recorded_us is not None
    assert event.score is not None
    return answers.PastDecision(
        decision_id(event.sequence),
        moment_of_us(event.at_us),
        moment_of_us(event.recorded_us),
        event.score,
        event.band or "",
        msgspec.msgpack.decode(event.reasons or NO_REASONS, type=list[Reason]),
        answers.ModelName.of(event.model or ""),
        event.asked_by,
    )


async def _tell_model(service: Service, scope: Scope, _receive: Receive, reply: Reply) -> int:
    admit(service.access, scope, "read").spend(1)
    model = service.model
    card, release = model.card, model.release
    if card is None or release is None or release.record is None:
        raise service.no_model()
    told = answers.ModelAnswer(
        release.name,
        release.version,
        card.target,
        card.as_of,
        release.bundle_sha256,
        card.feature_spec_sha256,
        card.code_version,
        card.metrics,
        release.record.approved_by,
        release.record.approved_at,
        model.loaded_at,
        _challenger(service),
    )
    return await _send_json(reply, told)


def _challenger(service: Service) -> answers.Challenger | None:
    release = service.shadow.release
    if release is None:
        return None
    return answers.Challenger(release.name, release.version, release.record is not None)


async def _tell_live(_service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    return await _send_json(reply, answers.Live(live=True))


async def _tell_ready(service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    reasons = service.not_ready()
    told = answers.Health(
        not reasons,
        reasons,
        service.warnings(),
        service.degraded,
        answers.ModelName.of(service.model.name) if service.scorer else None,
        service.log.last_sequence,
    )
    return await _send_json(reply, told, HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK)


async def _tell_metrics(service: Service, scope: Scope, _receive: Receive, reply: Reply) -> int:
    admit(service.access, scope, "read")
    await respond(reply, 200, service.metrics.text(service), METRICS_KIND)
    return 200


async def _tell_openapi(service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    return await _send_json(reply, openapi.document(service.model.record, installed_version("npsrisk")))


async def _tell_page(service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    body = page.page(
        installed_version("npsrisk"), service.model.name, loaded=service.model.release is not None
    )
    await respond(reply, 200, body, b"text/html; charset=utf-8", policy=page.policy())
    return 200


CALLS: tuple[tuple[str, str, str, Endpoint], ...] = (
    (
        "POST", "/v1/outcomes", "outcomes",
        Taker(Outcome, "outcomes", answers.OutcomesTaken, complaint_about_outcome,
               lambda service, record, now_us, caller: service.intake.conclude(record, now_us, caller.name)),
    ),
    (
        "POST", "/v1/alerts", "alerts",
        Taker(Alert, "alerts", answers.AlertsTaken, complaint_about_alert,
               lambda service, record, now_us, caller: service.intake.warn(record, now_us, caller.name)),
    ),
    (
        "POST", "/v1/cancellations", "cancellations",
        Taker(Cancellation, "cancellations", answers.CancellationsTaken, complaint_about_cancellation,
               lambda service, record, now_us, caller: service.intake.cancel(record, now_us, caller.name)),
    ),
    ("POST", "/v1/selections", "selections", _choose),
    ("GET", "/v1/consignments/{consignment_id:path}", "consignment", _tell_consignment),
    ("GET", "/v1/model", "model", _tell_model),
    ("GET", "/health/live", "live", _tell_live),
    ("GET", "/health/ready", "ready", _tell_ready),
    ("GET", "/metrics", "metrics", _tell_metrics),
    ("GET", "/openapi.json", "openapi", _tell_openapi),
    ("GET", "/", "page", _tell_page),
)  # fmt: skip


async def _send_json(reply: Reply, answer: Any, status: int = 200) -> int:
    await respond(reply, status, msgspec.json.encode(answer), JSON)
    return status
