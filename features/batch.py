"""Tables of consignments, outcomes and alerts, their events of history, and matrices of feature rows."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.columns import adopt_spellings, normalize_array, normalize_column, unify_spellings
from consignments.errors import BadInput
from consignments.records import Alert, Consignment, FieldKind, Outcome, get_fields
from consignments.tables import to_records
from consignments.timestamps import get_time_column_us
from consignments.validation import CANCELLED_SEQUENCE, SEQUENCE
from consignments.visibility import compute_known_us, compute_visible_us
from consignments.workers import Progress as Progress
from features.alerts.alerts import Alerts
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Spec

CHUNK_ROWS = 20_000
MISSING_SEQUENCE = -1
BATCH_KEY = b"npsrisk: a batch keeps no pseudonym"
"""The key of batches. They write no pseudonym to a file or log, and counts do not depend on the key."""
A = TypeVar("A")
B = TypeVar("B")


@contextmanager
def report_progress(progress: Progress | None, what: str) -> Iterator[None]:
    """Report the start and the end of work whose parts cannot be counted."""
    if progress is not None:
        progress(what, 0, 1)
    yield
    if progress is not None:
        progress(what, 1, 1)


@dataclass(frozen=True)
class FeatureParameters:
    """The parameters of the feature computation.

    Attributes
    ----------
    config : FeatureConfig
        Default: no declared columns, the default history keys.
    fitted : FittedParameters
        Default: nothing is fitted, and the features that need it are missing or zero.
    pseudonyms : Pseudonyms
        Default: the pseudonyms of a batch.
    """

    config: FeatureConfig = field(default_factory=FeatureConfig)
    fitted: FittedParameters = field(default_factory=FittedParameters.create_empty)
    pseudonyms: Pseudonyms = field(default_factory=partial(Pseudonyms, BATCH_KEY))

    def __post_init__(self) -> None:
        """Raise `BadInput` if `fitted` is the plain form of a bundle, whose values would be ignored or fail much later."""
        if not isinstance(self.fitted, FittedParameters):
            raise BadInput(
                "the fitted parameters have another type",
                where="FeatureParameters",
                got=type(self.fitted).__name__,
                expected="FittedParameters",
                todo="use models.batch_scoring.build_feature_parameters(bundle, pseudonyms), or training.api.compute_features",
            )

    def build_pipeline(self, alerts: Alerts | None = None) -> Pipeline:
        """Build the pipeline. This takes milliseconds."""
        return Pipeline(self.config, self.fitted, self.pseudonyms, alerts)


class ChunkRunner(Protocol):
    """A runner of tasks on other machines."""

    def map_chunks(self, work: Callable[[A], B], chunks: Iterable[A]) -> Iterator[B]:
        """Yield the result of each chunk, in order."""


@dataclass(frozen=True)
class ComputeOptions:
    """The processes that compute, or a runner in their place, and the display of progress."""

    jobs: int = 1
    progress: Progress | None = None
    runner: ChunkRunner | None = None


@dataclass(frozen=True, repr=False)
class Tables:
    """The tables of consignments, outcomes and alerts that belong together.

    Attributes
    ----------
    consignments, outcomes, alerts : DataFrame
        As `consignments.tables` reads them. Outcomes and alerts may be None.

    Raises
    ------
    BadInput
        If a table is not in that form, for example as `pandas.read_parquet` or `pandas.read_csv` returns it: items as lists, or times
        as text.
    """

    consignments: pd.DataFrame
    outcomes: pd.DataFrame | None = None
    alerts: pd.DataFrame | None = None

    def __repr__(self) -> str:
        """Return the numbers of rows."""
        tables = (("consignments", self.consignments), ("outcomes", self.outcomes), ("alerts", self.alerts))
        sizes = (f"{name} {len(table):,}" for name, table in tables if table is not None)
        return f"<Tables {', '.join(sizes)}>"

    def __post_init__(self) -> None:
        """Check the columns whose type `consignments.tables` changes."""
        for name, record in (("consignments", Consignment), ("outcomes", Outcome), ("alerts", Alert)):
            if (frame := getattr(self, name)) is not None:
                _require_checked(frame, record, name)

    def unify_spellings(self) -> "Tables":
        """Return the tables with one spelling for each consignment: that of its first row, for its outcomes too."""
        consignments = unify_spellings(self.consignments)
        outcomes = adopt_spellings(self.outcomes, consignments["consignment_id"])
        return replace(self, consignments=consignments, outcomes=outcomes)


def _require_checked(frame: pd.DataFrame, record: type[msgspec.Struct], where: str) -> None:
    """Raise `BadInput` if a frame did not come from `consignments.tables`. Only types are looked at, not values."""
    for column in get_fields(record):
        if column.name in frame and not _is_canonical(frame[column.name], column.kind):
            raise BadInput(
                "the table was not read by npsrisk",
                where=f"{where}, {column.name}",
                got=f"dtype {frame[column.name].dtype}",
                expected="times with a time zone" if column.kind == "time" else "JSON text of a list",
                todo=f"read the file with consignments.tables.read_table(path, {record.__name__}), "
                f"or pass the frame through check_frame(frame, {record.__name__}).frame",
            )


def _is_canonical(column: "pd.Series", kind: FieldKind) -> bool:
    """Check that times have a time zone and that lists are JSON text; a column without values may have any type."""
    if kind == "time" and not isinstance(column.dtype, pd.DatetimeTZDtype):
        return not column.notna().any()
    if kind in ("items", "codes") and not isinstance(column.dtype, pd.StringDtype):
        given = column.dropna()
        return given.empty or isinstance(given.iloc[0], str)
    return True


@dataclass(frozen=True, repr=False)
class FeatureMatrix:
    """A matrix of feature rows, their positions in the table and their spec; `X` is `UnfittedRows` without fitted parameters."""

    X: NDArray[np.float32]
    rows: NDArray[np.int64]
    spec: Spec

    def __repr__(self) -> str:
        """Return the shape."""
        return f"<FeatureMatrix {len(self.rows):,} rows, {len(self.spec)} features>"


def mask_past_rows(history: pd.DataFrame, given: pd.DataFrame) -> NDArray[np.bool_]:
    """Select the past consignments that count for the history of the given ones; without `sequence` not those that are also given."""
    ordered = SEQUENCE in given
    if ordered != (SEQUENCE in history):
        raise BadInput(
            "only one of consignments and history has the column sequence",
            where="history",
            expected="both with `sequence` (order of the log), or neither (order of time)",
            todo="drop the column, or export both from the service",
        )
    if ordered:
        return np.ones(len(history), dtype=bool)
    names, past = (normalize_column(each["consignment_id"]) for each in (given, history))
    given_too: NDArray[np.bool_] = pc.is_in(past, value_set=names).to_numpy(zero_copy_only=False)
    return ~given_too


def get_sequence(frame: pd.DataFrame, column: str = SEQUENCE) -> NDArray[np.int64] | None:
    """Return the sequence number of each row; None if the table has no such column."""
    if column not in frame:
        return None
    return frame[column].fillna(MISSING_SEQUENCE).to_numpy(dtype=np.int64)


def build_arrival_events(frame: pd.DataFrame) -> ArrivalEvents:
    """Build the arrival events of history from a consignment table."""
    return ArrivalEvents(
        consignment_id=normalize_array(pa.array(frame["consignment_id"])),
        received_us=get_time_column_us(frame, "received_at"),
        cancelled_us=get_time_column_us(frame, "cancelled_at"),
        sequence=get_sequence(frame),
        cancelled_sequence=get_sequence(frame, CANCELLED_SEQUENCE),
        issued_us=get_time_column_us(frame, "issued_at"),
    )


def build_outcome_events(frame: pd.DataFrame | None) -> Outcomes:
    """Build the outcome events of history from an outcome table. A missed inspection has no result."""
    if frame is None:
        nothing = np.empty(0, dtype=np.int64)
        return Outcomes([], nothing, nothing, nothing, None, [])
    results = frame["result"] if "result" in frame else pd.Series(None, index=frame.index, dtype=object)
    found = results.where((frame["status"] == "inspected") & results.notna(), None).astype(object)
    return Outcomes(
        consignment_id=frame["consignment_id"].tolist(),
        visible_us=compute_visible_us(frame),
        known_us=compute_known_us(frame),
        recorded_us=get_time_column_us(frame, "recorded_at"),
        sequence=get_sequence(frame),
        result=[value if isinstance(value, str) else None for value in found.tolist()],
    )


def select_alerts(frame: pd.DataFrame | None, as_of: pd.Timestamp | None) -> Alerts:
    """Build the alerts from an alert table, only those issued by `as_of`."""
    if frame is None:
        return Alerts()
    seen = frame if as_of is None else frame[frame["issued_at"] <= as_of]
    if SEQUENCE in seen:  # a later version of an alert replaces the earlier
        seen = seen.sort_values(SEQUENCE, kind="stable")
    sequence = get_sequence(seen)
    records: list[Alert] = to_records(seen, Alert)
    return Alerts(records, None if sequence is None else sequence.tolist())
