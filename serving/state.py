"""What the service knows: history, alerts, and the standing version of each consignment; derived from the log alone.

Live and at a restart the same functions take the same entries in the same order, so that a restart changes nothing.
"""

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from consignments.visibility import NO_TIME, day_of_us, known_us
from features.alerts import Alerts
from features.history import History
from features.ledger import Ledger
from features.pipeline import Pipeline
from serving.entries import Entries, Keys, Row, Selection, stored_keys
from serving.event_log import Event, EventLog

HEAVY_COLUMNS = ("features",)
"""Not needed to build the state."""
PROGRESS_ENTRIES = 10_000
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What was answered for a consignment.

    Attributes
    ----------
    sequence : int
        Place in the log.
    scored_us : int
        When, in microseconds since the epoch.
    score : float
        Probability.
    band : str
    reasons : bytes
        As logged, MessagePack.
    model : str
        `NAME/VERSION`.
    model_sha256 : str
        Digest of its bundle.
    """

    sequence: int
    scored_us: int
    score: float
    band: str
    reasons: bytes
    model: str
    model_sha256: str


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The latest version of a consignment.

    Attributes
    ----------
    content : bytes
        Digest of its content.
    received_us : int
    decision : Decision or None
        None where it was imported.
    """

    content: bytes
    received_us: int
    decision: Decision | None


class State:
    """History, alerts and standing versions.

    Parameters
    ----------
    history : History
        Empty.
    entries : Entries

    Attributes
    ----------
    alerts : Alerts
        The pipeline reads them.
    standing : dict
        By consignment identifier.
    outcomes : dict
        When each outcome was recorded (microseconds, or None), by the digest of its content.
    alert_versions : dict
        Digest of the content, and when recorded, by the identifier of the alert.
    cancelled : dict
        When the service was told that a consignment was cancelled; one that is announced anew counts again.
    chosen : set of str
        Consignments that were chosen for inspection, by a selection or, as an outcome says, by somebody.
    selections : dict
        What was chosen, by the digest of the request it was chosen for.
    """

    def __init__(self, history: History, entries: Entries) -> None:
        self.alerts = Alerts()
        self.standing: dict[str, Standing] = {}
        self.outcomes: dict[bytes, int | None] = {}
        self.alert_versions: dict[str, tuple[bytes, int | None]] = {}
        self.cancelled: dict[str, int | None] = {}
        self.chosen: set[str] = set()
        self.selections: dict[str, list[Selection]] = {}
        self._ledger = Ledger(history)
        self._entries = entries

    def arrive(
        self, consignment_id: str, received_us: int, keys: Keys, counterparts: Keys, row: Row, at: int
    ) -> None:
        """Read history as it stands into `row` from column `at` on, then count the consignment.

        A consignment that is known already is an amendment: its earlier version is taken out first.
        """
        self._ledger.arrive(consignment_id, day_of_us(received_us), keys, counterparts, row, at)
        self.cancelled.pop(consignment_id, None)

    def settle(self, event: Event) -> None:
        """Take an arrival or a decision, already counted, as the standing version of its consignment."""
        assert event.consignment_id is not None
        decision = None
        if event.kind == "decision":
            decision = decision_of(event)
        self.standing[event.consignment_id] = Standing(event.content, event.at_us, decision)

    def apply(self, event: Event) -> None:
        """Take an outcome, an alert, a cancellation or a selection."""
        name = event.consignment_id or ""
        if event.kind == "outcome":
            self._conclude(event)
        elif event.kind == "alert":
            alert = self._entries.alert_of(event)
            self.alerts.add(alert, event.sequence)
            self.alert_versions[alert.alert_id] = (event.content, event.recorded_us)
        elif event.kind == "cancellation":
            self._ledger.cancel(name)
            self.cancelled[name] = event.recorded_us
        elif event.kind == "selection":
            selection = self._entries.selection_of(event)
            self.chosen.add(name)
            self.selections.setdefault(selection.request, []).append(selection)

    def _conclude(self, event: Event) -> None:
        outcome = self._entries.outcome_of(event)
        self._ledger.conclude(
            outcome.consignment_id,
            event.at_us,
            known_us(outcome),
            NO_TIME if event.recorded_us is None else event.recorded_us,
            event.sequence,
            outcome.result if outcome.status == "inspected" else None,
        )
        self.outcomes[event.content] = event.recorded_us
        self.chosen.add(outcome.consignment_id)


class Replay:
    """Brings a state up to the log.

    Parameters
    ----------
    pipeline : Pipeline
        Gives the kinds of keys, and keys for entries that hold other kinds.
    entries : Entries
    """

    def __init__(self, pipeline: Pipeline, entries: Entries) -> None:
        self._pipeline, self._entries = pipeline, entries
        self._keys = np.zeros(len(pipeline.kinds), dtype=np.uint64)
        self._counterparts = np.zeros_like(self._keys)
        self._row = np.zeros(len(pipeline.spec), dtype=np.float32)

    def follow(self, state: State, events: Iterable[Event]) -> None:
        """Take entries in their order."""
        for event in events:
            if event.kind not in ("decision", "arrival"):
                state.apply(event)
                continue
            keys, counterparts = self._keys_of(event)
            assert event.consignment_id is not None
            state.arrive(
                event.consignment_id, event.at_us, keys, counterparts, self._row, self._pipeline.history_at
            )
            state.settle(event)

    def _keys_of(self, event: Event) -> tuple[Keys, Keys]:
        """Give the keys as logged or, where they are of other kinds, from the decrypted consignment."""
        if event.kinds == self._entries.kinds:
            return stored_keys(event)
        self._pipeline.key(self._entries.consignment_of(event), self._keys, self._counterparts)
        return self._keys, self._counterparts


def rebuild(
    log: EventLog, pipeline: Pipeline, entries: Entries, until: int, progress: Progress | None = None
) -> State:
    """Build the state from the log.

    Parameters
    ----------
    log : EventLog
    pipeline : Pipeline
    entries : Entries
    until : int
        Sequence of the last entry taken.
    progress : callable, optional

    Returns
    -------
    State
        Its alerts must be given to the pipeline that scores.
    """
    state, replay = State(pipeline.new_history(), entries), Replay(pipeline, entries)
    for start in range(0, until, PROGRESS_ENTRIES):
        last = min(start + PROGRESS_ENTRIES, until)
        replay.follow(state, log.events(after=start, until=last, without=HEAVY_COLUMNS))
        if progress is not None:
            progress("history", last, until)
    return state


def decision_of(event: Event) -> Decision:
    """Give the decision of an entry."""
    assert event.recorded_us is not None
    assert event.score is not None
    return Decision(
        event.sequence,
        event.recorded_us,
        event.score,
        event.band or "",
        event.reasons or b"",
        event.model or "",
        event.model_sha256 or "",
    )
