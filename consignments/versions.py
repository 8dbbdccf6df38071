"""Versions of consignments: which row of several counts at a time.

sequence  received  issued
    1     1 March   1 March    counts from its arrival
    2     2 March   2 March    an amendment: counts from 2 March
    3     3 March   1 March    late: issued before the version that counts, so it is recorded and never counts
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import NO_TIME, get_time_column_us

if TYPE_CHECKING:
    import pandas as pd


def is_late(issued_us: int, known_us: int) -> bool:
    """Check if a version was issued before the one that counts; without both times it was not."""
    return NO_TIME not in (issued_us, known_us) and issued_us < known_us


def mark_late_versions(code: NDArray[np.int64], issued_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the versions that were issued before the one that counted when they arrived."""
    late = np.zeros(len(code), dtype=bool)
    counting: dict[int, int] = {}
    for row in np.flatnonzero(np.bincount(code)[code] > 1).tolist():
        name, issued = int(code[row]), int(issued_us[row])
        late[row] = is_late(issued, counting.get(name, NO_TIME))
        if not late[row]:
            counting[name] = issued
    return late


def select_counting_rows(
    frame: "pd.DataFrame", before_us: int | None = None, decided_us: "pd.Series | None" = None
) -> NDArray[np.bool_]:
    """Select the row of each consignment that counts at a time."""
    from consignments.columns import normalize_column

    received = get_time_column_us(frame, "received_at")
    counting = np.ones(len(frame), dtype=bool) if before_us is None else received < before_us
    if "sequence" not in frame:
        return counting
    rows = np.flatnonzero(counting)
    rows = rows[np.argsort(frame["sequence"].to_numpy()[rows], kind="stable")]
    names = normalize_column(frame["consignment_id"].iloc[rows]).to_pandas()
    several = names.duplicated(keep=False).to_numpy()
    rows, names = rows[several], names[several]
    limits = np.full(len(rows), np.iinfo(np.int64).max)
    if decided_us is not None and len(rows):
        found = decided_us.reindex(names)
        given = found.notna().to_numpy()
        limits[given] = found[given].to_numpy(dtype=np.int64)
    counting[rows] = False
    counting[
        _follow_versions(rows, names, get_time_column_us(frame, "issued_at"), received[rows] > limits)
    ] = True
    return counting


def _follow_versions(
    rows: NDArray[np.int64], names: "pd.Series", issued_us: NDArray[np.int64], after: NDArray[np.bool_]
) -> list[int]:
    """Return the last row of each consignment that is neither late nor after its decision, in the order of arrival."""
    last: dict[str, int] = {}
    for row, name, decided in zip(rows.tolist(), names.tolist(), after.tolist(), strict=True):
        known = last.get(name)
        if known is None or not (decided or is_late(int(issued_us[row]), int(issued_us[known]))):
            last[name] = row
    return list(last.values())
