"""Times that are typed: with a zone or in UTC."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from cli.times import parse_time, parse_timestamp
from consignments.errors import BadInput


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-03-04", datetime(2024, 3, 4, tzinfo=UTC)),
        ("2024-03-04T09:00:00Z", datetime(2024, 3, 4, 9, tzinfo=UTC)),
        ("2024-03-04T09:00:00+09:00", datetime(2024, 3, 4, 0, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, time: datetime) -> None:
    assert parse_time(text, "--as-of") == time
    assert parse_timestamp(text, "--as-of") == pd.Timestamp(time)


def test_a_time_that_is_not_given_is_none() -> None:
    assert parse_time(None, "--as-of") is None
    assert parse_timestamp(None, "--as-of") is None


def test_a_bad_time_is_refused_with_its_option() -> None:
    with pytest.raises(BadInput, match=r"--as-of.*'soon'.*ISO 8601"):
        parse_timestamp("soon", "--as-of")
