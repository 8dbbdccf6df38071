"""Times that are typed as options: ISO 8601, in UTC if no zone is given."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from consignments.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


def parse_time(text: str | None, option: str) -> datetime | None:
    """Parse a time of an option; UTC if it has no zone, None if it is not given."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            "bad time", where=option, got=repr(text), expected="ISO 8601, as 2024-03-04T09:00:00Z"
        ) from None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def parse_timestamp(text: str | None, option: str) -> "pd.Timestamp | None":
    """Parse a time of an option as a pandas timestamp in UTC."""
    value = parse_time(text, option)
    if value is None:
        return None
    import pandas as pd

    return pd.Timestamp(value).tz_convert("UTC")
