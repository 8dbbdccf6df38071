"""Features of whole tables: the pipeline runs over all rows, then history is computed over all events in order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.columns import adopt_spellings, normalize_array, normalize_column, unify_spellings
from consignments.errors import BadInput
from consignments.records import Alert, Consignment, Outcome
from consignments.schema import FieldKind, get_fields
from consignments.tables import to_alerts, to_arrow_rows
from consignments.timestamps import get_time_column_us
from consignments.validation import CANCELLED_SEQUENCE, SEQUENCE, keep_rows
from consignments.visibility import compute_known_us, compute_visible_us
from consignments.workers import WorkerPool
from features.alerts.alerts import Alerts
from features.config import FeatureConfig
from features.feature_columns import allocate_rows
from features.fitted import FittedParameters, UnfittedRows
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.pseudonyms import Pseudonyms
from features.history.table_fold import TableFold
from features.pipeline import Pipeline
from features.spec import Spec
from features.table_rows import fill_table, fill_table_keys, prepare_kernels

CHUNK_ROWS = 20_000
MISSING_SEQUENCE = -1
BATCH_KEY = b"npsrisk: a batch keeps no pseudonym"
"""The key of batches. They write no pseudonym to a file or log, and counts do not depend on the key."""
Progress = Callable[[str, int, int], None]
"""A callback that receives the name of the work, the amount done, and the total."""


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


@dataclass(frozen=True)
class ComputeOptions:
    """The options of the feature computation. The result does not depend on them.

    Attributes
    ----------
    jobs : int
        Number of processes that compute features.
    progress : callable or None
    """

    jobs: int = 1
    progress: Progress | None = None


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
        return (
            f"<Tables {', '.join(f'{name} {len(table):,}' for name, table in tables if table is not None)}>"
        )

    def __post_init__(self) -> None:
        """Check the columns whose type `consignments.tables` changes."""
        _require_checked(self.consignments, Consignment, "consignments")
        if self.outcomes is not None:
            _require_checked(self.outcomes, Outcome, "outcomes")
        if self.alerts is not None:
            _require_checked(self.alerts, Alert, "alerts")

    def unify_spellings(self) -> "Tables":
        """Return the tables with one spelling for each consignment: that of its first row, for its outcomes too."""
        tables = replace(self, consignments=unify_spellings(self.consignments))
        return tables.adopt_spellings()

    def adopt_spellings(self) -> "Tables":
        """Return the tables in which outcomes have the spelling of their consignment."""
        if self.outcomes is None:
            return self
        outcomes = adopt_spellings(self.outcomes, self.consignments["consignment_id"])
        return self if outcomes is self.outcomes else replace(self, outcomes=outcomes)


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
    """A matrix of feature rows, with their positions and the spec of the columns.

    Attributes
    ----------
    X : float32 array, (rows, features)
        `UnfittedRows` if they were computed without fitted parameters; a model refuses those.
    rows : int64 array, (rows,)
        Position of each row in the consignment table.
    spec : Spec
        The features of the columns.
    """

    X: NDArray[np.float32]
    rows: NDArray[np.int64]
    spec: Spec

    def __repr__(self) -> str:
        """Return the shape."""
        return f"<FeatureMatrix {len(self.rows):,} rows, {len(self.spec)} features>"

    @property
    def is_fitted(self) -> bool:
        """Return True if the rows were computed with fitted parameters, so that a model may score them."""
        return not isinstance(self.X, UnfittedRows)

    def locate(self, places: NDArray[np.int64]) -> "FeatureMatrix":
        """Return the same rows with positions in another table, given the position of each row of this table in it."""
        return replace(self, rows=places[self.rows])

    def keep_rows(self, keep: NDArray[np.bool_]) -> "FeatureMatrix":
        """Copy the rows of the kept consignments; `keep` has one value for each consignment of the table."""
        mine = keep[self.rows]
        return replace(self, X=self.X[mine], rows=self.rows[mine])


def compute_feature_matrix(
    tables: Tables,
    parameters: FeatureParameters | None = None,
    *,
    keep: NDArray[np.bool_] | None = None,
    second: bool = False,
    as_of: pd.Timestamp | None = None,
    options: ComputeOptions | None = None,
) -> FeatureMatrix:
    """Compute the features of a consignment table as of the time at which each consignment is scored.

    Parameters
    ----------
    tables : Tables
        All consignments count for history, in its order.
    parameters : FeatureParameters, optional
    keep : bool array, (consignments,), optional
        Rows that get features. The others only count for history. Default: all.
    second : bool
        True if the kept rows repeat consignments of other rows. Each is read alone, as if its consignment arrived then instead of
        when it did, and counts for no other row.
    as_of : Timestamp, optional
        Outcomes and alerts that became visible later are ignored.
    options : ComputeOptions, optional

    Returns
    -------
    FeatureMatrix
        One row per kept consignment, in the order of the table.
    """
    frame = tables.consignments
    options = options or ComputeOptions()
    parameters = parameters or FeatureParameters()
    describer = RowBuilder(parameters, select_alerts(tables.alerts, as_of))
    pipeline = describer.build_pipeline()
    wanted = np.ones(len(frame), dtype=bool) if keep is None else keep
    prepare_kernels()
    out_rows = np.where(wanted, np.cumsum(wanted) - 1, -1).astype(np.int64)
    X = np.empty((int(wanted.sum()), len(pipeline.spec)), dtype=np.float32)
    keys = np.zeros((len(frame), len(pipeline.kinds)), dtype=np.uint64)
    counterparts = np.zeros_like(keys)
    parts = [slice(begin, begin + CHUNK_ROWS) for begin in range(0, len(frame), CHUNK_ROWS)]
    done = 0
    with WorkerPool(options.jobs, len(frame)) as workers:
        pieces = workers.map(describer.build_rows, ((frame.iloc[part], wanted[part]) for part in parts))
        for part, described in zip(parts, pieces, strict=True):
            X[done : done + len(described.X), : pipeline.history_at] = described.X
            keys[part], counterparts[part] = described.keys, described.counterparts
            done += len(described.X)
            if options.progress is not None:
                options.progress("features", min(part.stop, len(frame)), len(frame))
    with report_progress(options.progress, "history"):
        fold = TableFold(
            replace(build_arrival_events(frame), second=wanted if second else None),
            build_outcome_events(tables.outcomes),
            None if as_of is None else as_of.value // 1000,
        )
        fold.process_table(pipeline.create_sized_history(len(frame)), keys, counterparts, X, out_rows)
    return FeatureMatrix(parameters.fitted.mark_rows(X), np.flatnonzero(wanted), pipeline.spec)


def fill_table_rows(
    pipeline: Pipeline, rows: pa.Table, wanted: NDArray[np.bool_], described: "PartialRows"
) -> None:
    """Write the history keys, and all features except the history features.

    Parameters
    ----------
    pipeline : Pipeline
    rows : Arrow table
        n consignments in canonical form.
    wanted : bool array, (n,)
        Rows that get features. The others get keys only.
    described : PartialRows
        The arrays to write to.
    """
    X, keys, counterparts = described
    if wanted.all():
        fill_table(pipeline, rows, X, keys, counterparts)
        return
    for which, fill in ((wanted, partial(fill_table, X=X)), (~wanted, fill_table_keys)):
        mine, theirs = keys[which], counterparts[which]
        fill(pipeline, keep_rows(rows, which), keys=mine, counterparts=theirs)
        keys[which], counterparts[which] = mine, theirs


class PartialRows(NamedTuple):
    """Feature rows without the history features, and the history keys.

    Attributes
    ----------
    X : float32 array, (wanted rows, features before those of history)
    keys, counterparts : uint64 array, (rows, kinds)
    """

    X: NDArray[np.float32]
    keys: NDArray[np.uint64]
    counterparts: NDArray[np.uint64]


@dataclass(frozen=True)
class RowBuilder:
    """A builder of partial feature rows that also works in another process."""

    parameters: FeatureParameters
    alerts: Alerts

    def build_pipeline(self) -> Pipeline:
        """Build the pipeline from the parameters and the alerts."""
        return self.parameters.build_pipeline(self.alerts)

    def __call__(self, rows: pa.Table, wanted: NDArray[np.bool_]) -> PartialRows:
        """Compute the history keys of all rows, and the features of the wanted rows except the history features.

        Parameters
        ----------
        rows : Arrow table
            n consignments in canonical form.
        wanted : bool array, (n,)
        """
        pipeline = self.build_pipeline()
        keys = np.zeros((len(rows), len(pipeline.kinds)), dtype=np.uint64)
        X = allocate_rows(int(wanted.sum()), pipeline.history_at)
        described = PartialRows(X, keys, np.zeros_like(keys))
        fill_table_rows(pipeline, rows, wanted, described)
        return described

    def build_rows(self, part: tuple[pd.DataFrame, NDArray[np.bool_]]) -> PartialRows:
        """Compute the same for a pair of a frame and its mask."""
        frame, wanted = part
        return self(to_arrow_rows(frame, self.parameters.config.build_record_type()), wanted)


def join_history(given: Tables, history: pd.DataFrame | None) -> tuple[Tables, NDArray[np.bool_]]:
    """Prepend past consignments to the given ones.

    Returns
    -------
    tables : Tables
    keep : bool array
        True for the given consignments.

    Raises
    ------
    BadInput
        If only one of the two tables has `sequence`.
    """
    if history is None:
        return given.adopt_spellings(), np.ones(len(given.consignments), dtype=bool)
    past = history[mask_past_rows(history, given.consignments)]
    both = pd.concat([past, given.consignments], ignore_index=True)
    tables = Tables(both, given.outcomes, given.alerts).adopt_spellings()
    return tables, np.arange(len(both)) >= len(past)


def mask_past_rows(history: pd.DataFrame, given: pd.DataFrame) -> NDArray[np.bool_]:
    """Select the past consignments that count for the history of the given ones.

    In tables without `sequence`, a past consignment that is also given is left out, so that it counts once.

    Raises
    ------
    BadInput
        If only one of the two tables has `sequence`.
    """
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


def get_sequence(frame: pd.DataFrame) -> NDArray[np.int64] | None:
    """Return the sequence number of each row; None if the table has no `sequence`."""
    return _read_integers(frame, SEQUENCE)


def _read_integers(frame: pd.DataFrame, column: str) -> NDArray[np.int64] | None:
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
        cancelled_sequence=_read_integers(frame, CANCELLED_SEQUENCE),
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
    records: list[Alert] = to_alerts(seen)
    return Alerts(records, None if sequence is None else sequence.tolist())
