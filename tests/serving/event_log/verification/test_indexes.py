"""The verification finds entries that the indexes of identifiers and times would not find, and their tables can be made again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.databases import execute, reader_of, state_environment

from npsrisk import main
from serving.event_log.events import Event
from serving.event_log.identifiers.pages import RUN_DTYPE, pack_run
from serving.event_log.log import EventLog
from serving.event_log.verification.indexes import IndexFault, verify_indexes

Open = Callable[[], EventLog]
Entry = Callable[..., Event]
ENTRIES = 45


@pytest.fixture
def folder(open_log: Open, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with runs and spans of some ten entries each."""
    monkeypatch.setattr("serving.event_log.time_spans.SPAN_ENTRIES", 10)
    monkeypatch.setattr("serving.event_log.identifiers.finder.SEGMENT_ENTRIES", 10)
    monkeypatch.setattr("serving.event_log.upkeep.SEGMENT_ENTRIES", 5)
    monkeypatch.setattr("serving.event_log.upkeep.MAX_RUN_ENTRIES", 20)
    log = open_log()
    log.append(
        [entry(place, at_us=1_000 + place, consignment_id=f"RB{place % 40}") for place in range(1, ENTRIES)]
    )
    log.append(
        [entry(ENTRIES, kind="alert", consignment_id=None, score=None, features=None, keys=None, kinds=None)]
    )
    log.close()
    open_log().close()
    return tmp_path


def find_faults(folder: Path) -> list[IndexFault]:
    with reader_of(folder) as log:
        return verify_indexes(log)


def test_indexes_of_a_log_are_valid(folder: Path) -> None:
    assert find_faults(folder) == []
    assert execute(folder, "SELECT count(*) FROM identifier_runs")[0][0] > 0
    assert execute(folder, "SELECT count(*) FROM time_spans") == [(4,)]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (
            "UPDATE identifier_pages SET entries = :none WHERE run = (SELECT min(run) FROM identifier_runs)",
            "identifiers",
        ),
        ("DELETE FROM identifier_pages WHERE run = (SELECT min(run) FROM identifier_runs)", "identifiers"),
        ("UPDATE time_spans SET max_us = 1005 WHERE first = 1", "times"),
        ("UPDATE time_spans SET min_us = NULL, max_us = NULL WHERE first = 1", "times"),
        ("DELETE FROM time_spans WHERE first = 1", "times"),
    ],
)
def test_an_index_that_hides_entries_is_found_and_made_again(
    folder: Path, open_log: Open, statement: str, index: str
) -> None:
    empty = pack_run(np.empty(0, dtype=RUN_DTYPE)).pages[0]
    execute(folder, statement, **({"none": empty} if ":none" in statement else {}))
    ((found, first, _),) = find_faults(folder)
    assert (found, first) == (index, 1)
    told = CliRunner().invoke(main, ["verify-log", "--json"], env=state_environment(folder))
    assert told.exit_code == 1
    fault = json.loads(told.output.splitlines()[-1])["fault"]
    table = {"identifiers": "identifier_runs", "times": "time_spans"}[index]
    assert f"the index of {index} is wrong for the entries 1 to" in fault
    assert f"delete all rows of the table {table}" in fault
    execute(folder, f"DELETE FROM {table}")
    open_log().close()
    assert find_faults(folder) == []
