"""Rows of tables as records of Python, chunk by chunk: their features except history, and their history keys."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from consignments.records import Consignment
from consignments.tables import to_consignments
from consignments.validation import SEQUENCE
from features.goods.goods import GOODS_FEATURES, GoodsFeatures
from features.goods.kernels import TEXT_BUCKETS
from features.history.keys import Keys
from features.normalization.normal_forms import normalize_goods
from features.pipeline import NO_SEQUENCES, Pipeline, Rows

_CHUNK_ROWS = 1000
"""Rows that are records at once."""


def prepare_kernels() -> None:
    """Compile the kernel of goods texts if no process did so on this machine, so that several processes do not do it at the same time."""
    c = Consignment(consignment_id="1", channel="postal")
    row = np.empty(len(GOODS_FEATURES), np.float32)
    GoodsFeatures(np.zeros(TEXT_BUCKETS, np.float32)).fill(c, normalize_goods(c), row)


def fill_table(pipeline: Pipeline, table: pa.Table, X: Rows, keys: Keys, counterparts: Keys) -> None:
    """Write features and history keys of the rows of a table, with the same bits as `Pipeline.fill_rows`."""
    sequences = table.column(SEQUENCE).to_pylist() if SEQUENCE in table.column_names else NO_SEQUENCES
    pipeline.fill_rows(_iterate_records(pipeline, table), X, keys, counterparts, sequences)


def fill_table_keys(pipeline: Pipeline, table: pa.Table, keys: Keys, counterparts: Keys) -> None:
    """Write only the history keys of the rows of a table."""
    for c, *both in zip(_iterate_records(pipeline, table), keys, counterparts, strict=True):
        pipeline.fill_keys(c, *both)


def fill_table_fitted(pipeline: Pipeline, table: pa.Table, X: Rows) -> None:
    """Rewrite only the features that depend on fitted parameters, as `Pipeline.fill_fitted` does."""
    pipeline.fill_fitted(_iterate_records(pipeline, table), X)


def _iterate_records(pipeline: Pipeline, table: pa.Table) -> Iterator[Consignment]:
    for begin in range(0, len(table), _CHUNK_ROWS):
        yield from to_consignments(table.slice(begin, _CHUNK_ROWS), pipeline.record_type)
