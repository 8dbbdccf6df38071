"""Answers to the forms of officers: decisions, results, and trials."""

from functools import partial
from typing import Any

import msgspec

from consignments.identifiers import normalize_identifier
from consignments.records import Consignment, Outcome
from consignments.timestamps import convert_us_to_day, to_datetime, to_us
from features.normalization.normal_forms import get_declared_texts
from operation.desk.acts import find_selected_by, find_selection, is_same_act
from operation.desk.formats import build_link
from operation.desk.forms import Form, FormFault, build_action, build_consignment, build_outcome
from operation.desk.pages import OfficerPages, Visit, redirect
from serving.event_log.event_codec import Action, find_counting_version
from serving.event_log.events import DecisionEvent, Event
from serving.http.asgi import HttpCall
from serving.http.problems import Refusal
from serving.http.protocol.records import format_reason
from serving.http.requests import parse_number
from serving.messages.linking import build_records, link_alone
from serving.scoring.batching import yield_to_requests
from serving.scoring.decisions import find_doubts
from serving.scoring.intake import OTHER_OFFICE, REASON_REQUIRED, FieldError, list_faults, propose
from serving.scoring.recording import ACTIONS, OUTCOMES, UNKNOWN_CONSIGNMENT
from serving.scoring.scorer import Scorer
from serving.service import Service

MAX_TRIALS = 50
NOT_FOUND = "Nothing is recorded for this consignment, or it belongs to an office that your key may not see."
CHANGED = FieldError("last", "is not the last entry of the consignment; look at what is new", "inconsistent")


async def decide(pages: OfficerPages, call: HttpCall, visit: Visit) -> int:
    """Record an action or an outcome, and go on to the consignment that the form names, with what was recorded on its top."""
    form = await pages.read_form(call, visit.cookie)
    kind, service = form.get("form"), pages.service
    if kind not in ("action", "outcome"):
        raise Refusal(400, "The form is not known.")
    visit.caller.require("act" if kind == "action" else "outcome")
    name = form.get("id", "")
    events = await service.active.read_entries(name)
    office = service.active.entries.find_office(events)
    if not events or not visit.caller.may_see(office):
        raise Refusal(404, NOT_FOUND)
    try:
        record = _build(service, form, visit.person, office, events)
    except FormFault as fault:
        return await _show_again(pages, call, visit, form, str(fault), 422)
    check = partial(_check_unchanged, service, form)
    records = ACTIONS if kind == "action" else OUTCOMES
    taken = await service.recorder.record(records, record, visit.caller, check)
    if isinstance(taken, FieldError):
        if taken in (UNKNOWN_CONSIGNMENT, OTHER_OFFICE):
            raise Refusal(404, NOT_FOUND)
        if taken is not CHANGED:
            why = "act.reason_required" if taken is REASON_REQUIRED else format_reason(taken)
            return await _show_again(pages, call, visit, form, why, 422)
        await service.active.committer.drain()  # the page shows what is on disk
        last = parse_number(form.get("last", "")) or 0
        later = [each for each in await service.active.read_entries(name) if each.sequence > last]
        if not is_same_act(later, record, visit.caller.name):
            return await _show_again(pages, call, visit, form, "act.changed", 409)
    elif taken.group is not None:
        await taken.group.wait_until_durable()
    shown = form.get("next") if form.get("go") == "1" else None
    link = build_link("/consignment", id=shown or name, list=form.get("list"), done=name)
    return await redirect(call, link)


def _build(
    service: Service, form: Form, person: str, office: str | None, events: list[Event]
) -> Action | Outcome:
    now_us = service.active.clock()
    if form["form"] == "action":
        return build_action(form, person, now_us)
    version = find_counting_version(events)
    selection = find_selection(events)
    band = version.band if isinstance(version, DecisionEvent) else None
    proposal = propose(band, selected=selection is not None)
    known = find_selected_by(selection, proposal)
    return build_outcome({**form, "selected_by": form.get("selected_by") or known}, office, now_us)


def _check_unchanged(service: Service, form: Form) -> FieldError | None:
    """Return an error if a form follows an entry of the consignment that the page did not show."""
    last = parse_number(form.get("last", ""))
    known = service.active.state.get_consignment(normalize_identifier(form.get("id", "")))
    return None if last is not None and known.sequence <= last else CHANGED


async def _show_again(
    pages: OfficerPages, call: HttpCall, visit: Visit, form: Form, fault: str, status: int
) -> int:
    """Show the consignment with what was entered, and what is wrong with it."""
    entered = {name: value for name, value in form.items() if name not in ("token", "id", "last")}
    facts = {"form": entered, "fault": fault, "status": status}
    query = {name: form[name] for name in ("id", "list") if form.get(name)}
    return await pages.show(call, "consignment", visit, query, facts)


async def try_consignment(pages: OfficerPages, call: HttpCall, visit: Visit) -> int:
    """Score fields or messages without recording, and show the scores."""
    form = await pages.read_form(call, visit.cookie)
    visit.caller.require("score")
    entered = {name: value for name, value in form.items() if name != "token"}
    facts: dict[str, Any] = {"form": entered, "faults": []}
    try:
        consignments, notes = await _read_trials(pages.service, form)
        visit.caller.spend(len(consignments))
        active, results = pages.service.active, []
        for c in consignments:
            for fault in list_faults(c, active.clock()):
                raise FormFault(format_reason(fault))
            results.append(score_trial(active.get_scorer(), find_doubts(c)[0]))
            await yield_to_requests()
        facts |= {"results": results, "faults": notes}
    except FormFault as fault:
        facts |= {"faults": [str(fault)], "status": 422}
    return await pages.show(call, "try", visit, {}, facts)


async def _read_trials(service: Service, form: Form) -> tuple[list[Consignment], list[str]]:
    """Read the consignments of a form, with notes about what cannot be scored."""
    now_us = service.active.clock()
    if form.get("form") != "message":
        return [build_consignment(form, now_us)], []
    try:
        assert service.messages is not None
        found = await service.messages.read(form.get("message", "").encode())
    except Refusal as refusal:
        raise FormFault(refusal.detail) from None
    rows = link_alone(found.entries, to_datetime(now_us))
    records = build_records(rows, service.active.get_scorer().model.record)
    notes = [f"{reject.place}: {reject.reason}" for reject in found.rejects[:MAX_TRIALS]]
    notes += [*found.ignored[:MAX_TRIALS], *found.notes[:MAX_TRIALS]]
    if len(records) > MAX_TRIALS:
        notes.append(f"Only the first {MAX_TRIALS} of {len(records)} consignments are scored.")
    return list(records[:MAX_TRIALS]), notes


REASONS = 5


def score_trial(scorer: Scorer, c: Consignment) -> dict[str, Any]:
    """Score a consignment as if it arrived now, without recording it."""
    model, state, received_at = scorer.model, scorer.state, c.received_at
    assert received_at is not None
    if type(c) is not model.record:
        c = msgspec.convert(c, model.record, from_attributes=True)
    row, keys, counterparts = model.describe(c, scorer.committer.next_sequence)
    state.read_arrival(convert_us_to_day(to_us(received_at)), keys, counterparts, row)
    score = model.score_row(row, c.channel)
    reasons = [each.text for each in model.risk.explain(row, REASONS, declared=get_declared_texts(c))]
    band = model.risk.bands.assign(score)
    return {"consignment_id": c.consignment_id, "score": score, "band": band, "reasons": reasons}
