"""Progress is shown as bars on a terminal and as lines elsewhere, and only of long work."""

import re
import sys

import pytest

import cli.progress
from cli.progress import show_progress_bar

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.*)"


def test_work_that_is_not_on_a_terminal_prints_one_line_for_each_phase_if_it_is_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for delay_seconds, phases in ((60.0, []), (-1.0, ["features", "ablation"])):
        monkeypatch.setattr(cli.progress, "PROGRESS_DELAY_SECONDS", delay_seconds)
        with show_progress_bar() as progress:
            for done in range(3):
                progress("features", done, 3)
            progress("ablation", 0, 3)
            progress("features", 3, 3)
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = [re.fullmatch(LINE, line) for line in printed.err.splitlines()]
        assert [line and line[1] for line in lines] == phases


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli.progress, "PROGRESS_DELAY_SECONDS", -1.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress_bar() as progress:
        progress("features", 1, 2)
    assert "features:" in capsys.readouterr().err


def test_a_line_of_each_minute_estimates_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 50))
    monkeypatch.setattr(cli.progress.time, "monotonic", lambda: float(next(clock)))
    lines = cli.progress.PhaseLines()
    for done in (1_000, 2_000, 3_000, 10_000):
        lines.advance("features", done, 10_000)
    printed = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    # The clock is read twice for each count, 50 seconds apart; 1,000 rows take 100 seconds.
    assert printed == [
        "features",
        "features 20%, 2,000 of 10,000, about 0:13:20 left",
        "features 30%, 3,000 of 10,000, about 0:11:40 left",
    ]
