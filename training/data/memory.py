"""Memory that a training needs, computed from the types of what it holds. It is an estimate, not a measurement.

For 627 features, and three origins:

    held by the command                          bytes          with [model] tree_workers
    row of the table: order, labels of all fits  280            280
    kept row: columns                            1,000          1,000
    kept row: features of two fits               2 x 2,508      in files
    fitted row: copy, bins of LightGBM, numbers  2,508 + 727    bins and numbers, on the workers
    tested row: copy of its features             2,508          2,508

The table of history is not in it: it is released before the fits. Nor are further fits at the same time, with more than one job: they
need the features of one fit and its fitted rows again.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from consignments.errors import BadInput

ORDER_BYTES = 130
"""Identifier and times of a row of the table."""
LABEL_BYTES = 30
"""Labels and weight of a row of the table, for each fit."""
COLUMN_BYTES = 1000
"""All columns of a kept consignment."""
FLOAT_BYTES = 4
BIN_BYTES = 1
BOOSTING_BYTES = 100
"""Label, weight, start, score, gradients and leaf of a fitted row."""
LIMIT_FILE = Path("/sys/fs/cgroup/memory.max")
"""Limit of a container."""
BYTES_A_GB = 10**9


@dataclass(frozen=True)
class TrainingSize:
    """The size of a training.

    Attributes
    ----------
    table : int
        Rows of the table.
    kept : int
        Rows whose features are kept.
    fitted : int
        Rows of the largest fit.
    tested : int
        Kept rows of validation and test.
    fits : int
        Data sets with labels: evaluation fit, final fit and each origin.
    features : int
    """

    table: int
    kept: int
    fitted: int
    tested: int
    fits: int
    features: int

    def estimate_command_bytes(self, tree_workers: int = 0) -> int:
        """Estimate the memory of the command.

        Parameters
        ----------
        tree_workers : int
            Workers that grow the trees; 0 if the command grows them.

        Examples
        --------
        >>> size = TrainingSize(20_000_000, 1_000_000, 500_000, 500_000, fits=5, features=627)
        >>> [round(size.estimate_command_bytes(workers) / 1e9, 1) for workers in (0, 4)]
        [13.2, 7.9]
        """
        row = FLOAT_BYTES * self.features
        table = self.table * (ORDER_BYTES + LABEL_BYTES * self.fits)
        tested = self.tested * row
        if tree_workers:
            return table + self.kept * COLUMN_BYTES + tested
        fitted = self.fitted * row + self.tree_bytes
        # A copy for the fit and copies for the test do not exist at the same time.
        return table + self.kept * (2 * row + COLUMN_BYTES) + max(fitted, tested)

    @property
    def tree_bytes(self) -> int:
        """Estimated memory for growing the trees of a fit, on one machine or on all workers together.

        Workers read the features of their rows from files.
        """
        return self.fitted * (BIN_BYTES * self.features + BOOSTING_BYTES)


def require_memory(size: TrainingSize, tree_workers: int, available: int | None = None) -> None:
    """Check that the command has memory for a training, before its features are computed.

    Parameters
    ----------
    size : TrainingSize
    tree_workers : int
        As in `TrainingSize.estimate_command_bytes`.
    available : int, optional
        Bytes. Default: all memory of this machine, or the limit of its container.

    Raises
    ------
    BadInput
        If it needs more. The message names the settings that need less.
    """
    needed, given = size.estimate_command_bytes(tree_workers), available or find_memory_bytes()
    if needed <= given:
        return
    lower = "lower [weights] background_rows or [evaluation] traffic_rows, or use a machine with more memory"
    shared = size.estimate_command_bytes(tree_workers=1)
    if not tree_workers and shared <= given:
        lower = (
            f"set [model] tree_workers to grow the trees on Dask workers (--dask, --work): they need about {_format_gb(size.tree_bytes)} "
            f"together, and the command {_format_gb(shared)}; or {lower}"
        )
    raise BadInput(
        "the rows of this training do not fit into memory",
        where=f"{size.kept:,} kept rows of {size.table:,}",
        got=f"about {_format_gb(needed)} needed",
        expected=f"at most {_format_gb(given)}",
        todo=lower,
    )


def find_memory_bytes() -> int:
    """Return the memory of this machine, or the limit of its container if that is less."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        return min(physical, int(LIMIT_FILE.read_text()))
    return physical


def _format_gb(count: int) -> str:
    return f"{count / BYTES_A_GB:.3g} GB"
