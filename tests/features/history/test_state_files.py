"""A state on disk is that in memory, is replaced in one step, and is refused if a byte differs."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from support.history_oracle import Arrival, Outcome
from support.history_worlds import KINDS, continue_state, moment

import features.history.kept_state
import features.history.state_files
from consignments.errors import BadInput, FileFault
from features.history.kept_state import SEGMENT_ARRAYS, KeptState, StateRun
from features.history.pseudonyms import Pseudonyms
from features.history.state_files import StateFolder, StoredState

PSEUDONYMS = Pseudonyms(b"a key of the tests")


def arrive(day: float, **changes: object) -> Arrival:
    return Arrival(f"c{day}", moment(day), (1, 2), (7, 0), **changes)


def find(arrived: float, day: float) -> Outcome:
    return Outcome(f"c{arrived}", moment(day), "nps")


BATCHES = {
    "monday": ([arrive(0), arrive(0.2), arrive(0.5, cancelled_us=moment(1.5))], [find(0, 0.4), find(0.2, 3)]),
    "tuesday": ([arrive(1), arrive(1.25)], [find(1, 1.1)]),
    "wednesday": ([arrive(2), arrive(2.25)], [find(2, 4)]),
}  # fmt: skip


def run(folder: Path, name: str, *, stop: bool = False) -> list[bytes]:
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
        content = run(tmp_path, name)
    assert list_names(tmp_path) == ["00000002", "00000003"]
    stored = StoredState.read(tmp_path / "00000003")
    assert stored.manifest.inputs["consignments"] == "wednesday"
    assert read_bytes(stored.state) == content
    assert [len(segment.open().number) for segment in stored.state.segments] == [3, 4, 4]
    oldest = f"{stored.manifest.segments[0]}.keys.npy"
    first, second = (tmp_path / number / oldest for number in ("00000002", "00000003"))
    assert first.samefile(second), "a day costs its own files"


def test_a_batch_that_is_repeated_starts_again_from_the_state_before_it(tmp_path: Path) -> None:
    run(tmp_path, "monday")
    first = run(tmp_path, "tuesday")
    before = [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    assert run(tmp_path, "tuesday") == first
    assert [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))] == before
    run(tmp_path, "wednesday")
    assert run(tmp_path, "wednesday")
    with pytest.raises(BadInput, match="belong before the end of the state"):
        run(tmp_path, "tuesday")


def test_an_interrupted_batch_leaves_the_state_and_is_removed_by_the_next(tmp_path: Path) -> None:
    run(tmp_path, "monday")
    run(tmp_path, "tuesday", stop=True)
    assert list_names(tmp_path) == [".00000002.partial", "00000001"]
    run(tmp_path, "tuesday")
    assert list_names(tmp_path) == ["00000001", "00000002"]
    (tmp_path / "00000001").rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="counted in the state of history already"):
        run(tmp_path, "tuesday")


def test_two_batches_at_the_same_time_are_refused(tmp_path: Path) -> None:
    refused = pytest.raises(BadInput, match="another run is writing this state")
    with StateFolder(tmp_path).begin({}), refused:
        StateFolder(tmp_path).begin({}).__enter__()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [flip_a_bit, Path.unlink, lambda path: os.truncate(path, 9)])
@pytest.mark.parametrize("file", ["table.heads.npy", "outcomes.npy", "states-00000001-000.keys.npy"])
def test_a_changed_file_is_named(tmp_path: Path, file: str, harm: Callable[[Path], object]) -> None:
    run(tmp_path, "monday")
    harm(tmp_path / "00000001" / file)
    with pytest.raises(FileFault, match=file):
        run(tmp_path, "tuesday")


def test_a_manifest_of_another_version_or_form_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "monday")
    path = tmp_path / "00000001" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 3', b'"format": 2'))
    with pytest.raises(BadInput, match=r"another version of npsrisk; got format 2.*begin a new state"):
        run(tmp_path, "tuesday")
    path.write_text("{}")
    with pytest.raises(FileFault, match=r"00000001/manifest\.json: the manifest of the state cannot be read"):
        run(tmp_path, "tuesday")


def test_a_full_disk_leaves_the_earlier_state(tmp_path: Path) -> None:
    run(tmp_path, "monday")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(FileFault, match=r"cannot be written.*the earlier state is unchanged"):
            run(tmp_path, "tuesday")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run(tmp_path, "tuesday")


def test_a_state_of_many_segments_opens_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.history.kept_state, "SEGMENT_ROWS", 1)
    monkeypatch.setattr(features.history.state_files, "MIN_MAPPED_BYTES", 0)
    days = [number / 40 for number in range(30)]
    monkeypatch.setitem(BATCHES, "many", ([arrive(day) for day in days], []))
    monkeypatch.setitem(BATCHES, "found", ([arrive(1)], [find(day, 0.9) for day in days]))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, list_names(Path("/proc/self/fd"))))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, limits[1]))
    try:
        run(tmp_path, "many")
        stored = StoredState.read(tmp_path / "00000001")
        assert len(stored.state.segments) == len(days)
        assert stored.manifest.segments[0] == "states-00000001-000"
        run(tmp_path, "found")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
