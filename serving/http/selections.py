"""Operation `POST /v1/selections`: the inspection list of an office."""

import msgspec

from serving.event_log.event_codec import Selection
from serving.http.problems import Refusal
from serving.http.protocol.records import build_refusal, get_reader
from serving.http.routing import ApiRequest, route
from serving.scoring.inspection_lists import SelectionRequest, build_selection_list, check_request
from serving.scoring.intake import FieldError
from serving.scoring.offices import OTHER_OFFICE


class SelectionList(msgspec.Struct, frozen=True):
    """The inspection list of an office."""

    office: str | None
    selections: list[Selection]


@route("/v1/selections", "selections", "POST", scope="score", record=SelectionRequest)
async def select_consignments(request: ApiRequest) -> SelectionList:
    """Select scored consignments of an office for inspection."""
    asked = await request.read_records(get_reader(SelectionRequest))
    assert isinstance(asked, SelectionRequest)
    caller, active = request.caller, request.service.active
    if not caller.may_see(asked.office):
        raise Refusal(403, OTHER_OFFICE.reason)
    now_us = active.clock()
    fault = check_request(asked, now_us)
    if fault is not None:
        raise build_refusal(fault)
    chosen = await build_selection_list(active, request.service.log, asked, now_us, caller.name)
    if isinstance(chosen, FieldError):
        raise build_refusal(chosen)
    return SelectionList(asked.office, chosen)
