"""A simulated world day by day, each from the state of the day before, has the features of the whole world, bit for bit."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from support.memory_store import MemoryStore
from support.ordered_world import simulate_ordered

from consignments.errors import BadInput
from consignments.visibility import compute_visible_us
from features.batch import FeatureParameters, Tables
from features.history.kept_state import KeptState, StateRun
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, InMemoryTable, stream_features

PARAMETERS = FeatureParameters(pseudonyms=Pseudonyms(b"a key of the tests, 32 bytes long"))
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return simulate_ordered(days=25, per_day=20)


def start_run(before: KeptState | None) -> StateRun:
    return StateRun(before, list_key_kinds(PARAMETERS.config), PARAMETERS.pseudonyms, MemoryStore())


def compute(rows: pd.DataFrame, tables: Tables, run: StateRun, first_row: int = 0) -> Rows:
    """Compute a batch with what was visible by its last arrival."""
    assert tables.outcomes is not None
    assert tables.alerts is not None
    end = rows["received_at"].max()
    visible = pd.to_datetime(compute_visible_us(tables.outcomes), unit="us", utc=True) <= end
    seen = tables.outcomes[visible].reset_index(drop=True)
    inputs = FeatureInputs(
        InMemoryTable(rows.reset_index(drop=True), 64),
        outcomes=seen,
        alerts=tables.alerts[tables.alerts["issued_at"] <= end],
        state_run=run,
    )
    wanted = np.arange(len(rows)) >= first_row
    chunks = list(stream_features(inputs, PARAMETERS, piece_rows=40, wanted=wanted))
    return np.concatenate([chunk.X for chunk in chunks])


def test_a_batch_in_another_order_is_refused(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.streams.MAX_BLOCK_ROWS", 50)
    with pytest.raises(BadInput, match="not in the order of history"):
        compute(tables.consignments.iloc[::-1], tables, start_run(None))
