"""Features piece by piece are the features of the whole table, bit for bit."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.feature_worlds import MemoryStore, join_history, simulate_ordered

from consignments.errors import BadInput
from consignments.records import Alert, Consignment
from consignments.tables import to_records
from consignments.timestamps import to_us
from consignments.visibility import compute_visible_us
from features.alerts.alerts import Alerts
from features.batch import ComputeOptions, FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import FittedParameters, fit_features
from features.history.kept_state import StateRun
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import (
    FeatureChunk,
    FeatureInputs,
    InMemoryTable,
    compute_feature_matrix,
    stream_features,
)

CONFIG = FeatureConfig()
Rows = NDArray[np.float32]
PARAMETERS = FeatureParameters(pseudonyms=Pseudonyms(b"a key of the tests, 32 bytes long"))
FROM_HERE = 250
"""Rows from here on are given, those before are history."""


@pytest.fixture(scope="module")
def tables() -> Tables:
    """A world in the order of time, some of it cancelled."""
    return simulate_ordered(days=25, per_day=20)


@pytest.fixture(scope="module")
def expected(tables: Tables) -> Rows:
    return compute_feature_matrix(tables, PARAMETERS).X


@pytest.fixture(scope="module")
def logged(tables: Tables) -> Tables:
    """The same as a log has it: with a sequence, amended consignments, and days that go backwards."""
    random = np.random.default_rng(3)
    rows = len(tables.consignments)
    again = random.choice(rows, rows // 10, replace=False)
    frame = pd.concat([tables.consignments, tables.consignments.iloc[again]], ignore_index=True)
    place = np.concatenate([np.arange(rows) * 10, again * 10 + random.integers(1, 500, len(again)) * 10 + 1])
    order = np.argsort(place + random.integers(-30, 30, len(place)), kind="stable")
    frame = frame.iloc[order].reset_index(drop=True).assign(sequence=np.arange(len(place)) * 10)
    outcomes = tables.outcomes.sample(frac=1, random_state=1).reset_index(drop=True)
    return Tables(frame, outcomes.assign(sequence=np.arange(len(outcomes)) * 97 + 1), tables.alerts)


def world(tables: Tables, piece_rows: int = 100) -> FeatureInputs:
    rows = InMemoryTable(tables.consignments, piece_rows)
    return FeatureInputs(rows, outcomes=tables.outcomes, alerts=tables.alerts)


def assert_same(pieces: Iterator[FeatureChunk], X: Rows, names: "pd.Series[str]") -> None:
    read = list(pieces)
    assert all(len(piece.context) == len(piece.X) for piece in read)
    rows = np.concatenate([piece.X for piece in read])
    np.testing.assert_array_equal(rows.view(np.uint32), X.view(np.uint32))
    found = [name for piece in read for name in piece.context.column("consignment_id").to_pylist()]
    assert found == names.tolist()


@settings(max_examples=6)
@given(source_rows=st.integers(9, 600), piece_rows=st.integers(1, 600))
def test_any_pieces_are_the_whole(tables: Tables, expected: Rows, source_rows: int, piece_rows: int) -> None:
    pieces = list(stream_features(world(tables, source_rows), PARAMETERS, piece_rows=piece_rows))
    assert_same(iter(pieces), expected, tables.consignments["consignment_id"])
    assert len(pieces) == -(-len(expected) // piece_rows), "the table was not taken whole"


def test_a_log_piece_by_piece_is_the_log_as_a_whole_and_a_history_without_a_sequence_does_not_join_it(
    tables: Tables, logged: Tables
) -> None:
    X = compute_feature_matrix(logged, PARAMETERS).X
    assert logged.consignments["consignment_id"].duplicated().any()
    assert (logged.consignments["received_at"].diff() < pd.Timedelta(0)).any()
    pieces = stream_features(world(logged), PARAMETERS, piece_rows=70)
    assert_same(pieces, X, logged.consignments["consignment_id"])
    mixed = FeatureInputs(InMemoryTable(tables.consignments), (InMemoryTable(logged.consignments),))
    with pytest.raises(BadInput, match="only one of consignments and history has the column sequence"):
        next(stream_features(mixed, PARAMETERS))


def test_processes_give_equal_bits(monkeypatch: pytest.MonkeyPatch, tables: Tables, expected: Rows) -> None:
    monkeypatch.setattr("consignments.workers.MIN_PARALLEL_ROWS", 1)
    keep = np.arange(len(expected)) % 3 == 0
    some = compute_feature_matrix(tables, PARAMETERS, keep=keep, options=ComputeOptions(2)).X
    assert some.tobytes() == expected[keep].tobytes()


@pytest.mark.parametrize("days_in_order", [True, False])
def test_a_table_in_another_order_is_taken_together_as_far_as_that_goes_and_given_in_its_order(
    monkeypatch: pytest.MonkeyPatch, tables: Tables, expected: Rows, days_in_order: bool
) -> None:
    monkeypatch.setattr("features.streams.MAX_BLOCK_ROWS", 200)
    mixed = np.random.default_rng(4).permutation(len(expected))
    if days_in_order:
        days = tables.consignments["received_at"].dt.floor("D").to_numpy()
        mixed = mixed[np.argsort(days[mixed], kind="stable")]
    shuffled = Tables(tables.consignments.iloc[mixed].reset_index(drop=True), tables.outcomes, tables.alerts)
    pieces = stream_features(world(shuffled), PARAMETERS, piece_rows=70)
    assert_same(pieces, expected[mixed], shuffled.consignments["consignment_id"])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("as_of", [None, "2024-01-20T00:00:00Z"])
def test_past_consignments_are_history_alone(tables: Tables, interleaved: bool, as_of: str | None) -> None:
    rows = np.arange(len(tables.consignments))
    old = rows % 3 > 0 if interleaved else rows < FROM_HERE
    both = old | (rows % 11 == 0)
    past = tables.consignments[both].reset_index(drop=True)
    mine = Tables(tables.consignments[~old].reset_index(drop=True), tables.outcomes, tables.alerts)
    moment = None if as_of is None else pd.Timestamp(as_of)
    whole, keep = join_history(mine, past)
    X = compute_feature_matrix(whole, PARAMETERS, keep=keep, as_of=moment).X
    rows, before = InMemoryTable(mine.consignments, 90), InMemoryTable(past, 70)
    given_world = FeatureInputs(rows, (before,), mine.outcomes, mine.alerts, moment)
    pieces = stream_features(given_world, PARAMETERS, piece_rows=64)
    assert_same(pieces, X, mine.consignments["consignment_id"])


@pytest.mark.parametrize("which", ["later", "none", "some"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_wanted_rows_are_those_of_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, tables: Tables, expected: Rows, which: str, in_memory: bool
) -> None:
    past = InMemoryTable(tables.consignments.iloc[:FROM_HERE], 70)
    given_rows = tables.consignments.iloc[FROM_HERE:].reset_index(drop=True)
    if in_memory:
        monkeypatch.setattr("features.streams.MAX_BLOCK_ROWS", 0)
    rows = 1 if in_memory else 64
    inputs = FeatureInputs(InMemoryTable(given_rows, 40), (past,), tables.outcomes, tables.alerts)
    number = np.arange(len(given_rows))
    wanted = {"later": number >= 130, "none": number < 0, "some": number % 7 == 3}[which]
    pieces = stream_features(inputs, PARAMETERS, piece_rows=rows, wanted=wanted)
    assert_same(pieces, expected[FROM_HERE:][wanted], given_rows["consignment_id"][wanted])


def test_several_past_tables_are_read_as_one(tables: Tables, logged: Tables) -> None:
    """Without a sequence, a consignment of two tables is that of the later one."""
    for whole in (tables, logged):
        rows = np.arange(len(whole.consignments))
        frame = whole.consignments
        first, second = (frame[rows % 3 == part].reset_index(drop=True) for part in (0, 1))
        if whole is tables:
            first = pd.concat([first, second.iloc[:5].assign(pieces=1)])
            first = first.sort_values("received_at", ignore_index=True)
        mine = replace(whole, consignments=frame[rows % 3 == 2].reset_index(drop=True))
        past = tuple(InMemoryTable(each, 40) for each in (first, second))
        given_rows = InMemoryTable(mine.consignments, 60)
        inputs = FeatureInputs(given_rows, past, mine.outcomes, mine.alerts)
        pieces = list(stream_features(inputs, PARAMETERS, piece_rows=64))
        X = compute_feature_matrix(whole, PARAMETERS, keep=rows % 3 == 2).X
        assert_same(iter(pieces), X, mine.consignments["consignment_id"])
        assert len(pieces) > 1


def respell(logged: Tables, first: str, later: str) -> Tables:
    """Give a consignment that is amended and has a result these identifiers, one for its first row and one for the others."""
    frame, outcomes = logged.consignments, logged.outcomes
    amended = frame["consignment_id"][frame["consignment_id"].duplicated()]
    name = amended[amended.isin(outcomes["consignment_id"])].iloc[0]
    mine = frame["consignment_id"] == name
    spelled = frame["consignment_id"].where(~mine, later)
    spelled[mine.idxmax()] = first
    results = outcomes["consignment_id"].where(outcomes["consignment_id"] != name, later)
    frame, outcomes = frame.assign(consignment_id=spelled), outcomes.assign(consignment_id=results)
    return replace(logged, consignments=frame, outcomes=outcomes)


def test_an_amendment_in_another_spelling_has_the_same_bits(logged: Tables) -> None:
    name = "RB123456785GB"
    same, other, apart = (respell(logged, name, later) for later in (name, "rb 123 456 785 gb", "Z"))
    expected = compute_feature_matrix(same, PARAMETERS).X.tobytes()
    assert compute_feature_matrix(apart, PARAMETERS).X.tobytes() != expected
    for inputs in (FeatureInputs.from_tables(other), FeatureInputs.to_repeatable(other)):
        chunks = stream_features(inputs, PARAMETERS, piece_rows=40)
        assert np.concatenate([each.X for each in chunks]).tobytes() == expected
    cut = int(np.flatnonzero(other.consignments["consignment_id"].str.startswith("rb "))[0])
    parts, state = [], None
    for rows in (slice(0, cut), slice(cut, None)):
        batch = replace(other, consignments=other.consignments.iloc[rows].reset_index(drop=True))
        run = StateRun(state, list_key_kinds(PARAMETERS.config), PARAMETERS.pseudonyms, MemoryStore())
        inputs = replace(FeatureInputs.from_tables(batch), state_run=run)
        parts += [each.X for each in stream_features(inputs, PARAMETERS)]
        state = run.state
    assert np.concatenate(parts).tobytes() == expected


@pytest.fixture
def _few_rows_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_BLOCK_ROWS", "LARGE_TABLE_ROWS"):
        monkeypatch.setattr(f"features.streams.{limit}", 50)


@pytest.mark.usefixtures("_few_rows_in_memory")
def test_a_warning_names_the_rows_that_are_held_in_memory_and_a_batch_from_a_state_is_refused(
    tables: Tables, expected: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    backwards = replace(tables, consignments=tables.consignments[::-1].reset_index(drop=True))
    pieces = list(stream_features(world(backwards), PARAMETERS, piece_rows=20))
    assert_same(iter(pieces), expected[::-1], backwards.consignments["consignment_id"])
    assert max(len(piece.X) for piece in pieces) <= 50
    assert f"{len(expected)} rows are not in the order of history" in caplog.text
    run = StateRun(None, list_key_kinds(PARAMETERS.config), PARAMETERS.pseudonyms, MemoryStore())
    rows = InMemoryTable(backwards.consignments, 64)
    with pytest.raises(BadInput, match="not in the order of history"):
        list(stream_features(FeatureInputs(rows, state_run=run), PARAMETERS, piece_rows=40))


@pytest.fixture(scope="module")
def fitted(tables: Tables) -> FittedParameters:
    labels = np.arange(400) % 7 == 0
    records = to_records(tables.consignments[:400], Consignment)
    return fit_features(records, CONFIG, labels.astype(np.int8), np.ones(400))


def test_rows_without_keys_or_refitted_have_the_same_bits(tables: Tables, fitted: FittedParameters) -> None:
    alerts = Alerts(to_records(tables.alerts, Alert))
    plain, empty = FittedParameters.from_plain(*fitted.to_plain()), FittedParameters.create_empty()
    pipeline, unfitted = (Pipeline(CONFIG, each, PARAMETERS.pseudonyms, alerts) for each in (plain, empty))
    records = to_records(tables.consignments[:200], Consignment)
    X = np.zeros((3, len(records), len(pipeline.spec)), dtype=np.float32)
    keys = np.zeros((2, len(records), len(pipeline.kinds)), dtype=np.uint64)
    pipeline.fill_rows(records, X[0], *keys)
    pipeline.fill_rows(records, X[1])
    unfitted.fill_rows(records, X[2])
    assert X[2].tobytes() != X[0].tobytes()
    X[2][:, pipeline.spec.fitted] = pipeline.compute_fitted(records)
    assert X[0].tobytes() == X[1].tobytes() == X[2].tobytes()


@pytest.mark.parametrize("cut", [1, 9, 17])
def test_what_is_known_later_changes_nothing(tables: Tables, fitted: FittedParameters, cut: int) -> None:
    received = tables.consignments["received_at"]
    moment = received.min().floor("D") + pd.Timedelta(days=cut)
    before = (received < moment).to_numpy()
    known = tables.outcomes[compute_visible_us(tables.outcomes) < to_us(moment.to_pydatetime())]
    past = Tables(tables.consignments[before], known, tables.alerts)
    parameters = FeatureParameters(CONFIG, fitted, PARAMETERS.pseudonyms)
    whole = compute_feature_matrix(tables, parameters, keep=before)
    np.testing.assert_array_equal(compute_feature_matrix(past, parameters).X, whole.X)
