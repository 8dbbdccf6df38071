"""Parsing of times that are given as options: ISO 8601, UTC if no zone is given."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from consignments.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


def parse_time(text: str | None, option: str) -> datetime | None:
    """Parse the time of an option, in UTC if it has no zone; return None if it is not given.

    Raises
    ------
    BadInput
        If the text is not ISO 8601.
    """
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            "bad time", where=option, got=repr(text), expected="ISO 8601, for example 2024-03-04T09:00:00Z"
        ) from None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def parse_timestamp(text: str | None, option: str) -> "pd.Timestamp | None":
    """Parse the time of an option as a pandas timestamp in UTC; return None if it is not given."""
    value = parse_time(text, option)
    if value is None:
        return None
    import pandas as pd

    return pd.Timestamp(value).tz_convert("UTC")
