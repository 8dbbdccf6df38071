"""The order of the tasks: keys of all partitions, then all buckets, then whole rows, partition by partition.

The coordinator checks the tables and computes the plan of history. It holds identifiers and times of all rows, and no keys.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from consignments.files.work_folder import open_work_folder
from features.batch import FeatureParameters, Progress, RowBuilder, select_alerts
from features.buckets.cluster import connect
from features.buckets.plan import HistoryPlan
from features.buckets.state import BucketState
from features.buckets.tasks import (
    BucketJob,
    Partition,
    count_bucket,
    describe_partition,
    join_partition,
    merge_state,
    read_keys,
    write_keys,
)
from features.buckets.work_files import PackedTable
from features.streams import FeatureChunk, FeatureInputs, Mask, OrderedTables, RowChunk, TableSource
from features.table_rows import prepare_kernels

T = TypeVar("T")
PARTITION_ROWS = 1 << 16
BUCKET_ARRIVALS = 2_000_000
"""Arrivals of a bucket of one kind: its table of history has at most so many keys, 300 MB."""
BUCKET_KEYS = 8_000_000
"""Keys of a bucket of all kinds in the state before the batch: 0.5 GB, which a task merges with those of the batch."""


class TaskRunner(Protocol):
    """A runner of tasks, such as a cluster."""

    def share(self, value: Any, *, large: bool = False) -> Any:
        """Send a value to every worker once, and return what stands for it in the arguments of a task."""

    def map(self, name: str, work: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Yield the result of each task, in order. A task that a worker could not finish is repeated."""


@dataclass(frozen=True)
class BucketOptions:
    """The options of a computation in buckets. The result does not depend on them.

    Attributes
    ----------
    partition_rows : int or None
        Rows of a partition. Default: PARTITION_ROWS.
    buckets : int or None
        Buckets of each kind of key. Default: by the number of arrivals.
    progress : callable or None
    """

    partition_rows: int | None = None
    buckets: int | None = None
    progress: Progress | None = None

    def count_buckets(self, arrivals: int, kept_keys: int) -> int:
        """Return the number of buckets of each kind."""
        return self.buckets or max(1, -(-arrivals // BUCKET_ARRIVALS), -(-kept_keys // BUCKET_KEYS))


def stream_buckets(
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    finish: Callable[[FeatureChunk], T],
    runner: TaskRunner,
    folder: Path,
    *,
    options: BucketOptions | None = None,
    wanted: Mask | None = None,
) -> Iterator[T]:
    """Compute the same bits as `features.streams.stream_features` in tasks, and apply a function to each chunk.

    Parameters
    ----------
    inputs : FeatureInputs
        Rows may be in any order. The next state exists after the last chunk, as in `stream_features`.
    parameters : FeatureParameters
    finish : callable
        Function that workers apply to each chunk of whole rows. It and its results are sent between processes.
    runner : TaskRunner
    folder : Path
        Empty folder that all workers see under this name.
    options : BucketOptions, optional
    wanted : bool array, (given consignments,), optional
        Rows that get features. The others only count for history. Default: all.

    Yields
    ------
    object
        The result for each partition of the given table with wanted rows, in order; at least one.
    """
    options = options or BucketOptions()
    job, parts = _plan_job(inputs, parameters, finish, folder, options, wanted)
    shared, state_run = runner.share(job), inputs.state_run
    keys = [(shared, part.partition, part.get_rows(), part.mask) for part in parts]
    buckets = [(shared, kind, bucket) for kind in range(len(job.kinds)) for bucket in range(job.buckets)]
    given = [part for part in parts if part.partition.is_given]
    chosen = [part for part in given if part.mask.any()] or given[-1:]
    rows = [(shared, part.partition) for part in chosen]
    prepare_kernels()
    for _ in _report(options.progress, "keys", runner.map("keys", describe_partition, keys), len(keys)):
        pass
    for _ in _report(options.progress, "history", runner.map("history", count_bucket, buckets), len(buckets)):
        pass
    for result in _report(options.progress, "rows", runner.map("rows", join_partition, rows), len(rows)):
        yield result.unpack() if isinstance(result, PackedTable) else result
    if state_run is not None and job.state is not None:
        merges = [(shared, bucket) for bucket in range(job.buckets)]
        for _ in _report(options.progress, "state", runner.map("state", merge_state, merges), job.buckets):
            pass
        state_run.finish_plan(job.state.open_merged(job.buckets), partial(read_keys, job))


def _plan_job(
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    finish: Callable[[FeatureChunk], Any],
    folder: Path,
    options: BucketOptions,
    wanted: Mask | None,
) -> tuple[BucketJob, tuple["_SourcePart", ...]]:
    """Write the plan of history, and what of a kept state the tasks need, to the folder; return the job and its tables in parts."""
    describer = RowBuilder(parameters, select_alerts(inputs.alerts, inputs.as_of))
    tables, state_run = OrderedTables.from_inputs(inputs), inputs.state_run
    mask = np.ones(len(inputs.consignments), dtype=bool) if wanted is None else wanted
    parts = _list_partitions(inputs, tables.kept, options.partition_rows or PARTITION_ROWS, mask)
    arrivals = len(tables.arrivals.received_us)
    HistoryPlan.build(tables, state_run).write(folder)
    before = None if state_run is None else state_run.before
    buckets = options.count_buckets(arrivals, 0 if before is None else len(before.table.keys))
    job = BucketJob(
        folder=folder,
        describer=describer,
        kinds=describer.build_pipeline().kinds,
        buckets=buckets,
        partitions=tuple(part.partition for part in parts),
        arrivals=arrivals,
        finish=finish,
    )
    if state_run is None:
        return job, parts
    known = state_run.earlier_keys
    earlier = Partition(len(parts), arrivals, len(known), -1)
    write_keys(job, earlier, known, np.zeros_like(known))
    state = BucketState.split(before, state_run.today, folder, buckets)
    partitions, rows = (*job.partitions, earlier), arrivals + len(known)
    return replace(job, partitions=partitions, arrivals=rows, state=state), parts


def stream_on_cluster(
    address: str,
    out: Path,
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    finish: Callable[[FeatureChunk], T],
    *,
    progress: Progress | None = None,
    wanted: Mask | None = None,
) -> Iterator[T]:
    """Compute chunks on a Dask cluster as `stream_buckets` does, with a working folder next to a result."""
    with create_work_folder(out) as folder, connect(address) as runner:
        options = BucketOptions(progress=progress)
        yield from stream_buckets(inputs, parameters, finish, runner, folder, options=options, wanted=wanted)


def create_work_folder(out: Path) -> AbstractContextManager[Path]:
    """Create the working folder next to a result, see `open_work_folder`."""
    return open_work_folder(out.absolute().with_name(f".{out.name}.buckets"), "table")


@dataclass(frozen=True)
class _SourcePart:
    """A partition, with its rows in its table: those from `begin` to `end`, of which `mask` marks the wanted."""

    partition: Partition
    source: TableSource
    begin: int
    end: int
    mask: Mask

    def get_rows(self) -> RowChunk:
        """Return the rows, which a worker reads at once: a reader decodes the whole row group before them."""
        return self.source.slice_rows(self.begin, self.end)


def _list_partitions(inputs: FeatureInputs, kept: Mask, rows: int, wanted: Mask) -> tuple[_SourcePart, ...]:
    """List the partitions of past and given consignments; at least one of the given."""
    parts: list[_SourcePart] = []
    arrivals = 0
    if inputs.history is not None:
        for begin in range(0, len(kept), rows):
            mask = kept[begin : begin + rows]
            partition = Partition(len(parts), arrivals, int(mask.sum()), -1)
            parts.append(_SourcePart(partition, inputs.history, begin, begin + len(mask), mask))
            arrivals += partition.rows
    total = len(inputs.consignments)
    for begin, end in pairwise([*range(0, max(total, 1), rows), total]):
        partition = Partition(len(parts), arrivals + begin, end - begin, begin)
        mask = wanted[begin:end]
        parts.append(_SourcePart(partition, inputs.consignments, begin, end, mask))
    return tuple(parts)


def _report(progress: Progress | None, what: str, results: Iterator[T], total: int) -> Iterator[T]:
    """Pass results on, and report their number."""
    for done, result in enumerate(results, 1):
        yield result
        if progress is not None:
            progress(what, done, total)
