"""A batch that starts from the state after earlier batches reads what one batch of all tables reads, to the last bit; on disk, the
state is replaced in one step, and is refused if a byte differs."""

import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.damage import flip_bit
from support.feature_worlds import MemoryStore
from support.history_oracle import Arrival, Outcome
from support.history_worlds import KINDS, ROW, arrivals_of, continue_state, moment, outcomes_of, worlds

import features.history.kept_state
import features.history.state_files
from consignments.errors import BadInput, FileFault
from features.history.kept_state import SEGMENT_ARRAYS, KeptState, StateRun
from features.history.keys import KeyKind
from features.history.pseudonyms import Pseudonyms
from features.history.state_files import StateFolder, StoredState

PSEUDONYMS = Pseudonyms(b"a key of the tests")


def run(before: KeptState | None, arrivals: Sequence[Arrival], outcomes: Sequence[Outcome]):
    """Return the readings of a batch, and the state after it."""
    run = StateRun(before, KINDS, PSEUDONYMS, MemoryStore())
    return continue_state(run, arrivals, outcomes), run.state


def list_states(state: KeptState) -> dict[int, object]:
    """Return what the state knows of each consignment."""
    every = [segment.open().number for segment in state.segments]
    states = state.find(np.unique(np.concatenate(every)))
    return {
        number: (
            each.day if each.keys is not None else None, each.cancelled, each.standing, each.result, each.last_day, each.issued_us,
            each.keys,
        )
        for number, each in states.items()
        if each.last_day >= state.header.today - 366
    }  # fmt: skip


def rank(arrival: Arrival) -> tuple[int, str]:
    return (arrival.received_us, arrival.name) if arrival.sequence is None else (arrival.sequence, "")


@st.composite
def split_worlds(draw, sequenced: bool):
    """A world, and the same in batches. An outcome is given when it is visible or before, and now and then again."""
    arrivals, outcomes = draw(worlds(sequenced))
    arrivals = sorted(arrivals, key=rank)
    pairs = enumerate(pairwise(arrivals), start=1)
    places = [at for at, (one, other) in pairs if sequenced or one.received_us < other.received_us]
    cuts = [0, *(place for place in places if draw(st.booleans())), len(arrivals)]
    batches = [(arrivals[begin:end], []) for begin, end in pairwise(cuts) if end > begin]
    for outcome in outcomes:
        seen = (number for number, (rows, _) in enumerate(batches) if is_by(outcome, rows[-1]))
        visible = next(seen, len(batches) - 1)
        batches[draw(st.integers(0, visible))][1].append(outcome)
        if draw(st.booleans()):
            batches[draw(st.integers(visible, len(batches) - 1))][1].append(outcome)
    return arrivals, outcomes, batches


def is_by(outcome: Outcome, last: Arrival) -> bool:
    if last.sequence is None:
        return outcome.visible_us <= last.received_us
    return outcome.sequence < last.sequence


@given(st.booleans().flatmap(split_worlds))
def test_batches_one_after_the_other_read_what_one_batch_reads(world) -> None:
    arrivals, outcomes, batches = world
    expected, whole = run(None, arrivals, outcomes)
    state, read = None, []
    for rows, found in batches:
        out, state = run(state, rows, found)
        read.append(out)
    assert np.concatenate([np.zeros((0, ROW), np.float32), *read]).tobytes() == expected.tobytes()
    if state is None:
        return
    for name, array in whole.table._asdict().items():
        assert array.tobytes() == getattr(state.table, name).tobytes(), name
    assert list_states(state) == list_states(whole)
    for name in ("cancellations", "outcomes"):
        assert getattr(state, name).tobytes() == getattr(whole, name).tobytes()
    assert (state.header.today, state.header.clock_us) == (whole.header.today, whole.header.clock_us)


def arrive(name: str, day: float, **changes: object) -> Arrival:
    return Arrival(name, moment(day), (1, 2), (7, 0), **changes)


def find(name: str, day: float, result: str = "nps") -> Outcome:
    return Outcome(name, moment(day), result)


def test_an_outcome_that_is_given_late_counts_for_all_later_arrivals() -> None:
    first, second = [arrive("a", 0), arrive("b", 5)], [arrive("c", 6)]
    _, state = run(None, first, [])
    late, _ = run(state, second, [find("a", 3)])
    expected, _ = run(None, [*first, *second], [find("a", 3)])
    assert late.tobytes() == expected[2:].tobytes()


def test_a_state_has_numbers_and_no_identifier() -> None:
    _, state = run(None, [arrive("consignment-a", 0), arrive("b", 5, cancelled_us=moment(9e3))], [find("consignment-a", 9)])  # fmt: skip
    segments = [getattr(each.open(), name) for each in state.segments for name in SEGMENT_ARRAYS]
    arrays = [*state.table, *segments, state.outcomes, state.cancellations]
    assert all(array.dtype.kind in "iuV" for array in arrays)
    assert len(state.outcomes) == len(state.cancellations) == 1
    assert not any(b"consignment-a" in array.tobytes() for array in arrays)


@pytest.mark.parametrize(
    ("again", "told"),
    [
        ([arrive("b", 5)], "1 of 1 rows; expected received_at after 2024-03-06T00:00:00Z"),
        ([arrive("c", 4), arrive("d", 6)], "1 of 2 rows"),
        ([arrive("c", 6, sequence=1)], "another order"),
    ],
    ids=["repeated", "late", "with a sequence"],
)
def test_arrivals_that_belong_before_the_state_are_refused(again: list[Arrival], told: str) -> None:
    _, state = run(None, [arrive("a", 0), arrive("b", 5)], [])
    with pytest.raises(BadInput, match=told):
        run(state, again, [])


def test_a_state_without_arrivals_is_continued() -> None:
    _, empty = run(None, [], [])
    continued, _ = run(empty, [arrive("a", 2)], [])
    assert continued.tobytes() == run(None, [arrive("a", 2)], [])[0].tobytes()


def test_outcomes_without_a_sequence_do_not_join_arrivals_or_a_state_with_one() -> None:
    _, state = run(None, [arrive("a", 0, sequence=1)], [])
    for before, rows in ((None, [arrive("a", 0, sequence=1)]), (state, [])):
        with pytest.raises(BadInput, match="consignments have the column sequence and outcomes have not"):
            run(before, rows, [find("a", 1)])


def test_a_state_of_another_key_or_of_other_kinds_is_refused() -> None:
    _, state = run(None, [arrive("a", 0)], [])
    with pytest.raises(BadInput, match="another data key"):
        StateRun(state, KINDS, Pseudonyms(b"another key"), MemoryStore())
    more = (*KINDS, KeyKind("more", "more", None, ()))
    with pytest.raises(BadInput, match="other keys than the model; got more"):
        StateRun(state, more, PSEUDONYMS, MemoryStore())


def test_a_batch_without_rows_and_outcomes_keeps_the_order_of_what_waits() -> None:
    _, state = run(None, [arrive("a", 0, sequence=1)], [replace(find("a", 1), sequence=2)])
    state.outcomes["sequence"] = -1
    batch = StateRun(state, KINDS, PSEUDONYMS, MemoryStore())
    rows = [arrive("b", 9, sequence=3), arrive("c", 8, sequence=4)]
    fold = batch.start_fold(arrivals_of(rows), outcomes_of([]))
    assert fold.rows.tolist() == [0, 1]


def test_an_identifier_that_comes_again_amends_as_in_a_log() -> None:
    days = [("a", 0), ("b", 5), ("a", 6), ("c", 7)]
    expected, _ = run(None, [arrive(*each, sequence=number) for number, each in enumerate(days)], [])
    first, *second = (arrive(*each) for each in days)
    _, state = run(None, [first], [])
    assert run(state, second, [])[0].tobytes() == expected[1:].tobytes()


BATCHES = {
    "monday": ([arrive("a", 0), arrive("b", 0.2), arrive("c", 0.5, cancelled_us=moment(1.5))], [find("a", 0.4), find("b", 3)]),
    "tuesday": ([arrive("d", 1), arrive("e", 1.25)], [find("d", 1.1)]),
    "wednesday": ([arrive("f", 2), arrive("g", 2.25)], [find("f", 4)]),
}  # fmt: skip


def run_in(folder: Path, name: str, *, stop: bool = False) -> list[bytes]:
    """Run one batch from the folder, and commit its state unless it is stopped before; return the bytes of the state."""
    with StateFolder(folder).begin({"consignments": name}) as draft:
        before = None if draft.before is None else draft.before.state
        batch = StateRun(before, KINDS, PSEUDONYMS, draft)
        continue_state(batch, *BATCHES[name])
        content = read_bytes(batch.state)
        if not stop:
            draft.commit(batch.state)
        return content


def read_bytes(state: KeptState) -> list[bytes]:
    arrays = [*state.table, state.outcomes, state.cancellations]
    content = [array.tobytes() for array in arrays]
    for segment in (each.open() for each in state.segments):
        content += [getattr(segment, name).tobytes() for name in SEGMENT_ARRAYS]
    return content


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_state_on_disk_is_that_in_memory_and_two_are_kept(tmp_path: Path) -> None:
    for name in BATCHES:
        content = run_in(tmp_path, name)
    assert list_names(tmp_path) == ["00000002", "00000003"]
    stored = StoredState.read(tmp_path / "00000003")
    assert stored.manifest.inputs["consignments"] == "wednesday"
    assert read_bytes(stored.state) == content
    assert [len(segment.open().number) for segment in stored.state.segments] == [3, 4, 4]
    oldest = f"{stored.manifest.segments[0]}.keys.npy"
    first, second = (tmp_path / number / oldest for number in ("00000002", "00000003"))
    assert first.samefile(second), "a day costs its own files"


def test_a_batch_that_is_repeated_starts_again_from_the_state_before_it(tmp_path: Path) -> None:
    run_in(tmp_path, "monday")
    first = run_in(tmp_path, "tuesday")
    before = [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    assert run_in(tmp_path, "tuesday") == first
    assert [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))] == before
    run_in(tmp_path, "wednesday")
    assert run_in(tmp_path, "wednesday")
    with pytest.raises(BadInput, match="belong before the end of the state"):
        run_in(tmp_path, "tuesday")


def test_an_interrupted_batch_leaves_the_state_and_is_removed_by_the_next(tmp_path: Path) -> None:
    run_in(tmp_path, "monday")
    run_in(tmp_path, "tuesday", stop=True)
    assert list_names(tmp_path) == [".00000002.partial", "00000001"]
    run_in(tmp_path, "tuesday")
    assert list_names(tmp_path) == ["00000001", "00000002"]
    (tmp_path / "00000001").rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="counted in the state of history already"):
        run_in(tmp_path, "tuesday")


def test_two_batches_at_the_same_time_are_refused(tmp_path: Path) -> None:
    refused = pytest.raises(BadInput, match="another run is writing this state")
    with StateFolder(tmp_path).begin({}), refused:
        StateFolder(tmp_path).begin({}).__enter__()


@pytest.mark.parametrize("harm", [flip_bit, Path.unlink, lambda path: os.truncate(path, 9)])
@pytest.mark.parametrize("file", ["table.heads.npy", "outcomes.npy", "states-00000001-000.keys.npy"])
def test_a_changed_file_is_named(tmp_path: Path, file: str, harm: Callable[[Path], object]) -> None:
    run_in(tmp_path, "monday")
    harm(tmp_path / "00000001" / file)
    with pytest.raises(FileFault, match=file):
        run_in(tmp_path, "tuesday")


def test_a_manifest_of_another_version_or_form_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path, "monday")
    path = tmp_path / "00000001" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 3', b'"format": 2'))
    with pytest.raises(BadInput, match=r"another version of npsrisk; got format 2.*begin a new state"):
        run_in(tmp_path, "tuesday")
    path.write_text("{}")
    with pytest.raises(FileFault, match=r"00000001/manifest\.json: the manifest of the state cannot be read"):
        run_in(tmp_path, "tuesday")


def test_a_full_disk_leaves_the_earlier_state(tmp_path: Path) -> None:
    run_in(tmp_path, "monday")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(FileFault, match=r"cannot be written.*the earlier state is unchanged"):
            run_in(tmp_path, "tuesday")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run_in(tmp_path, "tuesday")


def test_a_state_of_many_segments_opens_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.history.kept_state, "SEGMENT_ROWS", 1)
    monkeypatch.setattr(features.history.state_files, "MIN_MAPPED_BYTES", 0)
    days = [number / 40 for number in range(30)]
    monkeypatch.setitem(BATCHES, "many", ([arrive(f"c{day}", day) for day in days], []))
    monkeypatch.setitem(BATCHES, "found", ([arrive("d", 1)], [find(f"c{day}", 0.9) for day in days]))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, list_names(Path("/proc/self/fd"))))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, limits[1]))
    try:
        run_in(tmp_path, "many")
        stored = StoredState.read(tmp_path / "00000001")
        assert len(stored.state.segments) == len(days)
        assert stored.manifest.segments[0] == "states-00000001-000"
        run_in(tmp_path, "found")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
