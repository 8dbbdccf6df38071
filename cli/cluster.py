"""Computation of a verb on a Dask cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cli.options import build_exclusion

if TYPE_CHECKING:
    from features.batch import FeatureParameters, Progress
    from features.streams import FeatureChunk, FeatureInputs

T = TypeVar("T")


def check_dask_options(dask: str | None, state: Path | None) -> None:
    """Raise `BadInput` if --dask and --state are both given: a state is written by one process."""
    if dask is not None and state is not None:
        raise build_exclusion(
            "--dask and --state",
            todo="a day from a state fits one machine; use --dask with --history for many days",
        )


def stream_on_cluster(
    address: str,
    out: Path,
    inputs: "FeatureInputs",
    parameters: "FeatureParameters",
    finish: "Callable[[FeatureChunk], T]",
    *,
    progress: "Progress",
    first_row: int = 0,
) -> Iterator[T]:
    """Compute chunks on a cluster, with a working folder next to the result; see `features.buckets.coordinator`."""
    from features.buckets.cluster import connect
    from features.buckets.coordinator import BucketOptions, create_work_folder, stream_buckets

    with create_work_folder(out) as folder, connect(address) as runner:
        yield from stream_buckets(
            inputs,
            parameters,
            finish,
            runner,
            folder,
            options=BucketOptions(progress=progress),
            first_row=first_row,
        )
