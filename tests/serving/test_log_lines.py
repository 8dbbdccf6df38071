"""What clients cause is logged, but nobody can fill the disk with it."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from serving.log_lines import LINES_A_SECOND, Rationed


@pytest.fixture
def written() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_so_many_lines_a_second_are_written_and_the_next_tells_how_many_were_not(written: list[Any]) -> None:
    now = [10.0]
    log = Rationed(clock=lambda: now[0])
    for number in range(LINES_A_SECOND + 30):
        log.info("refused", number=number)
    assert len(written) == LINES_A_SECOND
    assert all("left_out" not in line for line in written)
    now[0] = 11.0
    log.error("refused", number=-1)
    log.error("refused", number=-2)
    assert [line.get("left_out") for line in written[-2:]] == [30, None]
    assert [line["log_level"] for line in written[-3:]] == ["info", "error", "error"]
