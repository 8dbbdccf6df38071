"""Intake of outcomes, alerts, cancellations, actions, answers of customs and messages: each is recorded once, even if sent repeatedly."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType, structs

from consignments.errors import MessageFault
from consignments.identifiers import normalize_identifier
from consignments.records import Alert, Consignment, Outcome, Time, about
from consignments.timestamps import convert_us_to_day, to_datetime, to_us
from consignments.visibility import find_outcome_fault
from features.alerts.patterns import ALERT_CRITERIA, list_unusable_criteria
from features.history.kernels import NO_DAY, RESULTS
from features.history.states import NOT_FINAL
from features.indicators.operation_keys import get_installed_keys
from models.signatures.envelope import Envelope
from serving.event_log.event_codec import (
    Action,
    Cancellation,
    CustomsState,
    EventCodec,
    Proposal,
    RecordedAction,
    ReportedState,
)
from serving.event_log.events import Event
from serving.event_log.group_commit import CommitGroup, Committer
from serving.scoring.exchange import ExchangeMembers, accept_message
from serving.state.consignment_states import ConsignmentState, FirstRecorded, rank_outcome
from serving.state.state import State

MIN_TIME_US = 946_684_800_000_000
"""2000-01-01, in microseconds since the epoch. What is older is a default of a system that does not know the time."""
MAX_TIME_US = to_us(datetime.max.replace(tzinfo=UTC))
CLOCK_TOLERANCE_US = 5 * 60 * 1_000_000
"""Tolerance for client clocks that are ahead of the service's clock, in microseconds."""
FaultKind = Literal[
    "missing_field",
    "unknown_field",
    "wrong_type",
    "bad_value",
    "repeated_field",
    "not_json",
    "too_many",
    "not_printable",
    "inconsistent",
    "no_criterion",
    "in_future",
    "too_early",
    "other_office",
    "unknown_consignment",
    "reason_required",
]
"""Machine-readable kind of a validation error; metrics count errors by kind."""
WarningKind = Literal[
    "before_receipt",
    "contradictory",
    "not_latest",
    "other_time",
    "country_read_as",
    "unknown_country",
    "implausible_value",
]
"""Machine-readable kind of a warning: of the values of an alert (`consignments.doubts`), of an outcome before its consignment was received, of a substance in a consignment
without an offence, of an outcome that became known before the valid one, of a second cancellation with another time."""


class RecordWarning(msgspec.Struct, frozen=True):
    """Something doubtful in a record that was recorded all the same."""

    kind: Annotated[WarningKind, about("machine-readable code of the warning")]
    detail: Annotated[str, about("what is doubtful")]


class Receipt(msgspec.Struct, frozen=True):
    """The receipt of a record."""

    id: Annotated[str, about("`consignment_id`; for an alert `alert_id`, for a message `author/message_id`")]
    recorded_at: Annotated[Time | None, about("when the service first recorded it; null if it was imported")]
    repeated: Annotated[bool, about("true if it was already recorded; then nothing changed")]
    known: Annotated[
        bool | UnsetType, about("of an outcome or event: false if its consignment is not known yet")
    ] = UNSET
    warnings: Annotated[list[RecordWarning] | UnsetType, about("what is doubtful, if anything is")] = UNSET


class PendingReceipt(NamedTuple):
    """A receipt that may be sent after `group` is durable; None if the record is already on disk."""

    receipt: Receipt
    group: CommitGroup | None


class FieldError(NamedTuple):
    """A validation error of a record: field, reason in words, and machine-readable kind."""

    field: str
    reason: str
    kind: FaultKind


REASON_REQUIRED = FieldError(
    "reason",
    "is required, because the action overrides what the score proposes, or releases what a result was found in",
    "reason_required",
)
OTHER_OFFICE = FieldError(
    "office", "this API key is bound to other offices; use a key of this consignment's office", "other_office"
)
NO_OFFICE = FieldError(
    "office",
    "name an office: in the consignment, as ?office= or in the header X-Office; this API key is bound to several",
    "other_office",
)


PAST_TIMES: dict[type[Any], tuple[str, ...]] = {
    Consignment: ("received_at", "cancelled_at", "issued_at"),
    Outcome: ("known_at", "inspected_at", "selected_at"),
    Cancellation: ("cancelled_at",),
    CustomsState: ("issued_at",),
    Action: ("acted_at",),
}
"""Times of each kind of record that may not be in the future: history keeps only the 366 days before the latest event."""
NEW_NAMES = Consignment | Outcome | CustomsState
"""Records whose consignment may be unknown, so that its identifier is checked."""


def list_faults(record: Any, now_us: int) -> list[FieldError]:
    """List all errors of a record that its type cannot express."""
    found: list[FieldError | None] = []
    if isinstance(record, NEW_NAMES):
        found.append(_check_printable("consignment_id", record.consignment_id))
    if isinstance(record, Outcome) and (fault := find_outcome_fault(record)):
        found.append(FieldError(*fault, "inconsistent"))
    if isinstance(record, Alert):
        found.append(check_alert(record))
    for kind, names in PAST_TIMES.items():
        if isinstance(record, kind):
            found += [check_time(name, getattr(record, name), now_us) for name in names]
    return [each for each in found if each is not None]


def check_alert(alert: Alert) -> FieldError | None:
    """Check what the type of an alert cannot express; return the error or None. It may be issued for the future."""
    if alert.expires_at is not None and alert.expires_at <= alert.issued_at:
        return FieldError("expires_at", "is not after issued_at", "inconsistent")
    for name in ("issued_at", "expires_at", "occurred_at"):
        if fault := check_time(name, getattr(alert, name)):
            return fault
    missing = get_installed_keys().list_missing(alert.indicators or ())
    if missing:
        return FieldError(
            "indicators",
            f"need the operation key {', '.join(missing)}; put its file into the exchange directory",
            "bad_value",
        )
    unusable = list_unusable_criteria(alert)
    if unusable:
        return FieldError(
            unusable[0],
            "has nothing that can be compared, so the alert would match no consignment; correct it, or leave it out",
            "no_criterion",
        )
    if not alert.indicators and not _has_criterion(alert):
        return FieldError(
            "description_pattern",
            "the alert has no criterion, so it matches no consignment; add one",
            "no_criterion",
        )
    return _check_printable("alert_id", alert.alert_id)


def is_notice(alert: Alert) -> bool:
    """Check if an alert only informs, without a criterion; the service refuses one, tables may hold one."""
    return bool(alert.text) and not _has_criterion(alert)


def _has_criterion(alert: Alert) -> bool:
    return any(getattr(alert, name) for name in ALERT_CRITERIA)


def propose(band: str | None, *, selected: bool) -> Proposal | None:
    """Return what is proposed for a consignment of a band; None without a band, unless it was selected."""
    return "inspect" if selected else PROPOSAL_OF_BAND.get(band or "")


PROPOSAL_OF_BAND: dict[str, Proposal] = {"high": "inspect", "elevated": "check", "routine": "release"}


class Intake:
    """The intake of outcomes, alerts, cancellations, actions, answers of customs and messages into log and state."""

    def __init__(
        self, state: State, entries: EventCodec, committer: Committer, members: ExchangeMembers
    ) -> None:
        self.state, self._entries, self._committer, self._members = state, entries, committer, members

    def record_outcome(self, outcome: Outcome, now_us: int, asked_by: str) -> PendingReceipt:
        """Record an outcome; `recorded_at` is set to the current time, whatever was sent."""
        dated = structs.replace(outcome, recorded_at=to_datetime(now_us))
        event = self._entries.outcomes.encode(self._committer.next_sequence, dated, now_us, asked_by)
        state = self.state.get_consignment(event.consignment_id)
        known, warnings = state.version is not None, find_outcome_warnings(outcome, state)
        if state.standing is not None and rank_outcome(dated, event)[0] < state.standing[:3]:
            warnings.append(RecordWarning("not_latest", "an outcome that became known later stays valid"))
        pending = self._record_once(outcome.consignment_id, event, state.outcomes, now_us)
        receipt = structs.replace(pending.receipt, known=known, warnings=warnings or UNSET)
        return pending._replace(receipt=receipt)

    def record_alert(self, alert: Alert, now_us: int, asked_by: str) -> PendingReceipt:
        """Record an alert; other content under a known identifier replaces the earlier alert."""
        event = self._entries.alerts.encode(self._committer.next_sequence, alert, now_us, asked_by)
        known = self.state.alert_versions.get(alert.alert_id)
        return self._record_once(alert.alert_id, event, {} if known is None else dict([known]), now_us)

    def record_message(self, envelope: Envelope, now_us: int, asked_by: str) -> PendingReceipt | FieldError:
        """Record a message of a partner, after the alerts that it changes; return why it is refused, if it is."""
        try:
            logged, alerts = accept_message(envelope, self._members, self.state, now_us)
        except MessageFault as fault:
            return FieldError("payload", str(fault), "bad_value")
        known = self.state.messages.get(logged.name)
        event = self._entries.messages.encode(0, logged, now_us, asked_by)
        if known is not None and known[0] == event.content:
            return self._repeat(logged.name, known[1])
        if known is not None and not alerts:
            return FieldError(
                "payload",
                "another message of this identifier is recorded; a change needs a higher revision",
                "inconsistent",
            )
        for alert in alerts:
            self.record_alert(alert, now_us, asked_by)
        event = structs.replace(event, sequence=self._committer.next_sequence)
        return self._record(logged.name, event, now_us)

    def record_cancellation(
        self, cancellation: Cancellation, now_us: int, asked_by: str
    ) -> PendingReceipt | None:
        """Record a cancellation; return None if the consignment is unknown."""
        name = normalize_identifier(cancellation.consignment_id)
        known = self.state.get_consignment(name)
        if known.version is None:
            return None
        if known.cancellation is not None:
            return self._repeat_cancellation(cancellation, known.cancellation)
        named = structs.replace(cancellation, consignment_id=name)
        event = self._entries.cancellations.encode(self._committer.next_sequence, named, now_us, asked_by)
        return self._record(cancellation.consignment_id, event, now_us)

    def record_action(self, action: Action, now_us: int, asked_by: str) -> PendingReceipt | FieldError | None:
        """Record an action; return None if the consignment is unknown, and an error if an override lacks its reason."""
        known = self.state.get_consignment(normalize_identifier(action.consignment_id))
        if known.version is None:
            return None
        band = None if known.decision is None else known.decision.band
        proposal = propose(band, selected=known.selected)
        recorded = RecordedAction(**structs.asdict(action), proposal=proposal)
        release_of_find = action.action == "release" and known.result not in (NOT_FINAL, RESULTS["clear"])
        if (recorded.overrides or release_of_find) and not (recorded.reason or "").strip():
            return REASON_REQUIRED
        event = self._entries.actions.encode(self._committer.next_sequence, recorded, now_us, asked_by)
        return self._record_once(action.consignment_id, event, known.actions, now_us)

    def record_state(self, reported: ReportedState, now_us: int, asked_by: str) -> PendingReceipt:
        """Record an answer of customs without its words; one of equal content and time of issue is a repeat."""
        answer = CustomsState(*(getattr(reported, name) for name in CustomsState.__struct_fields__))
        answer = structs.replace(answer, recorded_at=to_datetime(now_us))
        event = self._entries.states.encode(self._committer.next_sequence, answer, now_us, asked_by)
        state = self.state.get_consignment(event.consignment_id)
        known = state.version is not None
        pending = self._record_once(answer.consignment_id, event, state.answers, now_us)
        return pending._replace(receipt=structs.replace(pending.receipt, known=known))

    def _repeat_cancellation(self, cancellation: Cancellation, first: FirstRecorded) -> PendingReceipt:
        pending = self._repeat(cancellation.consignment_id, first)
        sent = cancellation.cancelled_at
        if sent is None or first.at_us is None or to_us(sent) == first.at_us:
            return pending
        detail = (
            f"it is cancelled since {to_datetime(first.at_us).isoformat()}; the time sent now is not recorded"
        )
        warnings = [RecordWarning("other_time", detail)]
        return pending._replace(receipt=structs.replace(pending.receipt, warnings=warnings))

    def _record_once(
        self, name: str, event: Event, known: Mapping[bytes, FirstRecorded], now_us: int
    ) -> PendingReceipt:
        """Record an entry, unless one of the same content is among the known ones."""
        first = known.get(event.content)
        return self._record(name, event, now_us) if first is None else self._repeat(name, first)

    def _record(self, name: str, event: Event, now_us: int) -> PendingReceipt:
        self.state.apply(event)
        group = self._committer.add([event])
        return PendingReceipt(Receipt(name, to_datetime(now_us), repeated=False), group)

    def _repeat(self, name: str, first: FirstRecorded) -> PendingReceipt:
        """Build the receipt of a repeated record, whose first entry may not be on disk yet."""
        recorded_at = None if first.recorded_us is None else to_datetime(first.recorded_us)
        group = self._committer.find_group(self._committer.next_sequence - 1)
        return PendingReceipt(Receipt(name, recorded_at, repeated=True), group)


def find_outcome_warnings(outcome: Outcome, state: ConsignmentState) -> list[RecordWarning]:
    """Find what is doubtful in an outcome, also in comparison with its consignment if that is known."""
    found: list[RecordWarning] = []
    moment = outcome.inspected_at or outcome.known_at
    if moment is not None and state.day != NO_DAY and convert_us_to_day(to_us(moment)) < state.day:
        found.append(
            RecordWarning(
                "before_receipt", "the inspection is before the day on which the consignment was received"
            )
        )
    if outcome.result == "clear" and (outcome.substance or outcome.substance_family or outcome.quantity_g):
        found.append(RecordWarning("contradictory", "a substance is named, and the result is clear"))
    return found


def _check_printable(field: str, name: str) -> FieldError | None:
    """Check that an identifier is printable and not blank, because it appears in columns, headers and on screens."""
    if not name.strip():
        return FieldError(field, "is blank", "bad_value")
    if name.isprintable():
        return None
    return FieldError(field, "contains characters that cannot be printed", "not_printable")


def check_time(field: str, moment: Time | None, now_us: int = MAX_TIME_US) -> FieldError | None:
    """Check that a time is in the years 2000 to 9999 and not in the future; return the error or None."""
    if moment is None or MIN_TIME_US <= (us := to_us(moment)) <= min(
        now_us + CLOCK_TOLERANCE_US, MAX_TIME_US
    ):
        return None
    if us < MIN_TIME_US:
        words = "is before the year 2000; send the true time, or null if it is not known"
        return FieldError(field, words, "too_early")
    if now_us == MAX_TIME_US:
        return FieldError(field, "is after the year 9999 in UTC", "bad_value")
    return FieldError(field, "is in the future; check the clock of the sender", "in_future")
