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
    names = normalize_column(frame["consignment_id"].iloc[rows])
    code = names.dictionary_encode().indices.to_numpy()
    if decided_us is not None:  # after the decision, only a first version counts
        limits = decided_us.reindex(names.to_pandas())
        before = limits.isna().to_numpy() | (received[rows] <= limits.fillna(NO_TIME).to_numpy(np.int64))
        before[np.unique(code, return_index=True)[1]] = True
        rows, code = rows[before], code[before]
    on_time = ~mark_late_versions(code, get_time_column_us(frame, "issued_at")[rows])
    rows, code = rows[on_time][::-1], code[on_time][::-1]
    counting[:] = False
    counting[rows[np.unique(code, return_index=True)[1]]] = True
    return counting
