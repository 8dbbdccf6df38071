"""Rows of tables described by kernels, straight from Arrow columns: features except history, and history keys.

Python reads a record only if the kernel of rows asks for it, or if an alert may match.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.code_lists import to_code_lists
from consignments.columns import TEXT, normalize_array
from consignments.items import to_item_lists
from consignments.records import Consignment
from consignments.schema import FieldKind, get_fields
from consignments.tables import to_consignments
from consignments.timestamps import NO_TIME
from consignments.validation import SEQUENCE
from features.normalization.record_kernels import FIELDS
from features.parties import PARTY_FEATURES
from features.pipeline import Keys, Pipeline, Rows
from features.rows import described_rows
from features.rows.alert_kernels import NO_SEARCH, AlertSearch, AlertTables
from features.rows.described_rows import (
    DescribedRows,
    check_arrays,
    create_rows,
    describe_block,
    encode_prepared,
)
from features.rows.packed_rows import PackedRows, pack_columns
from features.rows.plans import PARTIES_ONLY, FeaturePlan, KeyPlan

BLOCK_ROWS = 256
"""Rows that the kernel reads at once: a row that Python prepares is put before the others of its block."""


def prepare_kernels() -> None:
    """Compile the kernels of rows if no process did so on this machine, so that several processes do not do it at the same time."""
    described_rows.prepare_kernels()
    pack_columns([], 0)


def fill_table(pipeline: Pipeline, table: pa.Table, X: Rows, keys: Keys, counterparts: Keys) -> None:
    """Write features and history keys of the rows of a table, with the same bits as `Pipeline.fill_row`.

    Parameters
    ----------
    pipeline : Pipeline
    table : Arrow table
        n consignments in canonical form. If it has `sequence`, later alerts do not count.
    X : float32 array, (n, features before those of history, or more)
    keys, counterparts : uint64 array, (n, kinds)
    """
    received = normalize_array(table.column("received_at")).cast(pa.int64())
    possible = pipeline.alerts.mask_possible(pc.fill_null(received, NO_TIME).to_numpy())
    search = pipeline.alerts.build_tables() if possible.any() else None
    rows = DescribedRows(X, keys, counterparts)
    found = _fill_described(pipeline, table, pipeline.key_plan, pipeline.feature_plan, rows, search)
    pipeline.clear_alerts(X)
    _fill_alerts(pipeline, table, X, {row: forms for row, forms in found.items() if possible[row]})


def fill_table_keys(pipeline: Pipeline, table: pa.Table, keys: Keys, counterparts: Keys) -> None:
    """Write only the history keys of the rows of a table."""
    unused = np.empty((len(table), len(PARTY_FEATURES)), np.float32)
    rows = DescribedRows(unused, keys, counterparts)
    _fill_described(pipeline, table, pipeline.key_plan, PARTIES_ONLY, rows)


def fill_table_fitted(pipeline: Pipeline, table: pa.Table, X: Rows) -> None:
    """Rewrite only the features that depend on fitted parameters, as `Pipeline.fill_fitted` does.

    Parameters
    ----------
    pipeline : Pipeline
    table : Arrow table
        n consignments in canonical form.
    X : float32 array, (n, len(spec))
    """
    plan = pipeline.unkeyed_plan
    rows = create_rows(len(table), plan)._replace(values=X)
    _fill_described(pipeline, table, plan, pipeline.fitted_plan, rows)


def _fill_alerts(pipeline: Pipeline, table: pa.Table, X: Rows, candidates: dict[int, list[str]]) -> None:
    """Write the features of alerts of the rows that an alert may match, from their normal forms."""
    if not candidates:
        return
    some = table.take(pa.array(candidates, pa.int64()))
    sequences = some.column(SEQUENCE).to_pylist() if SEQUENCE in some.column_names else [None] * len(some)
    records = to_consignments(some, pipeline.record_type)
    for (row, forms), c, sequence in zip(candidates.items(), records, sequences, strict=True):
        pipeline.fill_alerts(c, forms, X[row], sequence)


def _fill_described(
    pipeline: Pipeline,
    table: pa.Table,
    plan: KeyPlan,
    features: FeaturePlan,
    rows: DescribedRows,
    alerts: AlertTables | None = None,
) -> dict[int, list[str]]:
    """Describe the rows of a table. Return the normal forms of the rows that an alert may match."""
    candidates: dict[int, list[str]] = {}
    check_arrays(len(table), plan, features, rows)
    packed = pack_table(pipeline, table)
    for begin in range(0, len(table), BLOCK_ROWS):
        part = slice(begin, min(begin + BLOCK_ROWS, len(table)))
        block = PackedBlock(packed, table, pipeline.record_type, part, plan.columns)
        described = DescribedRows._make(each[part] for each in rows)
        search = AlertSearch.create(alerts, part.stop - begin) if alerts is not None else NO_SEARCH
        describe_block(block, plan, features, described, search=search)
        candidates |= {begin + row: search.forms.get_forms(row) for row in search.list_candidates()}
    return candidates


def pack_table(pipeline: Pipeline, table: pa.Table) -> PackedRows:
    """Pack the rows of a table as the kernel of rows reads them: the values of all fields in their order."""
    kinds = {field.name: field.kind for field in get_fields(pipeline.record_type)}
    columns = [
        _convert_column(table.column(name), kinds[name]) if name in kinds else pa.nulls(len(table))
        for name in (*FIELDS, *pipeline.key_plan.columns)
    ]
    return pack_columns(columns, len(table))


def _convert_column(column: pa.ChunkedArray, kind: FieldKind) -> pa.Array:
    """Convert a column to what kernels read: a time to its UTC day, a date to its text, and texts of lists to lists."""
    values = normalize_array(column)
    if values.null_count == len(values):
        return pa.nulls(len(values))
    if kind == "time":
        days = pc.floor_temporal(values, unit="day").cast(pa.timestamp("us")).cast(pa.date32())
        return days.cast(pa.int32()).cast(pa.int64())
    if kind == "date":
        return values.cast(TEXT)
    if kind == "items" and values.type == TEXT:
        return to_item_lists(values)
    return to_code_lists(values) if kind == "codes" else values


class PackedBlock:
    """Some packed rows of a table.

    Parameters
    ----------
    packed : PackedRows
    table : Arrow table
        The rows that were packed.
    record : type
        Their record type.
    part : slice
        The rows of this block.
    columns : tuple of str
        Declared columns.
    """

    def __init__(
        self,
        packed: PackedRows,
        table: pa.Table,
        record: type[Consignment],
        part: slice,
        columns: tuple[str, ...],
    ) -> None:
        self._table, self._record, self._first, self._columns = table, record, part.start, columns
        self._packed = packed.data[: packed.starts[part.stop]]
        self._starts = packed.starts[part.start :]
        self._data = self._packed[self._starts[0] :]

    def get_data(self) -> NDArray[np.uint8]:
        """Return the rows: all, or those from the row on that was prepared last."""
        return self._data

    def measure_head(self) -> int:
        """Return the number of bytes before the first row."""
        return 0

    def prepare(self, row: int) -> None:
        """Compute for a row what kernels cannot, and put it before the rows after it."""
        (record,) = to_consignments(self._table.slice(self._first + row, 1), self._record)
        after = self._packed[self._starts[row + 1] :].tobytes()
        self._data = np.frombuffer(encode_prepared(record, self._columns) + after, np.uint8)
