"""UTC days as texts, and as numbers of days since 1970-01-01."""

from datetime import UTC, datetime, timedelta

from consignments.timestamps import EPOCH


def format_day(day: int) -> str:
    """Format a day as YYYY-MM-DD.

    Examples
    --------
    >>> format_day(19786), parse_day("2024-03-04"), parse_day("tomorrow")
    ('2024-03-04', 19786, None)
    """
    return (EPOCH + timedelta(days=day)).date().isoformat()


def parse_day(text: str) -> int | None:
    """Parse YYYY-MM-DD; None if it is no day."""
    try:
        return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) - EPOCH).days
    except ValueError:
        return None
