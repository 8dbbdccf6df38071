"""Answers to the forms of officers: decisions, results, and trials."""

from functools import partial
from typing import Any

from consignments.identifiers import normalize_identifier
from consignments.records import Consignment, Outcome
from consignments.timestamps import to_datetime
from operation.desk.formats import build_link
from operation.desk.forms import Form, FormFault, build_action, build_consignment, build_outcome
from operation.desk.pages import OfficerPages, Visit
from serving.event_log.event_codec import Action
from serving.http.asgi import HttpCall
from serving.http.messages import read_message_body
from serving.http.problems import Refusal
from serving.http.protocol.records import format_reason
from serving.http.requests import parse_number
from serving.messages.linking import link_alone
from serving.messages.reading import build_records
from serving.scoring.batching import yield_to_requests
from serving.scoring.decisions import find_doubts
from serving.scoring.intake import REASON_REQUIRED, FieldError, list_faults
from serving.scoring.recording import (
    ACTIONS,
    OTHER_OFFICE,
    OUTCOMES,
    UNKNOWN_CONSIGNMENT,
    OfficeFinder,
    find_office,
)
from serving.scoring.trial import TrialScore, score_trial
from serving.service import Service

MAX_TRIALS = 50
NOT_FOUND = "Nothing is recorded for this consignment, or it belongs to an office that your key may not see."

CHANGED = FieldError("last", "is not the last entry of the consignment; look at what is new", "inconsistent")


class DecideEndpoint:
    """The answer to the forms of a consignment's page: an action, or an outcome.

    Parameters
    ----------
    pages : OfficerPages
    service : Service
    """

    def __init__(self, pages: OfficerPages, service: Service) -> None:
        self._pages, self._service, self._active = pages, service, service.active
        self._finder = OfficeFinder(service.active, service.log)

    async def __call__(self, call: HttpCall, visit: Visit) -> int:
        """Record what a form says, and show the consignment again."""
        form = await self._pages.read_own_form(call, visit)
        kind = form.get("form")
        if kind not in ("action", "outcome"):
            raise Refusal(400, "The form is not known.")
        visit.caller.require("act" if kind == "action" else "outcome")
        office = await self._find_office(form.get("id", ""), visit)
        try:
            record = self._build(kind, form, visit.person, office)
        except FormFault as fault:
            return await self._show_again(call, visit, form, str(fault), 422)
        check = partial(self._check_unchanged, form)
        kind_of_record = ACTIONS if kind == "action" else OUTCOMES
        taken = await self._service.recorder.record(kind_of_record, record, visit.caller, check)
        if isinstance(taken, FieldError):
            return await self._refuse(call, visit, form, taken)
        if taken.group is not None:
            await taken.group.wait_until_durable()
        return await self._pages.redirect(call, build_link("/consignment", id=record.consignment_id))

    def _build(self, kind: str, form: Form, person: str, office: str | None) -> Action | Outcome:
        now_us = self._active.clock()
        if kind == "action":
            return build_action(form, person, now_us)
        return build_outcome(form, office, now_us)

    async def _find_office(self, identifier: str, visit: Visit) -> str | None:
        """Find the office of a known consignment; raise a refusal with 404 if it is unknown or of another office."""
        events = await self._finder.read_events(identifier)
        office = find_office(events, self._active.entries)
        if not events or not visit.caller.may_see(office):
            raise Refusal(404, NOT_FOUND)
        return office

    def _check_unchanged(self, form: Form) -> FieldError | None:
        """Return an error if an action follows an entry of the consignment that the page did not show."""
        if form.get("form") != "action":
            return None
        last = parse_number(form.get("last", ""))
        state = self._active.state
        known = state.get_consignment(normalize_identifier(form.get("id", "")))
        return None if last is not None and known.sequence <= last else CHANGED

    async def _refuse(self, call: HttpCall, visit: Visit, form: Form, error: FieldError) -> int:
        if error in (UNKNOWN_CONSIGNMENT, OTHER_OFFICE):
            raise Refusal(404, NOT_FOUND)
        if error is CHANGED:
            await self._active.committer.drain()  # the page shows what is on disk
            return await self._show_again(call, visit, form, "act.changed", 409)
        fault = "act.reason_required" if error is REASON_REQUIRED else format_reason(error)
        return await self._show_again(call, visit, form, fault, 422)

    async def _show_again(self, call: HttpCall, visit: Visit, form: Form, fault: str, status: int) -> int:
        """Show the consignment with what was entered, and what is wrong with it."""
        entered = {name: value for name, value in form.items() if name not in ("token", "id", "last")}
        facts = {"form": entered, "fault": fault, "status": status}
        return await self._pages.show(call, "consignment", visit, {"id": form.get("id", "")}, facts)


class TryEndpoint:
    """The answer to the forms for trials: fields, or messages."""

    def __init__(self, pages: OfficerPages, service: Service) -> None:
        self._pages, self._service, self._active = pages, service, service.active

    async def __call__(self, call: HttpCall, visit: Visit) -> int:
        """Score without recording, and show the scores."""
        form = await self._pages.read_own_form(call, visit)
        visit.caller.require("score")
        entered = {name: value for name, value in form.items() if name != "token"}
        facts: dict[str, Any] = {"form": entered, "faults": []}
        try:
            consignments, notes = await self._read(form)
            visit.caller.spend(len(consignments))
            facts["results"] = [_describe(each) for each in await self._score(consignments)]
            facts["faults"] = notes
        except FormFault as fault:
            facts |= {"faults": [str(fault)], "status": 422}
        return await self._pages.show(call, "try", visit, {}, facts)

    async def _read(self, form: Form) -> tuple[list[Consignment], list[str]]:
        """Read the consignments of a form, with notes about what cannot be scored."""
        now_us = self._active.clock()
        if form.get("form") != "message":
            return [build_consignment(form, now_us)], []
        try:
            mappings = self._service.mappings.content
            found = await read_message_body(form.get("message", "").encode(), now_us, mappings)
        except Refusal as refusal:
            raise FormFault(refusal.detail) from None
        rows = link_alone(found.entries, to_datetime(now_us))
        records = build_records(rows, self._active.get_scorer().model.record)
        notes = [f"{reject.place}: {reject.reason}" for reject in found.rejects[:MAX_TRIALS]]
        notes += [*found.ignored[:MAX_TRIALS], *found.notes[:MAX_TRIALS]]
        if len(records) > MAX_TRIALS:
            notes.append(f"Only the first {MAX_TRIALS} of {len(records)} consignments are scored.")
        return list(records[:MAX_TRIALS]), notes

    async def _score(self, consignments: list[Consignment]) -> list[TrialScore]:
        scores = []
        for c in consignments:
            for fault in list_faults(c, self._active.clock()):
                raise FormFault(format_reason(fault))
            scores.append(score_trial(self._active.get_scorer(), find_doubts(c)[0]))
            await yield_to_requests()
        return scores


def _describe(trial: TrialScore) -> dict[str, Any]:
    return {
        "consignment_id": trial.consignment_id,
        "score": trial.score,
        "band": trial.band,
        "reasons": [reason.text for reason in trial.reasons],
    }
