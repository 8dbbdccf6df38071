"""Timestamps as integers: conversions between datetimes, microseconds and days.

A timestamp is int64 microseconds since 1970-01-01 UTC (`*_us`), a day is the number of UTC days since then.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

NO_TIME = -(2**63)  # a missing timestamp: the smallest int64, which pandas and numpy use too
US_PER_DAY = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Convert a datetime to microseconds since the epoch, exactly."""
    return (moment - EPOCH) // MICROSECOND


def to_us_if_known(moment: datetime | None) -> int:
    """Convert a datetime to microseconds since the epoch, as `to_us` does; None to `NO_TIME`."""
    return NO_TIME if moment is None else to_us(moment)


def to_datetime(us: int) -> datetime:
    """Convert microseconds since the epoch to a datetime in UTC."""
    return EPOCH + timedelta(microseconds=us)


def convert_us_to_day(us: int) -> int:
    """Convert a timestamp in microseconds to its UTC day, as days since the epoch."""
    return us // US_PER_DAY


def to_day(moment: datetime) -> int:
    """Convert a datetime to its UTC day, as days since the epoch."""
    return (moment - EPOCH).days


def get_time_column_us(frame: "pd.DataFrame", column: str) -> NDArray[np.int64]:
    """Return a time column as microseconds since the epoch; `NO_TIME` if the value or the whole column is missing."""
    if column not in frame:
        return np.full(len(frame), NO_TIME, dtype=np.int64)
    return frame[column].to_numpy(dtype="datetime64[us]").astype(np.int64)
