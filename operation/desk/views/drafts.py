"""Draft messages of a confirmed detection as they would leave; the service asks for the same again when an officer approves them."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple, get_args

import msgspec

from consignments.errors import BadSetting
from consignments.exchange.documents import Handling, Seizure, Warning, encode_message
from consignments.timestamps import US_PER_DAY, to_datetime, to_us
from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from operation.desk.messages import PageAnswer, PageRequest, Viewer
from operation.desk.views.consignment import ConsignmentView, read_view
from operation.desk.views.sources import PageNotFound, PageSources
from operation.exchange.drafts import (
    SHARING_DAYS,
    VALID_DAYS,
    ConfirmedSeizure,
    DraftOptions,
    compute_case_reference,
    draft_seizure,
    draft_warning,
    find_common_indicators,
)
from serving.event_log.reader import LogReader

EXCLUDED_FROM_INDICATORS = ("features", "keys", "reasons")
HANDLING_CODES: tuple[str, ...] = get_args(Handling)
MAX_VALID_DAYS = 400
UNLISTED = frozenset(("issued_at", "expires_at", "author", "schema_version", "handling", "revision", "text"))
"""Fields of a document that a page does not list, because an officer chooses them or they are always the same."""
COUNTING = "counting"
"""Why there are no drafts yet: the identifiers that many own consignments share are being counted."""


class DraftForm(NamedTuple):
    """Choices of an officer for the messages of a detection."""

    operation: str | None
    handling: Handling
    valid_days: int
    text: str | None
    send_seizure: bool
    send_warning: bool

    @classmethod
    def parse(cls, form: Mapping[str, str]) -> "DraftForm":
        """Parse the fields of a form; one that cannot be used has its default."""
        days, handling = form.get("valid_days", ""), form.get("handling", "")
        approved = "digest" in form
        given = int(days) if days.isascii() and days.isdigit() and len(days) < 5 else VALID_DAYS
        return cls(
            form.get("operation") or None,
            handling if handling in HANDLING_CODES else "amber",  # type: ignore[arg-type]
            min(max(given, 1), MAX_VALID_DAYS),
            " ".join(form.get("text", "").split()) or None,
            not approved or form.get("send_seizure") == "1",
            not approved or form.get("send_warning") == "1",
        )


class Drafts(NamedTuple):
    """The draft messages of a detection."""

    seizure: Seizure
    warning: Warning | None
    operations: list[str]
    left_out: int
    digest: str


def view_draft(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any] | None:
    """Return the values of the page of a draft; None while its frequent indicators are counted."""
    form = DraftForm.parse(request.query)
    view, drafts, why = write_drafts(sources, request, viewer, form)
    if why == COUNTING:
        return None
    return {
        "c": view,
        "drafts": drafts,
        "why": why,
        "form": form,
        "codes": HANDLING_CODES,
        "fault": request.facts.get("fault"),
        "seizure_facts": [] if drafts is None else list_facts(drafts.seizure),
        "warning_facts": [] if drafts is None or drafts.warning is None else list_facts(drafts.warning),
    }


def answer_documents(sources: PageSources, request: PageRequest) -> PageAnswer:
    """Answer with the documents that an officer approves, as JSON: 409 if the form has other facts, 503 if they are not written yet."""
    assert request.viewer is not None
    form = DraftForm.parse(request.query)
    try:
        _, drafts, why = write_drafts(sources, request, request.viewer, form)
    except PageNotFound:
        return PageAnswer(404, b"[]")
    if drafts is None or drafts.digest != request.query.get("digest"):
        return PageAnswer(503 if why == COUNTING else 409, b"[]")
    chosen = ((drafts.seizure, form.send_seizure), (drafts.warning, form.send_warning))
    return PageAnswer(200, msgspec.json.encode([each for each, send in chosen if send and each is not None]))


def write_drafts(
    sources: PageSources, request: PageRequest, viewer: Viewer, form: DraftForm
) -> tuple[ConsignmentView, Drafts | None, str]:
    """Write the drafts of a detection, or return the key of the text that says why there are none."""
    view, author = read_view(sources, request.query.get("id", ""), viewer), sources.settings.administration
    if author is None:
        return view, None, "no_administration"
    entries, now = sources.load_entries(), to_datetime(request.now_us)
    c = entries.find_consignment(view.latest) if view.detection else None
    if c is None or view.outcome is None:
        return view, None, "no_detection"
    try:
        key = sources.keys.find(form.operation, now)
    except BadSetting:
        return view, None, "no_key"
    found = ConfirmedSeizure(c, view.outcome)
    place = compute_indicators(c, key)  # they name the key, and change with the consignment
    counted = sources.common.start(place, lambda: _find_common(sources, found, key, now))
    common = None if counted is None else counted.get()
    if common is None:
        return view, None, COUNTING
    options = DraftOptions(author, now, key, form.handling, form.valid_days, common)
    seizure = draft_seizure(found, options, compute_case_reference(sources.own, c.consignment_id))
    warning = draft_warning(seizure)
    digest = sha256(b"".join(_encode_facts(each) for each in (seizure, warning) if each is not None))
    if warning is not None and form.text is not None:
        warning = msgspec.structs.replace(warning, text=form.text)
    valid = sorted({each.operation for each in sources.keys if each.until is None or now < each.until})
    return view, Drafts(seizure, warning, valid, len(common), digest.hexdigest()), ""


def list_facts(message: Seizure | Warning) -> list[tuple[str, Any]]:
    """List the fields of a document that a page shows, with their values."""
    return [
        (name, len(value) if name == "indicators" else value)
        for name, value in msgspec.structs.asdict(message).items()
        if name not in UNLISTED and value not in (None, ())
    ]


def _find_common(
    sources: PageSources, found: ConfirmedSeizure, key: OperationKey, now: datetime
) -> frozenset[str]:
    """Find the indicators of a detection that many own consignments of the last year have."""
    entries, begins_us = sources.load_entries(), to_us(now) - SHARING_DAYS * US_PER_DAY
    with LogReader.open_to_read(sources.settings.database_url) as log:
        events = log.read_arrivals(0, log.last_sequence, EXCLUDED_FROM_INDICATORS)
        read = (entries.find_consignment(event) for event in events if event.at_us >= begins_us)
        return find_common_indicators((c for c in read if c is not None), [found], key)


def _encode_facts(message: Seizure | Warning) -> bytes:
    """Encode a document without what an officer chooses, and without its times, which are those of the approval."""
    document = msgspec.json.decode(encode_message(message))
    chosen = ("issued_at", "expires_at", "handling")
    return msgspec.json.encode({name: value for name, value in document.items() if name not in chosen})
