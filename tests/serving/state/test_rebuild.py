"""A bounded memory, dossiers read beside, a snapshot at any moment and a replay change nothing of what the service knows and reads."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.databases import database_in
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import DATA_KEY, DATA_KEYS

from consignments.records import Alert, Consignment
from consignments.timestamps import NO_TIME, convert_us_to_day, to_day, to_us
from consignments.visibility import get_known_us
from features.config import FeatureConfig, HistoryKeys
from features.fitted import FittedParameters
from features.history.kernels import NO_DAY
from features.history.live import LiveHistory, VisibleOutcome
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from serving.encryption.vault import Vault
from serving.event_log.event_codec import Cancellation, EventCodec, Selection, decode_issued_us
from serving.event_log.events import ArrivalEvent, Event
from serving.event_log.log import EventLog
from serving.state.consignment_states import ConsignmentEvents, ConsignmentStates, PendingLookup
from serving.state.history_keys import KeyReader
from serving.state.identifier_index import KEPT_DAYS
from serving.state.rebuild import StateRebuild
from serving.state.snapshots import build_state, copy_arrays, rebuild_state
from serving.state.state import State

VAULT = Vault(DATA_KEYS)
NAMES = tuple(f"RB{number}" for number in range(5))
KINDS = ("arrival",) * 6 + ("outcome",) * 4 + ("cancellation", "cancellation", "selection", "alert")


class Act(NamedTuple):
    """Something that happens some days after what happened before."""

    kind: str
    name: str
    gap: int
    variant: int
    flush: bool
    """Whether all entries so far are on disk after it."""
    asked: str | None = None
    """Whose dossier is read beside, from this moment on."""
    comes: bool = False
    """Whether what was read first and has not come yet comes before it."""
    issued: int = 0
    """The day on which an arrival was issued; 0 if it does not say so."""


acts = st.builds(
    Act,
    st.sampled_from(KINDS),
    st.sampled_from(NAMES),
    st.sampled_from([0, 0, 0, 0, 0, 1, 7, 40, 200, 365, 366, 367, 400]),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([None, *NAMES]),
    st.booleans(),
    st.just(0),
)
acts_of_versions = st.builds(Act._replace, acts, issued=st.sampled_from([0, 3, 2, 2, 1, 1]))
"""Arrivals among them may be late versions."""


def pipeline_of(config: FeatureConfig | None = None) -> tuple[Pipeline, EventCodec]:
    config = config or FeatureConfig()
    pipeline = Pipeline(config, FittedParameters.create_empty(), Pseudonyms(DATA_KEY))
    return pipeline, EventCodec(VAULT, config.build_record_type(), pipeline.kinds)


@contextmanager
def new_log() -> Iterator[EventLog]:
    with TemporaryDirectory() as folder, EventLog.open(database_in(Path(folder)), VAULT) as log:
        yield log


class Life:
    """A service without HTTP: a state that lives through acts, its log, and what was read for each arrival."""

    def __init__(self, log: EventLog, recent: int) -> None:
        self.log = log
        self.pipeline, self.entries = pipeline_of()
        self.keys = KeyReader(self.pipeline, self.entries)
        dossiers = ConsignmentStates(log, self.keys, recent=recent)
        dossiers.durable = lambda: log.last_sequence
        self.state = State(self.pipeline.create_history(capacity=8), dossiers)
        self.waiting: list[Event] = []
        self.events: list[Event] = []
        self.read: list[bytes] = []
        self.date = 0.0
        self.coming: deque[tuple[dict[str, PendingLookup], ConsignmentEvents]] = deque()

    def live(self, act: Act) -> None:
        if act.comes and self.coming:
            self.state.dossiers.complete_lookups(*self.coming.popleft())
        self._take(act)
        if act.asked is not None:
            dossiers = self.state.dossiers
            awaited = dossiers.request_lookups([act.asked], self.state.today)
            self.coming.append((awaited, dossiers.read_events(awaited, dossiers.sequence)))

    def _take(self, act: Act) -> None:
        self.date += act.gap
        event = self.event_of(act)
        if event.kind == "arrival":
            self.read.append(self.arrive(event))
            self.state.record_versions([event], [self.state.get_consignment(event.consignment_id)])
        else:
            self.state.apply(event)
        self.events.append(event)
        self.waiting.append(event)
        if act.flush:
            self.log.append(self.waiting)
            self.waiting = []

    def flush(self) -> None:
        if self.waiting:
            self.log.append(self.waiting)
        self.waiting = []

    def event_of(self, act: Act) -> Event:
        sequence, now = len(self.events) + 1, day(self.date)
        if act.kind == "arrival":
            c = consignment(act.name, self.date - 3 * (act.variant == 3), act.variant, act.issued)
            keys, counterparts = np.zeros((2, len(self.pipeline.kinds)), dtype=np.uint64)
            self.pipeline.fill_keys(c, keys, counterparts)
            return encode_arrival(self.entries, sequence, c, keys, counterparts)
        if act.kind == "outcome":
            result = ("nps", "clear", "pending", "nps")[act.variant]
            outcome = make_outcome(
                act.name, inspected_at=day(0), known_at=now, result=result, recorded_at=now
            )
            return self.entries.outcomes.encode(sequence, outcome, to_us(now), "a test")
        at_us = int(now.timestamp() * 1e6)
        if act.kind == "cancellation":
            cancellation = Cancellation(act.name, now)
            return self.entries.cancellations.encode(sequence, cancellation, at_us + act.variant, "a test")
        if act.kind == "selection":
            chosen = Selection(
                consignment_id=act.name, selected_by="model", selection_probability=1.0, selected_at=now
            )
            return self.entries.selections.encode(sequence, chosen, at_us, "a test")
        return self.entries.alerts.encode(
            sequence, Alert(act.name, now, description_pattern="socks"), at_us, "a test"
        )

    def arrive(self, event: Event) -> bytes:
        return arrive(self.state, self.keys, event)


def consignment(name: str, date: float, variant: int, issued: int = 0) -> Any:
    return make_consignment(
        name,
        received_at=day(date),
        sender_name=("Orchid Trading", "Lotus", "Orchid Trading", "Orchid Trading")[variant],
        sender_phone=None if variant == 2 else "+44 20 7946 0018",
        issued_at=day(issued) if issued else None,
    )


def encode_arrival(
    entries: EventCodec, sequence: int, c: Consignment, keys: Any, counterparts: Any
) -> ArrivalEvent:
    packed = entries.consignments.pack_all([c], [c.consignment_id])
    return entries.encode_arrivals(sequence, None, [c], packed, keys[None], counterparts[None], ["a test"])[0]


def arrive(state: State | LiveHistory, keys: KeyReader, event: Event) -> bytes:
    """Count an arrival, and give what was read before."""
    row = np.full(len(keys.pipeline.spec), -1, dtype=np.float32)
    numbers, counterparts = keys(event)
    name = event.consignment_id or ""
    day_number, issued_us = convert_us_to_day(event.at_us), decode_issued_us(event)
    if isinstance(state, State):
        record_one(state, name, day_number, numbers, counterparts, row, issued_us)
    else:
        state.record_arrival(name, day_number, numbers, counterparts, row, issued_us)
    return row.tobytes()


def record_one(
    state: State, name: str, day_number: int, keys: Any, counterparts: Any, row: Any, issued_us: int = NO_TIME
) -> None:
    known = state.get_consignment(name)
    state.record_arrivals([known], day_number, keys[None], counterparts[None], row[None], [issued_us])


def read_by_a_ledger(life: Life) -> list[bytes]:
    """What is read where everything is kept in memory for ever."""
    ledger = LiveHistory(life.pipeline.create_history())
    read = []
    for event in life.events:
        name = event.consignment_id or ""
        if event.kind == "arrival":
            read.append(arrive(ledger, life.keys, event))
        elif event.kind == "cancellation":
            ledger.cancel(name)
        elif event.kind == "outcome":
            told = life.entries.outcomes.decode(event)
            recorded_us = NO_TIME if event.recorded_us is None else event.recorded_us
            ledger.record_outcome(
                name,
                VisibleOutcome(event.at_us, get_known_us(told), recorded_us, event.sequence, told.result),
            )
    return read


def said_of(events: Sequence[Event], name: str) -> tuple[Any, ...]:
    """What is known of a consignment by the rule: all that was said since it was last unmet for over 366 days."""
    today, met_on, said = NO_DAY, NO_DAY, list[Event]()
    for event in events:
        if event.kind in ("arrival", "outcome"):
            today = max(today, convert_us_to_day(event.at_us))
        if event.consignment_id == name:
            said = [*said, event] if met_on >= today - KEPT_DAYS else [event]
            met_on = today
    if met_on < today - KEPT_DAYS:
        said = []
    version, cancellation, outcomes = None, None, {}
    for event in said:
        if event.kind == "arrival":
            version, cancellation = event.content, None
        elif event.kind == "cancellation":
            cancellation = event.recorded_us
        elif event.kind == "outcome":
            outcomes[event.content] = event.recorded_us
    return version, cancellation, outcomes


def known_of(state: State, name: str) -> tuple[Any, ...]:
    known = state.get_consignment(name)
    return (
        None if known.version is None else known.version.content,
        None if known.cancellation is None else known.cancellation.recorded_us,
        {content: told.recorded_us for content, told in known.outcomes.items()},
    )


def knowledge(state: State, keys: KeyReader) -> list[Any]:
    """All that can be asked of a state, and what further arrivals read; these are counted."""
    known = [known_of(state, name) for name in NAMES]
    marks = state.dossiers.days.to_array().tolist()
    words = sorted(state.dossiers.index.words[state.dossiers.index.words != 0].tolist())
    read = []
    for number, name in enumerate(NAMES):
        c = consignment(name, max(state.today - to_day(day(0)), 0) + number, number % 4)
        keys_of, counterparts = np.zeros((2, keys.count), dtype=np.uint64)
        keys.pipeline.fill_keys(c, keys_of, counterparts)
        row = np.full(len(keys.pipeline.spec), -1, dtype=np.float32)
        day_number = to_day(c.received_at)
        known_now = state.get_consignment(name)
        record_one(state, name, day_number, keys_of, counterparts, row)
        event = encode_arrival(keys.entries, state.sequence + 1, c, keys_of, counterparts)
        state.record_versions([event], [known_now])
        read.append(row.tobytes())
    return [known, marks, words, state.today, state.sequence, len(state.alert_versions), read]


def lived(log: EventLog, script: Sequence[Act], recent: int = 2) -> Life:
    life = Life(log, recent)
    for act in script:
        life.live(act)
    return life


@given(st.lists(acts, max_size=40), st.integers(1, 3))
@settings(max_examples=15)
def test_a_memory_of_one_to_three_reads_and_knows_what_an_unbounded_one_does(
    script: list[Act], recent: int
) -> None:
    with new_log() as log:
        life = lived(log, script, recent)
        assert life.read == read_by_a_ledger(life)
        for name in NAMES:
            assert known_of(life.state, name) == said_of(life.events, name)
        life.flush()
        life.state.get_consignment("RB-nobody")
        assert len(life.state.dossiers) <= recent


@given(st.lists(acts_of_versions, min_size=1, max_size=25), st.data())
@settings(max_examples=12)
def test_a_snapshot_at_any_entry_and_the_rest_of_the_log_give_the_state_that_lived_in_one_go_or_one_by_one(
    script: list[Act], data: st.DataObject
) -> None:
    with new_log() as log:
        life, snapshots = Life(log, 2), list[tuple[int, dict[str, NDArray[Any]]]]()
        for act in script:
            snapshots.append((life.state.sequence, copy_arrays(life.state)))
            life.live(act)
        life.flush()
        assert life.read == read_by_a_ledger(life)
        rows = data.draw(st.integers(1, 12))
        one_by_one = State(life.pipeline.create_history(), ConsignmentStates(log, life.keys, recent=1))
        StateRebuild(one_by_one).apply_events(log.read_events())
        restored = [rebuild_state(log, life.keys), one_by_one]
        for place in data.draw(st.sets(st.integers(0, len(snapshots) - 1), min_size=1, max_size=6)):
            sequence, arrays = snapshots[place]
            restored.append(build_state(arrays, sequence, log, life.keys))
            caught_up(restored[-1], log, rows)
        here = knowledge(life.state, life.keys)
        for state in restored:
            assert knowledge(state, life.keys) == here


def awaiting(log: EventLog, name: str) -> tuple[Life, dict[str, PendingLookup], ConsignmentEvents]:
    """A life in which all have arrived and are dropped from memory but the last, and what was read of one since."""
    life = lived(log, [Act("arrival", each, 0, 0, True) for each in NAMES], recent=1)
    dossiers = life.state.dossiers
    awaited = dossiers.request_lookups([name], life.state.today)
    return life, awaited, dossiers.read_events(awaited, dossiers.sequence)


@pytest.mark.parametrize("first_fails", [False, True])
def test_two_who_wait_for_the_same_read_once(first_fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_log() as log:
        life, awaited, found = awaiting(log, NAMES[0])
        dossiers = life.state.dossiers
        too = dossiers.request_lookups([NAMES[0], NAMES[0]], life.state.today)
        monkeypatch.setattr(log, "read_consignment_events", None)
        dossiers.complete_lookups(awaited, {} if first_fails else found)
        dossiers.complete_lookups(too, found if first_fails else {})
        assert known_of(life.state, NAMES[0]) == said_of(life.events, NAMES[0])
        assert not dossiers._awaited


@pytest.mark.parametrize("dropped", [False, True])
def test_what_was_read_before_an_entry_came_does_not_hide_it(dropped: bool) -> None:
    with new_log() as log:
        life, awaited, found = awaiting(log, NAMES[0])
        life.live(Act("outcome", NAMES[0], 0, 0, True))
        if dropped:
            life.live(Act("arrival", NAMES[1], 0, 0, True))
        life.state.dossiers.complete_lookups(awaited, found)
        assert len(known_of(life.state, NAMES[0])[2]) == 1


def caught_up(state: State, log: EventLog, rows: int) -> None:
    """Catch up some entries at a time."""
    for until in range(state.sequence + rows, log.last_sequence + rows, rows):
        StateRebuild(state).catch_up(log, min(until, log.last_sequence))


def test_keys_of_other_kinds_are_made_anew_from_the_decrypted_consignments() -> None:
    script = [Act("arrival", name, 1, 0, True) for name in (*NAMES, *NAMES[:2])]
    with new_log() as log:
        lived(log, script)
        pipeline, entries = pipeline_of(FeatureConfig(history=HistoryKeys((("office", "carrier"),))))
        keys = KeyReader(pipeline, entries)
        state = rebuild_state(log, keys)
        c = consignment("RB9", 8, 0)
        numbers, counterparts = np.zeros((2, keys.count), dtype=np.uint64)
        pipeline.fill_keys(c, numbers, counterparts)
        row = np.zeros(len(pipeline.spec), dtype=np.float32)
        record_one(state, "RB9", to_day(c.received_at), numbers, counterparts, row)
        assert row[pipeline.spec.get_column("history.office+carrier.arrivals_30d")] == 5


@pytest.mark.parametrize("gap", [366, 367])
def test_a_consignment_is_known_for_366_days_after_it_was_met(gap: int) -> None:
    with new_log() as log:
        life = lived(log, [Act("arrival", "RB1", 0, 0, True), Act("arrival", "RB2", gap, 0, True)])
        assert (life.state.get_consignment("RB1").version is not None) == (gap == 366)
        again = rebuild_state(log, life.keys)
        assert (again.get_consignment("RB1").version is not None) == (gap == 366)
