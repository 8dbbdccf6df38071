"""What must hold of a log, whatever happened to the service that wrote it, and whatever its callers were told."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.databases import database_in
from support.serving_callers import Caller
from support.serving_examples import vault_in
from support.serving_killed import Service
from support.site import told

from consignments.errors import ServiceFault
from consignments.timestamps import convert_us_to_day
from features.history.kernels import ARRIVALS, REMEMBERED_DAYS, STEP
from features.pipeline import Pipeline
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.state.history_keys import KeyReader, build_key_reader
from serving.state.identifier_index import DAY_MASK, DAY_OFFSET, KEPT_DAYS
from serving.state.rebuild import StateRebuild
from serving.state.snapshots import Snapshots, build_state, rebuild_state
from serving.state.state import State

Keys = NDArray[np.uint64]
WINDOW_DAYS = 365
PROBES = 2_000
"""Of so many consignments, the latest, history is read as one more like them would read it."""


def prove(folder: Path, service: Service, callers: list[Caller]) -> Counter[str]:
    """Hold the answers, the batch and the snapshots against the log; give what was done."""
    for caller in callers:
        if caller.fault is not None:
            raise caller.fault
    log = EventLog.open(database_in(folder), vault_in(folder))
    decisions = {log.format_decision_id(each.sequence): each for each in log.read_events(kinds=("decision",))}
    prove_answers(log, decisions, callers)
    prove_nothing_is_twice(log)
    prove_history(folder, log)
    last = log.last_sequence
    log.close()
    assert told(folder, "verify-log")["entries"] == last
    parity = told(folder, "parity")
    assert (parity["equal"], parity["differing"], parity["compared"]) == (True, 0, len(decisions)), parity
    return done(service, callers) + Counter(decisions=len(decisions), entries=last)


def prove_answers(log: EventLog, decisions: dict[str, Event], callers: list[Caller]) -> None:
    """Whatever was acknowledged is in the log as it was told; what was unknown was unknown."""
    for answer in itertools.chain(*(caller.told for caller in callers)):
        event = decisions[answer.decision_id]
        answered = answer.consignment_id, answer.score, f"nps-risk/{answer.version}"
        assert (event.consignment_id, event.score, event.model) == answered
    logged = {(event.kind, event.consignment_id, event.recorded_us) for event in log.read_events()}
    for received in itertools.chain(*(caller.received for caller in callers)):
        assert tuple(received) in logged
    for name, now_us in itertools.chain(*(caller.unknown for caller in callers)):
        assert not was_known(log.read_consignment_events(name), now_us)


def was_known(events: Iterable[Event], now_us: int) -> bool:
    """Whether a consignment was scored since it was last unmet for so long that it was forgotten."""
    met_on, scored = -REMEMBERED_DAYS, False
    for event in events:
        day = convert_us_to_day(event.recorded_us or 0)
        if (event.recorded_us or 0) <= now_us:
            scored = event.kind == "decision" or (scored and day - met_on <= REMEMBERED_DAYS)
            met_on = day
    return scored and convert_us_to_day(now_us) - met_on <= REMEMBERED_DAYS


def prove_nothing_is_twice(log: EventLog) -> None:
    """However often a consignment or an outcome was sent, as long as it is known there is one entry of it."""
    known: dict[str, tuple[dict[str, set[bytes]], int]] = {}
    for event in log.read_events():
        name, day = event.consignment_id or "", convert_us_to_day(event.recorded_us or 0)
        said, met_on = known.get(name, ({}, day))
        if day - met_on >= REMEMBERED_DAYS:  # on the last of its days it may have been either
            said = {}
        contents = said.get(event.kind, set())
        assert event.content not in contents, f"entry {event.sequence} says what was said before"
        if event.kind == "decision":  # it takes the place of the version before, and is not cancelled
            said = {**said, "decision": {event.content}, "cancellation": set()}
        elif event.kind == "cancellation":
            said = {**said, "decision": set(), "cancellation": {event.content}}
        else:
            said = {**said, event.kind: contents | {event.content}}
        known[name] = said, day


def prove_history(folder: Path, log: EventLog) -> int:
    """The state that the log alone gives counts each consignment once, and is that of every snapshot and what came since; gives their number."""
    keys = build_key_reader(folder, log.vault)
    versions = latest_versions(log)
    alone = rebuild_state(log, keys)
    probes = [keys(event) for event in versions[-PROBES:]]
    pipeline = keys.pipeline
    here = read(alone, pipeline, probes)
    assert len(probes) > 50
    columns = {name: place for place, name in enumerate(pipeline.spec.names)}
    expected = counted(versions, keys, probes, alone.today)
    for place, kind in enumerate(pipeline.kinds):
        column = columns.get(f"history.{kind.name}.arrivals_365d")
        if column is not None:
            np.testing.assert_array_equal(here[:, column], expected[:, place], kind.name)
    states = states_of_snapshots(folder, log, keys)
    for state in states:
        assert marks_of(state) == marks_of(alone)
        assert read(state, pipeline, probes).tobytes() == here.tobytes()
    return len(states)


def states_of_snapshots(folder: Path, log: EventLog, keys: KeyReader) -> list[State]:
    """Give the state of each snapshot, brought up to the log; one may be damaged, or of another model's keys."""
    snapshots, states = Snapshots(folder / "snapshots"), list[State]()
    for path in snapshots.list_newest_first():
        try:
            about, arrays = snapshots.read(path)
            states.append(build_state(arrays, about.sequence, log, keys))
        except ServiceFault:
            continue
        StateRebuild(states[-1]).catch_up(log, log.last_sequence)
    assert states
    return states


def latest_versions(log: EventLog) -> list[Event]:
    """Give the decision that counts for each consignment: its last one, unless it was cancelled since."""
    versions: dict[str | None, Event] = {}
    for event in log.read_events(kinds=("decision", "cancellation")):
        versions.pop(event.consignment_id, None)
        if event.kind == "decision":
            versions[event.consignment_id] = event
    return list(versions.values())


def read(state: State, pipeline: Pipeline, probes: Sequence[tuple[Keys, Keys]]) -> NDArray[np.float32]:
    """Read history as a further consignment with each of these keys would; each is taken out again."""
    steps = np.zeros(2 * len(probes), dtype=STEP)
    steps["change"] = np.tile([1, -1], len(probes))
    steps["counter"], steps["day"], steps["today"] = ARRIVALS, state.today, state.today
    steps["row"] = steps["out_row"] = np.repeat(np.arange(len(probes)), 2)
    found = np.zeros((len(probes), len(pipeline.spec)), dtype=np.float32)
    numbers, counterparts = (np.array(each) for each in zip(*probes, strict=True))
    state.history.run(steps, numbers, np.zeros_like(counterparts), found)
    return found


def counted(
    versions: list[Event], keys: KeyReader, probes: Sequence[tuple[Keys, Keys]], today: int
) -> NDArray[np.float64]:
    """Count by hand the consignments of the last 365 days that share each key; NaN where a key is missing."""
    counts: defaultdict[tuple[int, int], float] = defaultdict(float)
    for event in versions:
        if convert_us_to_day(event.at_us) > today - WINDOW_DAYS:
            for each in enumerate(keys(event)[0].tolist()):
                counts[each] += 1
    rows = [numbers.tolist() for numbers, _ in probes]
    return np.array([[counts[each] if each[1] else np.nan for each in enumerate(row)] for row in rows])


def marks_of(state: State) -> tuple[Any, ...]:
    """What a state knows beside history: its place, its days, and the identifiers that are not forgotten, cleaned up or not."""
    words = state.dossiers.index.words
    met_on = (words & np.uint64(DAY_MASK)).astype(np.int64) - DAY_OFFSET
    kept = words[(words != 0) & (met_on >= state.today - KEPT_DAYS)]
    return state.sequence, state.today, state.dossiers.days.to_array().tolist(), np.sort(kept).tolist()


def done(service: Service, callers: list[Caller]) -> Counter[str]:
    """Count what callers did and what the service logged, which is no error but a model refused."""
    lines = service.log_lines()
    errors = [line for line in lines if line["level"] == "error"]
    assert not [line for line in errors if line["event"] not in service.expected_errors], errors[:5]
    taken = [line for line in lines if line["event"] == "snapshot loaded"]
    counts = Counter(line["event"] for line in lines)
    counts += sum((caller.done for caller in callers), Counter[str]())
    counts["replayed"] = sum(line["entries_since"] for line in taken)
    return counts
