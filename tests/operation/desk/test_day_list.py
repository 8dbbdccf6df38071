"""The list of a day: what is known of a consignment goes with it to the day of its amendment; a list that follows the log is a new one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in

from consignments.records import Consignment
from consignments.timestamps import to_day
from operation.day_list import DayList, DayLists
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import Event
from serving.event_log.reader import LogReader

MONDAY, TUESDAY = to_day(day(0)), to_day(day(1))
CODEC = EventCodec(None, Consignment, ())
Shown = dict[str, tuple[str, str | None, str | None]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("days")
    publish(folder, bundle, "1")
    with serving(settings_in(folder)) as opened:
        yield opened


def send(client: Client, path: str, body: object) -> None:
    response = client.post(path, body)
    assert response.status_code == 200, response.text


def score(client: Client, name: str, at: float, **changes: Any) -> None:
    send(client, "/v1/scores", make_consignment(name, received_at=day(at), **changes))


def describe(found: DayList) -> Shown:
    return {name: (row.state, row.selected_by, row.fields.description) for name, row in found.rows.items()}


def read_anew(log: LogReader, number: int) -> Shown:
    found = DayList(number, CODEC)
    found.read(log, log.read_last_sequence())
    return describe(found)


def test_what_is_known_of_a_consignment_goes_with_it_to_the_day_of_its_amendment(client: Client) -> None:
    days = {"from": day(0), "until": day(1)}
    with LogReader.open_to_read(client.service.settings.database_url) as log:
        lists = DayLists(log, CODEC)

        def read() -> tuple[Shown, Shown]:
            both = [describe(lists.get(number)) for number in (MONDAY, TUESDAY)]
            assert both == [read_anew(log, number) for number in (MONDAY, TUESDAY)]
            return both[0], both[1]

        score(client, "SELECTED", 0)
        send(client, "/v1/selections", {"office": "Incheon", "capacity": 1, "explore": 0, **days})
        score(client, "FOUND", 0)
        send(client, "/v1/outcomes", make_outcome("FOUND", result="nps"))
        score(client, "CANCELLED", 0, issued_at=day(0))
        send(client, "/v1/outcomes", make_outcome("EARLY", result="nps"))
        send(client, "/v1/cancellations", {"consignment_id": "CANCELLED"})
        assert [len(each) for each in read()] == [3, 0]
        for name in ("SELECTED", "FOUND", "EARLY"):
            score(client, name, 1, description="hats")
        score(client, "CANCELLED", 1, issued_at=day(-1), description="hats")
        assert read() == (
            {"CANCELLED": ("cancelled", None, "cotton t-shirts")},
            {
                "SELECTED": ("selected", "model", "hats"),
                "FOUND": ("nps", None, "hats"),
                "EARLY": ("nps", None, "hats"),
            },
        )
        score(client, "FOUND", 0, description="boots")
        assert [sorted(each) for each in read()] == [["CANCELLED", "FOUND"], ["EARLY", "SELECTED"]]


def test_a_list_that_follows_the_log_reads_earlier_entries_only_of_new_rows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(client, "KNOWN", 0)
    with LogReader.open_to_read(client.service.settings.database_url) as log:
        lists = DayLists(log, CODEC)
        lists.get(MONDAY)
        asked, read = list[str](), log.read_events_of

        def record(names: Any, *others: Any) -> list[Event]:
            asked.extend(names)
            return read(names, *others)

        monkeypatch.setattr(log, "read_events_of", record)
        score(client, "KNOWN", 0, description="hats")
        score(client, "OTHER", 1)
        score(client, "NEW", 0)
        send(client, "/v1/outcomes", make_outcome("KNOWN"))
        assert lists.get(MONDAY).rows["KNOWN"].state == "clear"
        assert asked == ["NEW"]


def test_a_list_shows_the_version_that_counts_and_not_one_that_comes_late(client: Client) -> None:
    for issued, goods in ((1, "socks"), (2, "shoes"), (1, "boots")):
        score(client, "LATE", 1, description=goods, issued_at=day(issued))
    with LogReader.open_to_read(client.service.settings.database_url) as log:
        assert read_anew(log, TUESDAY)["LATE"] == ("open", None, "shoes")
