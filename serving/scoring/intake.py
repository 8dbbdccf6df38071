"""What comes in beside consignments: outcomes, alerts and cancellations; each once, however often it is sent."""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, structs

from consignments.records import Alert, Consignment, Outcome, Time
from consignments.timestamps import to_datetime, to_us
from consignments.visibility import find_outcome_fault
from serving.event_log.event_codec import Cancellation, EventCodec
from serving.event_log.events import Event
from serving.event_log.group_commit import CommitGroup, Committer
from serving.state.consignment_states import FirstRecorded
from serving.state.state import State

CLOCK_TOLERANCE_US = 5 * 60 * 1_000_000
"""How far the sender's clock may be ahead of ours."""


FaultKind = Literal[
    "missing_field",
    "unknown_field",
    "wrong_type",
    "bad_value",
    "not_json",
    "too_many",
    "not_printable",
    "inconsistent",
    "in_future",
    "unknown_consignment",
]
"""What is wrong with a record, for programs: it is counted by kind."""


class Receipt(msgspec.Struct, frozen=True):
    """That a record was taken."""

    id: Annotated[str, Meta(description="`consignment_id`, or `alert_id` of an alert")]
    recorded_at: Annotated[Time | None, Meta(description="when the service was told first; null: imported")]
    repeated: Annotated[bool, Meta(description="true where it was known already, and nothing changed")]


class PendingReceipt(NamedTuple):
    """A receipt on its way out; `group` must be durable before it leaves, None where it is on disk already."""

    receipt: Receipt
    group: CommitGroup | None


class FieldError(NamedTuple):
    """What is wrong with a record: the field and the reason, in words and for programs."""

    field: str
    reason: str
    kind: FaultKind


def check_arrival(c: Consignment, now_us: int) -> FieldError | None:
    """Find what is wrong with a consignment that its type does not tell.

    A moment in the future would make history forget: it remembers the 366 days before the latest event.
    """
    return _check_printable("consignment_id", c.consignment_id) or check_not_future(
        now_us, received_at=c.received_at, cancelled_at=c.cancelled_at
    )


def check_outcome(outcome: Outcome, now_us: int) -> FieldError | None:
    """Find what is wrong with an outcome that its type does not tell: nothing is known, or done, in the future."""
    found = find_outcome_fault(outcome)
    return (
        _check_printable("consignment_id", outcome.consignment_id)
        or (FieldError(*found, "inconsistent") if found else None)
        or check_not_future(
            now_us,
            known_at=outcome.known_at,
            inspected_at=outcome.inspected_at,
            selected_at=outcome.selected_at,
        )
    )


def check_alert(alert: Alert, now_us: int) -> FieldError | None:  # noqa: ARG001
    """Find what is wrong with an alert that its type does not tell; one may be issued for the future."""
    if alert.expires_at is not None and alert.expires_at <= alert.issued_at:
        return FieldError("expires_at", "not after issued_at", "inconsistent")
    return _check_printable("alert_id", alert.alert_id)


def check_cancellation(cancellation: Cancellation, now_us: int) -> FieldError | None:
    """Find what is wrong with a cancellation that its type does not tell."""
    return check_not_future(now_us, cancelled_at=cancellation.cancelled_at)


class Intake:
    """Takes records into the log and the state.

    Parameters
    ----------
    state : State
    entries : Entries
    committer : Committer
    """

    def __init__(self, state: State, entries: EventCodec, committer: Committer) -> None:
        self.state, self._entries, self._committer = state, entries, committer

    def record_outcome(self, outcome: Outcome, now_us: int, asked_by: str) -> PendingReceipt:
        """Take an outcome; `recorded_at` is ours to set, whatever was sent."""
        told = structs.replace(outcome, recorded_at=to_datetime(now_us))
        event = self._entries.encode_outcome(self._committer.next_sequence, told, asked_by)
        known = self.state.get_consignment(outcome.consignment_id).outcomes.get(event.content)
        if known is not None:
            return self._repeat(outcome.consignment_id, known)
        return self._record(outcome.consignment_id, event, now_us)

    def record_alert(self, alert: Alert, now_us: int, asked_by: str) -> PendingReceipt:
        """Take an alert; with other content under a known identifier it takes the place of the earlier one."""
        event = self._entries.encode_alert(self._committer.next_sequence, alert, now_us, asked_by)
        known = self.state.alert_versions.get(alert.alert_id)
        if known is not None and known[0] == event.content:
            return self._repeat(alert.alert_id, known[1])
        return self._record(alert.alert_id, event, now_us)

    def record_cancellation(
        self, cancellation: Cancellation, now_us: int, asked_by: str
    ) -> PendingReceipt | None:
        """Take a cancellation; None where the consignment is unknown."""
        name = cancellation.consignment_id
        known = self.state.get_consignment(name)
        if known.version is None:
            return None
        if known.cancellation is not None:
            return self._repeat(name, known.cancellation)
        at_us = now_us if cancellation.cancelled_at is None else to_us(cancellation.cancelled_at)
        sequence = self._committer.next_sequence
        return self._record(
            name, self._entries.encode_cancellation(sequence, name, at_us, now_us, asked_by), now_us
        )

    def _record(self, name: str, event: Event, now_us: int) -> PendingReceipt:
        self.state.apply(event)
        group = self._committer.add(event)
        return PendingReceipt(Receipt(name, to_datetime(now_us), repeated=False), group)

    def _repeat(self, name: str, told: FirstRecorded) -> PendingReceipt:
        """Answer a repeat; what it repeats may itself still be on its way to disk."""
        recorded_at = None if told.recorded_us is None else to_datetime(told.recorded_us)
        group = self._committer.find_group(self._committer.next_sequence - 1)
        return PendingReceipt(Receipt(name, recorded_at, repeated=True), group)


def _check_printable(field: str, name: str) -> FieldError | None:
    """Identifiers stand in columns, headers and on screens: nothing that cannot be printed may be in them."""
    if name.isprintable():
        return None
    return FieldError(field, "holds characters that cannot be printed", "not_printable")


def check_not_future(now_us: int, **moments: Time | None) -> FieldError | None:
    """Find the first moment that is in the future, however wrong the sender's clock may be."""
    last = now_us + CLOCK_TOLERANCE_US
    for field, moment in moments.items():
        if moment is not None and to_us(moment) > last:
            return FieldError(field, "is in the future", "in_future")
    return None
