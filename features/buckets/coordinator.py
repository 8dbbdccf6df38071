"""The order of the tasks: keys of all partitions, then all buckets, then whole rows, partition by partition.

The coordinator checks the tables and computes the plan of history. It holds identifiers and times of all rows, and no keys.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from consignments.files.folders import open_work_folder
from features.batch import FeatureParameters, Progress, select_alerts
from features.buckets.cluster import DaskRunner, connect
from features.buckets.plan import write_plan
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
from features.goods.goods import prepare_kernel
from features.streams import EventTables, FeatureChunk, FeatureInputs, Mask, RowChunk, RowDescriber

T = TypeVar("T")
PARTITION_ROWS = 1 << 16
BUCKET_ARRIVALS = 2_000_000
"""Arrivals of a bucket of one kind: its table of history has at most so many keys, 300 MB."""
BUCKET_KEYS = 8_000_000
"""Keys of a bucket of all kinds in the state before the batch: 0.5 GB, which a task merges with those of the batch."""


def stream_buckets(
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    finish: Callable[[FeatureChunk], T],
    runner: DaskRunner,
    folder: Path,
    *,
    wanted: Mask | None = None,
    progress: Progress | None = None,
    partition_rows: int = PARTITION_ROWS,
    buckets: int | None = None,
) -> Iterator[T]:
    """Compute the bits of `features.streams.stream_features` in tasks, with an empty folder that all workers see, and yield what `finish` makes of each chunk."""
    describe = RowDescriber(parameters, select_alerts(inputs.alerts, inputs.as_of))
    state_run = inputs.state_run
    tables = EventTables.from_inputs(inputs)
    marks = tables.mark_wanted(wanted)
    partitions, sources = _list_partitions(tables, marks, partition_rows)
    job = BucketJob(folder, describe, describe.build_pipeline().kinds, 1, partitions, len(marks), finish)
    job = _plan_job(job, inputs, tables, marks, buckets)
    shared = runner.share(job)
    keys = [
        (shared, each, rows, marks[each.first : each.first + each.rows])
        for each, rows in zip(partitions, sources, strict=True)
    ]
    counts = [(shared, *task) for task in job.tasks]
    chosen = [part for part in job.given if marks[part.first : part.first + part.rows].any()]
    rows = [(shared, part) for part in chosen or job.given[-1:]]
    prepare_kernel()

    def run_all(name: str, work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        for done, result in enumerate(runner.map(name, work, arguments), 1):
            yield result
            if progress is not None:
                progress(name, done, len(arguments))

    for stage in (run_all("keys", describe_partition, keys), run_all("history", count_bucket, counts)):
        for _ in stage:
            pass
    for result in run_all("rows", join_partition, rows):
        yield result.unpack() if isinstance(result, PackedTable) else result
    if state_run is not None and job.state is not None:
        for _ in run_all("state", merge_state, [(shared, bucket) for bucket in range(job.buckets)]):
            pass
        state_run.finish_plan(job.state.open_merged(job.buckets), partial(read_keys, job))


def _plan_job(
    job: BucketJob, inputs: FeatureInputs, tables: EventTables, marks: Mask, buckets: int | None
) -> BucketJob:
    """Write the plan of history, and what of a kept state the tasks need, to the folder of a job; return the job with its buckets."""
    state_run = inputs.state_run
    if state_run is None:
        fold = tables.start_fold(inputs)
    else:
        fold = state_run.start_plan(tables.arrivals, tables.outcomes)
    write_plan(fold, np.where(marks, np.cumsum(marks) - 1, -1), job.folder)
    before = None if state_run is None else state_run.before
    kept_keys = 0 if before is None else len(before.table.keys)
    count = buckets or max(1, -(-job.arrivals // BUCKET_ARRIVALS), -(-kept_keys // BUCKET_KEYS))
    job = replace(job, buckets=count)
    if state_run is None:
        return job
    known = state_run.earlier_keys
    earlier = Partition(len(job.partitions), job.arrivals, len(known), -1)
    write_keys(job, earlier, known, np.zeros_like(known))
    state = BucketState.split(before, state_run.today, job.folder, count)
    partitions, arrivals = (*job.partitions, earlier), job.arrivals + len(known)
    return replace(job, partitions=partitions, arrivals=arrivals, state=state)


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
        yield from stream_buckets(
            inputs, parameters, finish, runner, folder, wanted=wanted, progress=progress
        )


def create_work_folder(out: Path) -> AbstractContextManager[Path]:
    """Create the working folder next to a result, see `open_work_folder`."""
    return open_work_folder(out.absolute().with_name(f".{out.name}.buckets"), "table")


def _list_partitions(
    tables: EventTables, marks: Mask, rows: int
) -> tuple[tuple[Partition, ...], tuple[RowChunk, ...]]:
    """List the partitions of all tables, at least one of the given table, and their rows, which a worker reads at once."""
    parts: list[Partition] = []
    chunks: list[RowChunk] = []
    for source, (first, end) in zip(tables.sources, pairwise(tables.starts.tolist()), strict=True):
        is_given = source is tables.sources[-1]
        for begin in range(first, max(end, first + is_given), rows):
            last = min(begin + rows, end)
            first_row = int(marks[:begin].sum()) if is_given else -1
            parts.append(Partition(len(parts), begin, last - begin, first_row))
            chunks.append(source.slice_rows(begin - first, last - first))
    return tuple(parts), tuple(chunks)
