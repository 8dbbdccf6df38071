"""A trace over the service's log is the trace over its export, and tells nothing of what nobody can read."""

from pathlib import Path

import pytest
from support.databases import reader_of
from support.serving_examples import vault_in
from support.serving_past import RECENT, forget_old, make_past
from support.serving_world import live_through_a_world
from support.site import run, told

from consignments.errors import BadSetting
from consignments.records import Consignment, Outcome
from consignments.tables import read_table, to_records
from features.batch import BATCH_KEY, build_arrival_events, build_outcome_events
from features.history.data_keys import DataKeys
from features.history.pseudonyms import Pseudonyms
from features.links.identifiers import LinkNumberBuilder
from features.links.report import TraceReport
from features.links.trace import LinkTable, trace_links
from operation.logged_links import REDACTED, LoggedLinks
from serving.encryption.vault import Vault


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    return live_through_a_world(tmp_path_factory.mktemp("world") / "state", bundle, bundle, arrivals=60)


def read_exported(folder: Path) -> LinkTable:
    frame = read_table(folder / "consignments.parquet", Consignment).frame
    outcomes = read_table(folder / "outcomes.parquet", Outcome).frame
    builder = LinkNumberBuilder(Pseudonyms(BATCH_KEY))
    numbers = builder.build_rows(to_records(frame, Consignment))
    return LinkTable(build_arrival_events(frame), build_outcome_events(outcomes), numbers)


def test_a_trace_of_the_log_is_that_of_its_export(world: Path, tmp_path: Path) -> None:
    told(world, "export", "--out", str(tmp_path / "out"), "--personal")
    exported = read_exported(tmp_path / "out")
    with reader_of(world) as log:
        links = LoggedLinks(log, vault_in(world), Pseudonyms(BATCH_KEY))
        logged = links.read()
        with pytest.raises(BadSetting):
            LoggedLinks(log, Vault(DataKeys.create()), Pseudonyms(BATCH_KEY))
    names = list(dict.fromkeys(exported.arrivals.consignment_id.to_pylist()))
    latest_us = int(exported.arrivals.received_us.max())
    linked = 0
    for name in names[::3]:
        for as_of_us in (None, latest_us + 1):
            expected = TraceReport(trace_links(exported, name, as_of_us)).to_dict()
            assert TraceReport(trace_links(logged, name, as_of_us)).to_dict() == expected
            linked += len(expected["edges"])
    assert linked > 50
    assert not links.unread
    assert told(world, "trace", names[-1])["edges"]
    for words in ((), ("--json",)):
        hidden, shown = (run(world, "trace", names[-1], *words, *more)[1] for more in ((), ("--personal",)))
        assert not any(value in hidden for value in VALUES)
        assert any(value in shown for value in VALUES)


VALUES = ("ACC-", "Harbour", "7946", "example.org")
"""Parts of personal values, which the verb prints only if asked to."""


def test_what_was_forgotten_links_nothing_and_is_counted(tmp_path: Path, bundle: Path) -> None:
    folder = make_past(tmp_path / "state", bundle)
    forget_old(folder)
    with reader_of(folder) as log:
        links = LoggedLinks(log, vault_in(folder), Pseudonyms(BATCH_KEY))
        table = links.read()
    assert links.unread[REDACTED] > 0
    assert sum(links.unread.values()) + RECENT == len(table.numbers)
    assert trace_links(table, "RB0").links == ()
    code, output = run(folder, "trace", "RB102")
    assert (code, "left out of the links: content was removed by npsrisk forget" in output) == (0, True)
