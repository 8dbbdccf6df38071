"""The tasks of features on several machines. Each reads and writes files of one folder, and can be repeated at any time.

describe_partition    rows of a table       ─► features except history; keys, sorted by kind and bucket
count_bucket          one group and bucket  ─► readings of its keys: the history function of one machine over a part of the plan
join_partition        a partition of rows   ─► whole rows, and what is made of them
merge_state           a bucket of all kinds ─► the keys of the next state in it, if a state is kept
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.buckets.plan import read_plan
from features.buckets.state import BucketState
from features.buckets.work_files import (
    PackedTable,
    compute_bucket,
    from_column,
    to_column,
    write_array,
    write_arrow,
)
from features.history.kernels import ARRIVALS, NO_SIDE, SIDE_COUNT, WIDTH, read_sides
from features.history.keys import KeyKind
from features.history.table import History, number_joins, number_sides
from features.streams import FeatureChunk, Mask, RowChunk, RowDescriber

KEY_ROW = np.dtype([("row", "<i4"), ("key", "<u8"), ("counterpart", "<u8")])
Keys = NDArray[np.uint64]
X = "features"
"""Column of the features except history."""


@dataclass(frozen=True)
class KeyGroup:
    """Kinds of keys that are counted together: those that join the network of a side, in all buckets at once, or one kind in buckets."""

    number: int
    kinds: tuple[int, ...]
    side: int = NO_SIDE

    def list_blocks(self, kinds: int) -> Iterator[tuple[slice, slice]]:
        """Yield where a row of its readings has the blocks of a row of all kinds that are read, and where they are in that row."""
        read = [kind for kind in self.kinds if kind < kinds]
        for place, kind in enumerate(read):
            yield _slice_block(place), _slice_block(kind)
        if self.side != NO_SIDE:
            yield _slice_block(len(read) + self.side), _slice_block(kinds + self.side)


def _slice_block(place: int) -> slice:
    return slice(place * WIDTH, (place + 1) * WIDTH)


def list_groups(kinds: Sequence[KeyKind]) -> tuple[KeyGroup, ...]:
    """List the groups of kinds: those of the networks, then each other kind."""
    joins = number_joins(tuple(kinds))
    members = [(tuple(np.flatnonzero(joins == side).tolist()), side) for side in range(SIDE_COUNT)]
    members += [((kind,), NO_SIDE) for kind in np.flatnonzero(joins == NO_SIDE).tolist()]
    return tuple(KeyGroup(number, *each) for number, each in enumerate(filter(itemgetter(0), members)))


@dataclass(frozen=True)
class Partition:
    """Consecutive rows of a table, or the earlier consignments of a kept state that the tables meet again."""

    number: int
    first: int  # number of its first arrival among those of all tables
    rows: int
    first_row: int  # number of wanted rows before it in the given table; -1 for past and earlier consignments

    @property
    def is_given(self) -> bool:
        """Return True if the rows get features."""
        return self.first_row >= 0


@dataclass(frozen=True)
class BucketJob:
    """All that every task needs to know: `finish` is applied to the whole rows of a partition, and `arrivals` are the rows of all partitions."""

    folder: Path
    describe: RowDescriber
    kinds: tuple[KeyKind, ...]
    buckets: int
    partitions: tuple[Partition, ...]
    arrivals: int
    finish: Callable[[FeatureChunk], Any]
    state: BucketState | None = None

    @property
    def tasks(self) -> tuple[tuple[KeyGroup, int], ...]:
        """Return the groups with their buckets; that of a network has all keys in one."""
        buckets = range(self.buckets)
        groups = list_groups(self.kinds)
        return tuple(
            (group, bucket) for group in groups for bucket in buckets if group.side == NO_SIDE or bucket == 0
        )

    @property
    def given(self) -> tuple[Partition, ...]:
        """Return the partitions whose rows get features."""
        return tuple(partition for partition in self.partitions if partition.is_given)

    def locate(self, what: str, *numbers: int) -> Path:
        """Return the path of the keys, offsets or rows of a partition, or of the readings or places of a kind and bucket."""
        return self.folder / "-".join([what, *map(str, numbers)])


def describe_partition(job: BucketJob, partition: Partition, rows: RowChunk, mask: Mask) -> int:
    """Compute the keys of the rows of a partition, and all features except history of those in a mask; return the number of rows."""
    if job.locate("offsets", partition.number).exists():
        return partition.rows
    chunk = job.describe((rows, mask))
    if partition.is_given:
        columns = {X: to_column(chunk.X)}
        columns |= {name: chunk.context.column(name) for name in chunk.context.column_names}
        table = pa.table(columns).combine_chunks()
        write_arrow(job.locate("rows", partition.number), table.schema, table.to_batches())
    write_keys(job, partition, chunk.keys, chunk.counterparts)
    return partition.rows


def write_keys(job: BucketJob, partition: Partition, keys: Keys, counterparts: Keys) -> None:
    """Write the keys of a partition, sorted by kind and bucket."""
    ordered, offsets = _sort_keys(keys, counterparts, job.buckets)
    write_array(job.locate("keys", partition.number), ordered)
    # The last file says that the partition is finished.
    write_array(job.locate("offsets", partition.number), offsets)


def read_keys(job: BucketJob, numbers: NDArray[np.int64]) -> Keys:
    """Read the keys of arrivals by their number among those of all partitions; uint64, (n, kinds)."""
    found = np.zeros((len(numbers), len(job.kinds)), dtype=np.uint64)
    for partition in job.partitions:
        mine = np.flatnonzero((numbers >= partition.first) & (numbers < partition.first + partition.rows))
        if not len(mine):
            continue
        keys, offsets = (np.load(job.locate(name, partition.number)) for name in ("keys", "offsets"))
        whole = np.zeros((partition.rows, len(job.kinds)), dtype=np.uint64)
        for kind, (first, last) in enumerate(offsets[:, [0, -1]].tolist()):
            whole[keys["row"][first:last], kind] = keys["key"][first:last]
        found[mine] = whole[numbers[mine] - partition.first]
    return found


def count_bucket(job: BucketJob, group: KeyGroup, bucket: int) -> int:
    """Read and count the keys of one group and bucket, and return the number of arrivals that have some."""
    buckets = range(bucket, bucket + 1) if group.side == NO_SIDE else range(job.buckets)
    keys = _read_bucket(job, group, buckets)
    met = len(keys.row)
    if job.locate("places", group.number, bucket).exists():
        return met
    kinds = tuple(job.kinds[kind] for kind in group.kinds)
    if job.state is None:
        history = History(kinds)
    else:
        history, taken = job.state.start_history(kinds, buckets, np.unique(keys.key[keys.key > 0]))
    width = WIDTH if group.side == NO_SIDE else history.width
    parts = _run_slices(job, history, keys, width)
    places = _write_readings(job, job.locate("readings", group.number, bucket), parts, width)
    if job.state is not None:
        job.state.write_counted(group.number, buckets, history, taken)
    # The last file says that the bucket is finished.
    write_array(job.locate("places", group.number, bucket), places)
    return met


def join_partition(job: BucketJob, partition: Partition) -> Any:
    """Join the rows of a partition with their readings, and return what `finish` makes of the wanted ones."""
    values, context = _read_rows(job, partition)
    at, place = job.describe.build_pipeline().history_at, partition.number - job.given[0].number
    history, sides = values[:, at:], number_sides(job.kinds)
    for group, bucket in job.tasks:
        for rows, readings in _open_readings(job, group, bucket, place):
            for own, whole in group.list_blocks(len(sides)):
                history[rows, whole] = readings[:, own]
    read_sides(sides, values, at)
    result = job.finish(FeatureChunk(job.describe.parameters.fitted.mark_rows(values), context))
    return PackedTable.pack(result) if isinstance(result, pa.Table) else result


def _read_rows(job: BucketJob, partition: Partition) -> tuple[NDArray[np.float32], pa.Table]:
    """Read the features of a partition, in which history is missing yet, and its other columns."""
    with pa.memory_map(str(job.locate("rows", partition.number))) as source:
        table = pa.ipc.open_file(source).read_all()
    pipeline = job.describe.build_pipeline()
    values = np.empty((len(table), len(pipeline.spec)), dtype=np.float32)
    values[:, : pipeline.history_at] = from_column(table.column(X).combine_chunks())
    values[:, pipeline.history_at :] = np.nan
    return values, table.drop_columns([X])


def _open_readings(
    job: BucketJob, group: KeyGroup, bucket: int, place: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Yield wanted rows of a given partition, and the readings that a group and bucket have of them."""
    batches = np.flatnonzero(np.load(job.locate("places", group.number, bucket)) == place)
    with pa.memory_map(str(job.locate("readings", group.number, bucket))) as source:
        file = pa.ipc.open_file(source)
        for number in batches.tolist():
            batch = file.get_batch(number)
            yield batch.column(0).to_numpy(), from_column(batch.column(1))


def merge_state(job: BucketJob, bucket: int) -> None:
    """Merge the keys of all groups of a bucket into its part of the next state."""
    assert job.state is not None
    job.state.merge(len(list_groups(job.kinds)), bucket)


def _sort_keys(keys: Keys, counterparts: Keys, buckets: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Sort the keys of a partition by kind and bucket. Missing keys are left out."""
    parts, offsets = [], np.zeros((keys.shape[1], buckets + 1), dtype=np.int64)
    start = 0
    for kind in range(keys.shape[1]):
        rows = np.flatnonzero(keys[:, kind])
        bucket = compute_bucket(keys[rows, kind], buckets)
        order = np.argsort(bucket, kind="stable")
        part = np.empty(len(rows), dtype=KEY_ROW)
        part["row"] = rows[order]
        part["key"], part["counterpart"] = keys[part["row"], kind], counterparts[part["row"], kind]
        offsets[kind] = start + np.searchsorted(bucket[order], np.arange(buckets + 1))
        start += len(part)
        parts.append(part)
    return np.concatenate(parts), offsets


class _BucketKeys(NamedTuple):
    """The keys of a group in buckets: the arrivals that have some, ascending, and keys and counterparts (rows, kinds), of which the last row is missing keys."""

    row: NDArray[np.int64]
    held: NDArray[np.bool_]  # of each arrival of all tables, if it is in `row`: a task must not hold more
    key: NDArray[np.uint64]
    counterpart: NDArray[np.uint64]

    def find(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the places of the keys of some arrivals; the last place if one has none in this bucket."""
        places = np.searchsorted(self.row, rows)
        places[~self.held[rows]] = len(self.row)
        return places


def _read_bucket(job: BucketJob, group: KeyGroup, buckets: range) -> _BucketKeys:
    """Read the keys of a group in some buckets from all partitions."""
    held = np.zeros(job.arrivals, dtype=bool)
    for _, row, _ in _read_parts(job, group, buckets):
        held[row] = True
    rows = np.flatnonzero(held)
    key, counterpart = np.zeros((2, len(rows) + 1, len(group.kinds)), dtype=np.uint64)
    for column, row, part in _read_parts(job, group, buckets):
        places = np.searchsorted(rows, row)
        key[places, column], counterpart[places, column] = part["key"], part["counterpart"]
    return _BucketKeys(rows, held, key, counterpart)


def _read_parts(
    job: BucketJob, group: KeyGroup, buckets: range
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[Any]]]:
    """Yield the keys of each kind and partition, with the place of the kind in the group, and their arrivals."""
    for partition in job.partitions:
        offsets = np.load(job.locate("offsets", partition.number))
        spans = offsets[np.array(group.kinds)][:, [buckets.start, buckets.stop]].tolist()
        for column, (first, last) in enumerate(spans):
            if first < last:
                part = np.load(job.locate("keys", partition.number), mmap_mode="r")[first:last]
                yield column, partition.first + part["row"].astype(np.int64), part


def _run_slices(
    job: BucketJob, history: History, keys: _BucketKeys, width: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Apply the steps of the arrivals of a bucket, and all results, from which the common rates are computed; yield given rows and readings."""
    for steps, own in read_plan(job.folder):
        chosen = np.flatnonzero(keys.held[steps["row"]] | (steps["counter"] != ARRIVALS))
        steps, own = steps[chosen], own[chosen]
        mine = keys.find(steps["row"])
        steps["row"] = np.arange(len(steps))
        wanted = np.flatnonzero(steps["out_row"] >= 0)
        given = steps["out_row"][wanted]
        rows = np.sort(given)
        steps["out_row"][wanted] = np.searchsorted(rows, given)
        out = np.empty((len(rows), history.width), dtype=np.float32)
        others = np.where(own[:, np.newaxis], keys.counterpart[mine], np.uint64(0))
        history.run(steps, keys.key[mine], others, out)
        yield rows, out[:, :width]


def _write_readings(
    job: BucketJob, path: Path, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], width: int
) -> NDArray[np.int32]:
    """Write the readings of each part in one batch for each of its partitions, and return the partition of each batch."""
    places: list[int] = []
    first_rows = np.array([partition.first_row for partition in job.given])
    schema = pa.schema([("row", pa.int32()), ("readings", pa.binary(width * 4))])

    def cut_batches() -> Iterator[pa.RecordBatch]:
        for rows, readings in parts:
            ends = np.append(np.searchsorted(rows, first_rows), len(rows))
            for place in np.flatnonzero(np.diff(ends)).tolist():
                mine = slice(ends[place], ends[place + 1])
                numbers = (rows[mine] - first_rows[place]).astype(np.int32)
                places.append(place)
                yield pa.RecordBatch.from_arrays(
                    [pa.array(numbers), to_column(readings[mine])], schema=schema
                )

    write_arrow(path, schema, cut_batches())
    return np.array(places, dtype=np.int32)
