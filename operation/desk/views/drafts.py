"""Draft messages of a confirmed detection, for an officer to approve: a seizure with indicators, and a warning from its facts.

The page shows the documents as they would leave. The service asks for the same documents when they are approved, and signs them
only if nothing has changed.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple, get_args

import msgspec

from consignments.exchange.documents import Handling, Seizure, Warning, encode_message
from consignments.timestamps import US_PER_DAY, to_us
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKey, OperationKeys
from features.indicators.values import compute_indicators
from operation.desk.background import BackgroundValues
from operation.desk.views.consignment import find_standing_outcome, is_detection
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
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import Event
from serving.event_log.reader import LogReader
from serving.event_log.versions import find_counting_version

EXCLUDED_FROM_INDICATORS = ("features", "keys", "reasons")
HANDLING_CODES: tuple[str, ...] = get_args(Handling)
MAX_VALID_DAYS = 400
HIDDEN_FACTS = frozenset(
    ("issued_at", "expires_at", "author", "schema_version", "handling", "revision", "text")
)
"""Fields of a document that a page does not list, because an officer chooses them or they are always the same."""
MAX_KEPT = 20
"""Maximum number of consignments whose frequent indicators are kept."""


class DraftForm(NamedTuple):
    """Choices of an officer for the messages of a detection."""

    operation: str | None = None
    handling: Handling = "amber"
    valid_days: int = VALID_DAYS
    text: str | None = None
    send_seizure: bool = True
    send_warning: bool = True

    @classmethod
    def parse(cls, form: Mapping[str, str]) -> "DraftForm":
        """Parse the fields of a form; one that cannot be used has its default."""
        days = form.get("valid_days", "")
        handling = form.get("handling", "")
        approved = "digest" in form
        return cls(
            form.get("operation") or None,
            handling if handling in HANDLING_CODES else "amber",  # type: ignore[arg-type]
            min(max(int(days), 1), MAX_VALID_DAYS)
            if days.isascii() and days.isdigit() and len(days) < 5
            else VALID_DAYS,
            " ".join(form["text"].split()) if form.get("text", "").strip() else None,
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

    def list_chosen(self, form: DraftForm) -> list[Seizure | Warning]:
        """List the documents that are to be sent."""
        seizure = [self.seizure] if form.send_seizure else []
        return [*seizure, *([self.warning] if self.warning is not None and form.send_warning else [])]


def find_confirmed(events: Sequence[Event], entries: EventCodec) -> ConfirmedSeizure | None:
    """Find the detection of a consignment; None if its valid outcome is none, or its content was deleted."""
    outcome, latest = find_standing_outcome(events, entries), find_counting_version(events)
    if outcome is None or latest is None or not is_detection(outcome):
        return None
    c = entries.find_consignment(latest)
    return None if c is None else ConfirmedSeizure(c, outcome)


class DraftWriter:
    """A writer of drafts from the log of a service."""

    def __init__(
        self, url: str, administration: str, own: Pseudonyms, load_entries: Callable[[], EventCodec]
    ) -> None:
        self._url, self._administration, self._own = url, administration, own
        self._load_entries = load_entries
        self._common: BackgroundValues[tuple[str, ...], frozenset[str]] = BackgroundValues(MAX_KEPT)

    def write(
        self, found: ConfirmedSeizure, form: DraftForm, keys: OperationKeys, now: datetime
    ) -> Drafts | None:
        """Write the drafts of a detection; None while its frequent indicators are being counted."""
        key = keys.find(form.operation, now)
        common = self._count(found, key, now)
        if common is None:
            return None
        options = DraftOptions(self._administration, now, key, form.handling, form.valid_days, common)
        reference = compute_case_reference(self._own, found.consignment.consignment_id)
        seizure = draft_seizure(found, options, reference)
        warning = draft_warning(seizure)
        valid = sorted({each.operation for each in keys if each.until is None or now < each.until})
        facts = [msgspec.structs.replace(each, issued_at=now, expires_at=now, handling="amber")
                 for each in (seizure, warning) if each is not None]  # fmt: skip
        digest = sha256(b"".join(_encode_facts(each) for each in facts)).hexdigest()
        if warning is not None and form.text is not None:
            warning = msgspec.structs.replace(warning, text=form.text)
        return Drafts(seizure, warning, valid, len(common), digest)

    def _count(self, found: ConfirmedSeizure, key: OperationKey, now: datetime) -> frozenset[str] | None:
        place = compute_indicators(
            found.consignment, key
        )  # they name the key, and change with the consignment
        counted = self._common.start(place, lambda: self._find_common(found, key, now))
        return None if counted is None else counted.get()

    def _find_common(self, found: ConfirmedSeizure, key: OperationKey, now: datetime) -> frozenset[str]:
        """Find the indicators of a detection that many own consignments of the last year have."""
        entries = self._load_entries()
        with LogReader.open_to_read(self._url) as log:
            begins_us = to_us(now) - SHARING_DAYS * US_PER_DAY
            return find_common_indicators(
                (
                    c
                    for event in log.read_arrivals(0, log.last_sequence, EXCLUDED_FROM_INDICATORS)
                    if event.at_us >= begins_us and (c := entries.find_consignment(event)) is not None
                ),
                [found],
                key,
            )


def _encode_facts(message: Seizure | Warning) -> bytes:
    """Encode a document without its times, which are those of the approval."""
    document = msgspec.json.decode(encode_message(message))
    return msgspec.json.encode(
        {name: value for name, value in document.items() if name not in ("issued_at", "expires_at")}
    )


def list_facts(message: Seizure | Warning) -> list[tuple[str, Any]]:
    """List the fields of a document that a page shows, with their values."""
    return [
        (name, len(value) if name == "indicators" else value)
        for name, value in msgspec.structs.asdict(message).items()
        if name not in HIDDEN_FACTS and value not in (None, ())
    ]
