"""The list of a day: what is known of a consignment goes with it to the day of its amendment; a list that follows the log is a new one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.examples import day, make_outcome
from support.serving_examples import Client
from support.site import Site

from consignments.records import Consignment
from consignments.timestamps import to_day
from operation.day_list import DayList, DayLists
from serving.event_log.event_codec import EventCodec
from serving.event_log.reader import LogReader

MONDAY, TUESDAY = to_day(day(0)), to_day(day(1))
CODEC = EventCodec(None, Consignment, ())
Shown = dict[str, tuple[str, str | None, str | None]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Client]:
    with Site(tmp_path_factory.mktemp("days"), bundle).serve() as opened:
        yield opened


@pytest.fixture
def log(client: Client) -> Iterator[LogReader]:
    with LogReader.open_to_read(client.service.settings.database_url) as opened:
        yield opened


def score(client: Client, name: str, at: float, **changes: Any) -> None:
    client.score(name, received_at=day(at), **changes)


def describe(found: DayList) -> Shown:
    return {name: (row.state, row.selected_by, row.fields.description) for name, row in found.rows.items()}


def read_anew(log: LogReader, number: int) -> Shown:
    found = DayList(number, CODEC)
    found.read(log, log.read_last_sequence())
    return describe(found)


def test_what_is_known_goes_with_a_consignment_to_its_new_day(client: Client, log: LogReader) -> None:
    lists = DayLists(log, CODEC)

    def read() -> tuple[Shown, Shown]:
        both = [describe(lists.get(number)) for number in (MONDAY, TUESDAY)]
        assert both == [read_anew(log, number) for number in (MONDAY, TUESDAY)]
        return both[0], both[1]

    score(client, "SELECTED", 0)
    wanted = {"office": "Incheon", "capacity": 1, "explore": 0, "from": day(0), "until": day(1)}
    client.send("/v1/selections", wanted)
    score(client, "FOUND", 0)
    score(client, "CANCELLED", 0, issued_at=day(0))
    for name in ("FOUND", "EARLY"):
        client.send("/v1/outcomes", make_outcome(name, result="nps"))
    client.send("/v1/cancellations", {"consignment_id": "CANCELLED"})
    assert [len(each) for each in read()] == [3, 0]
    for name in ("SELECTED", "FOUND", "EARLY"):
        score(client, name, 1, description="hats")
    score(client, "CANCELLED", 1, issued_at=day(-1), description="hats")
    monday, tuesday = read()
    assert monday == {"CANCELLED": ("cancelled", None, "cotton t-shirts")}
    found = dict.fromkeys(("FOUND", "EARLY"), ("nps", None, "hats"))
    assert tuesday == {"SELECTED": ("selected", "model", "hats")} | found
    score(client, "FOUND", 0, description="boots")
    assert [sorted(each) for each in read()] == [["CANCELLED", "FOUND"], ["EARLY", "SELECTED"]]
    for issued, goods in ((1, "socks"), (2, "shoes"), (1, "boots")):
        score(client, "LATE", 1, description=goods, issued_at=day(issued))
    assert read()[1]["LATE"] == ("open", None, "shoes"), "the version that counts, not one that comes late"
