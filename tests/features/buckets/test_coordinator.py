"""Features in partitions and buckets are those of one pass over the table, bit for bit."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.feature_worlds import MemoryStore, join_history, simulate_ordered

from consignments.errors import BadInput, FileFault, ServiceFault
from consignments.validation import to_frame
from features.batch import FeatureParameters, Tables
from features.buckets.coordinator import PARTITION_ROWS, create_work_folder, stream_buckets
from features.buckets.tasks import describe_partition
from features.history.kept_state import SEGMENT_ARRAYS, KeptState, StateRun
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.streams import (
    FeatureChunk,
    FeatureInputs,
    InMemoryTable,
    compute_feature_matrix,
    stream_features,
)

PARAMETERS = FeatureParameters(pseudonyms=Pseudonyms(b"a key of the tests, 32 bytes long"))


class SerialRunner:
    """A runner of tasks in this process, one after the other."""

    def share(self, value: object, *, large: bool = False) -> object:
        return value

    def map(self, name, work, arguments) -> Iterator[object]:
        for each in arguments:
            yield work(*each)


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of history is applied in slices that end within partitions, and a state has several segments."""
    monkeypatch.setattr("features.buckets.plan.SLICE_STEPS", 37)
    monkeypatch.setattr("features.history.kept_state.SEGMENT_ROWS", 30)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return simulate_ordered(days=20, per_day=15)


@pytest.fixture(scope="module")
def logged(tables: Tables) -> Tables:
    """The same as a log has it: with a sequence, amendments and late versions, in another order than that of the table."""
    random = np.random.default_rng(3)
    assert tables.outcomes is not None
    rows = len(tables.consignments)
    again = random.choice(rows, rows // 8, replace=False)
    frame = pd.concat([tables.consignments, tables.consignments.iloc[again]], ignore_index=True)
    place = np.concatenate([np.arange(rows) * 10, again * 10 + random.integers(1, 500, len(again)) * 10 + 1])
    issued = pd.to_datetime(random.integers(0, 20, len(frame)), unit="D", origin="2024-01-01", utc=True)
    frame = frame.assign(sequence=np.argsort(np.argsort(place, kind="stable")) * 10, issued_at=issued)
    outcomes = tables.outcomes.assign(sequence=np.arange(len(tables.outcomes)) * 97 + 1)
    return Tables(frame, outcomes, tables.alerts)


def keep(chunk: FeatureChunk) -> FeatureChunk:
    return chunk


def compute(
    inputs: FeatureInputs, folder: Path, rows: int = PARTITION_ROWS, runner: Any = None, **options: Any
) -> tuple[NDArray[np.float32], list[str]]:
    """Compute features in buckets, and return them with the identifiers of their rows."""
    with create_work_folder(folder / "out") as work:
        given = {"partition_rows": rows} | options
        chunks = list(stream_buckets(inputs, PARAMETERS, keep, runner or SerialRunner(), work, **given))
    assert not list(folder.glob(".out*"))
    names = pd.concat([to_frame(chunk.context)["consignment_id"] for chunk in chunks])
    return np.concatenate([chunk.X for chunk in chunks]), names.tolist()


@settings(
    max_examples=5, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(30, 400), st.integers(1, 4), st.integers(0, 299), st.integers(1, 3))
def test_partitions_and_buckets_of_any_number_are_the_whole_table(
    tables: Tables, tmp_path: Path, rows: int, buckets: int, first_row: int, every: int
) -> None:
    inputs = FeatureInputs.from_tables(tables)
    expected = compute_feature_matrix(tables, PARAMETERS).X
    number = np.arange(len(expected))
    wanted = (number >= first_row) & (number % every == 0)
    X, names = compute(inputs, tmp_path, rows, buckets=buckets, wanted=wanted)
    assert X.tobytes() == expected[wanted].tobytes()
    assert names == tables.consignments["consignment_id"][wanted].tolist()


def test_a_log_with_amendments_and_a_history_has_the_same_bits(logged: Tables, tmp_path: Path) -> None:
    old = np.arange(len(logged.consignments)) % 3 > 0
    past = logged.consignments[old].reset_index(drop=True)
    mine = replace(logged, consignments=logged.consignments[~old].reset_index(drop=True))
    as_of = pd.Timestamp("2024-01-17T00:00:00Z")
    whole, kept = join_history(mine, past)
    expected = compute_feature_matrix(whole, PARAMETERS, keep=kept, as_of=as_of).X
    X, _ = compute(FeatureInputs.from_tables(mine, past, as_of), tmp_path, 50, buckets=3)
    assert X.tobytes() == expected.tobytes()


def run_batch(
    tables: Tables, before: KeptState | None, folder: Path | None, past: pd.DataFrame | None, seed: int = 0
) -> tuple[NDArray[np.float32], KeptState]:
    """Compute a batch from a state, in buckets if a folder is given, else in one pass."""
    run = StateRun(before, list_key_kinds(PARAMETERS.config), PARAMETERS.pseudonyms, MemoryStore())
    inputs = replace(FeatureInputs.from_tables(tables, past), state_run=run)
    if folder is None:
        X = np.concatenate([chunk.X for chunk in stream_features(inputs, PARAMETERS, piece_rows=40)])
    else:
        X, _ = compute(inputs, folder, 30 + seed % 50, buckets=1 + seed % 4)
    return X, run.state


def list_bytes(state: KeptState) -> list[bytes]:
    arrays = [*state.table, state.outcomes, state.cancellations]
    for segment in state.segments:
        arrays += [getattr(segment.open(), name) for name in SEGMENT_ARRAYS]
    return [msgspec.json.encode(state.header), *(array.tobytes() for array in arrays)]


@settings(
    max_examples=3, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 1000), st.sampled_from([0, 1, 400]), st.booleans())
def test_batches_from_a_state_leave_the_bytes_of_one_pass(
    tables: Tables, logged: Tables, tmp_path: Path, seed: int, gap_days: int, sequenced: bool
) -> None:
    """Amendments, cancellations and results of earlier batches, results that wait, and keys that are forgotten after a year."""
    whole = logged if sequenced else tables
    assert whole.outcomes is not None
    random = np.random.default_rng(seed)
    frame = whole.consignments.sort_values("sequence" if sequenced else "received_at", ignore_index=True)
    frame["cancelled_at"] = frame["received_at"] + pd.to_timedelta(random.integers(1, 90, len(frame)), "h")
    frame.loc[random.random(len(frame)) < 0.9, "cancelled_at"] = pd.NaT
    cuts = [0, *sorted(random.choice(np.arange(20, len(frame)), 3, replace=False).tolist()), len(frame)]
    states: list[KeptState | None] = [None, None]
    for number, (begin, end) in enumerate(pairwise(cuts)):
        rows = frame.iloc[begin:end].reset_index(drop=True)
        if number == 3:
            rows[["received_at", "cancelled_at"]] += pd.Timedelta(days=gap_days)
        outcomes = whole.outcomes[random.integers(0, 4, len(whole.outcomes)) <= number].reset_index(drop=True)
        past = rows.iloc[:10] if number == 0 else None
        given = replace(whole, consignments=rows.iloc[0 if past is None else 10 :], outcomes=outcomes)
        (X, one), (other_X, other) = (
            run_batch(given, before, folder, past, seed)
            for before, folder in zip(states, (None, tmp_path), strict=True)
        )
        assert X.tobytes() == other_X.tobytes()
        assert list_bytes(one) == list_bytes(other)
        states = [one, other]


def respell(logged: Tables, first: str, later: str) -> Tables:
    """Give a consignment that is amended and has a result these identifiers, one for its first row and one for the others."""
    assert logged.outcomes is not None
    frame, outcomes = logged.consignments.sort_values("sequence", ignore_index=True), logged.outcomes
    amended = frame["consignment_id"][frame["consignment_id"].duplicated()]
    name = amended[amended.isin(outcomes["consignment_id"])].iloc[0]
    mine = frame["consignment_id"] == name
    spelled = frame["consignment_id"].where(~mine, later)
    spelled[mine.idxmax()] = first
    results = outcomes["consignment_id"].where(outcomes["consignment_id"] != name, later)
    frame, outcomes = frame.assign(consignment_id=spelled), outcomes.assign(consignment_id=results)
    return replace(logged, consignments=frame, outcomes=outcomes)


def test_an_amendment_in_another_spelling_has_the_same_bits(logged: Tables, tmp_path: Path) -> None:
    same, other = (respell(logged, "RB123456785GB", name) for name in ("RB123456785GB", "rb 123 456 785 gb"))
    expected = compute_feature_matrix(same, PARAMETERS).X.tobytes()
    assert compute_feature_matrix(other, PARAMETERS).X.tobytes() == expected
    apart = respell(logged, "RB123456785GB", "Z")
    assert compute_feature_matrix(apart, PARAMETERS).X.tobytes() != expected
    inputs = FeatureInputs.from_tables(other)
    assert np.concatenate([each.X for each in stream_features(inputs, PARAMETERS)]).tobytes() == expected
    assert compute(inputs, tmp_path, 50, buckets=3)[0].tobytes() == expected
    repeatable = FeatureInputs.to_repeatable(other)  # as training reads it
    assert np.concatenate([each.X for each in stream_features(repeatable, PARAMETERS)]).tobytes() == expected
    cut = int(np.flatnonzero(other.consignments["consignment_id"].str.startswith("rb "))[0])
    for folder in (None, tmp_path):
        parts, state = [], None
        for rows in (slice(0, cut), slice(cut, None)):
            batch = other.consignments.iloc[rows].reset_index(drop=True)
            X, state = run_batch(replace(other, consignments=batch), state, folder, None)
            parts.append(X)
        assert np.concatenate(parts).tobytes() == expected


def test_a_table_that_shrank_since_it_was_checked_is_refused(tables: Tables, tmp_path: Path) -> None:
    class Shrunk(InMemoryTable):
        def slice_rows(self, first: int, last: int):
            return super().slice_rows(first, last - 1)

    inputs = FeatureInputs(Shrunk(tables.consignments), outcomes=tables.outcomes)
    with pytest.raises(ServiceFault, match="a table has other rows than when it was checked; got 306 rows"):
        compute(inputs, tmp_path)


def test_a_finished_task_is_not_repeated(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that ran on a worker that was lost may be repeated at any time."""

    class Twice(SerialRunner):
        def map(self, name, work, arguments) -> Iterator[object]:
            for each in arguments:
                one = work(*each)
                if work is describe_partition:
                    monkeypatch.setattr("features.streams.describe_rows", None)
                yield one if work is describe_partition and work(*each) == one else work(*each)
                monkeypatch.undo()

    X, _ = compute(FeatureInputs.from_tables(tables), tmp_path, runner=Twice())
    assert X.tobytes() == compute_feature_matrix(tables, PARAMETERS).X.tobytes()


def test_the_working_folder_of_a_killed_run_is_removed_and_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".a.buckets").mkdir()
    (tmp_path / ".a.buckets" / "keys-0").write_bytes(b"half")
    with create_work_folder(tmp_path / "a") as work:
        assert list(work.iterdir()) == []
        with pytest.raises(BadInput, match="another run"), create_work_folder(tmp_path / "a"):
            raise AssertionError
        assert work.exists()
    (tmp_path / ".b.buckets").write_text("mine")
    with pytest.raises(BadInput, match="the working folder is a file"), create_work_folder(tmp_path / "b"):
        raise AssertionError
    with pytest.raises(FileFault, match="cannot be created"), create_work_folder(tmp_path / "no" / "c"):
        raise AssertionError
