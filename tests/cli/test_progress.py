"""A progress bar is for terminals: elsewhere nothing is printed."""

import pytest

from cli.progress import show_progress_bar


def test_work_that_is_not_on_a_terminal_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress_bar() as progress:
        progress("reading tables", 0, 10)
        progress("reading tables", 10, 10)
    assert capsys.readouterr() == ("", "")
