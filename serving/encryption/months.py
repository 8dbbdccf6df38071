"""UTC months, for which keys are created and erased."""

from datetime import UTC, datetime

from consignments.timestamps import to_datetime, to_us


def format_month(us: int) -> str:
    """Format the UTC month of a time in microseconds since the epoch.

    Examples
    --------
    >>> format_month(0), format_month(-1)
    ('1970-01', '1969-12')
    """
    moment = to_datetime(us)
    return f"{moment.year:04}-{moment.month:02}"


def compute_month_bounds(month: str) -> tuple[int, int]:
    """Compute the start of a month and of the next one, in microseconds since the epoch.

    Raises `ValueError` if the text is not a month.

    Examples
    --------
    >>> [str(to_datetime(us).date()) for us in compute_month_bounds("2026-12")]
    ['2026-12-01', '2027-01-01']
    """
    begins = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    year, months = divmod(begins.year * 12 + begins.month, 12)
    return to_us(begins), to_us(datetime(year, months + 1, 1, tzinfo=UTC))
