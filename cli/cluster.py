"""Computation of a verb on a Dask cluster."""

from pathlib import Path

from cli.options import build_exclusion


def check_dask_options(dask: str | None, state: Path | None) -> None:
    """Raise `BadInput` if --dask and --state are both given: a state is written by one process."""
    if dask is not None and state is not None:
        raise build_exclusion(
            "--dask and --state",
            todo="a day from a state fits one machine; use --dask with --history for many days",
        )
