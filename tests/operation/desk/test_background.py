"""A value that takes long to read never holds up a page for long, and is read once at a time."""

import threading

import pytest

from operation.desk import background
from operation.desk.background import BackgroundValues


def test_no_more_values_are_read_at_a_time_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "WAIT_SECONDS", 0.01)
    complete, reads = threading.Event(), list[str]()
    values: BackgroundValues[str, str] = BackgroundValues(2)

    def read(key: str) -> str:
        reads.append(key)
        complete.wait(10)
        return key

    def ask(key: str) -> tuple[bool, str | None]:
        value = values.start(key, lambda: read(key))
        return (False, None) if value is None else (True, value.get())

    assert [ask(key)[0] for key in "abcab"] == [True, True, False, True, True]
    assert reads == ["a", "b"]
    complete.set()
    monkeypatch.setattr(background, "WAIT_SECONDS", 10.0)
    assert [ask(key)[1] for key in "abcab"] == ["a", "b", "c", "a", "b"]
