"""Masters and houses that come in different requests: the same consignments as `npsrisk read` makes of all of them together."""

import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.databases import copy_state, reader_of, stored_bytes
from support.linked_messages import (
    NAME,
    NUMBER,
    START,
    TEXT,
    XML,
    Message,
    describe,
    draw_messages,
    read_final,
    write_house,
    write_house_list,
    write_manifest,
    write_master,
)
from support.messages import HOUSE, MESSAGES, change_message, changed
from support.serving_examples import Client, settings_in
from support.serving_past import APPROVAL
from support.site import Site

from consignments.identifiers import normalize_identifier
from consignments.timestamps import to_datetime, to_us
from serving.event_log.event_codec import find_counting_version
from serving.event_log.events import ArrivalEvent
from serving.messages.linking import MessageLinker
from serving.service import Service
from serving.state.forgetting import forget, forget_consignment
from serving.state.links import Links

HOUSE_ID = f"{NUMBER}/{NAME}"
ENRICHED = {"route": "PVG>HKG>ICN", "declarant": "BRIGHT HARBOUR LOGISTICS", "carrier": "CX"}


class World(Site):
    """A site whose service has a clock, which the messages move."""

    now = START

    def set_clock(self, hours: float) -> None:
        self.now = at(hours)

    @contextmanager
    def run_service(self, **settings: str) -> Iterator[Client]:
        with self.serve(lambda: to_us(self.now), **settings) as client:
            self.client = client
            yield client

    def post(self, content: bytes, hours: float, kind: str = XML) -> dict[str, Any]:
        self.set_clock(hours)
        return self.client.send("/v1/scores", content, headers={"content-type": kind})

    def read_versions(self, name: str = HOUSE_ID) -> list[dict[str, Any]]:
        service = self.client.service
        events = service.log.read_consignment_events(normalize_identifier(name))
        decode = service.active.entries.decode_consignment
        return [describe(decode(each)) for each in events if isinstance(each, ArrivalEvent)]


@pytest.fixture
def site(tmp_path: Path, bundle: Path) -> World:
    return World(tmp_path, bundle)


@pytest.fixture
def world(site: World) -> Iterator[World]:
    with site.run_service():
        yield site


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def list_scores(answer: dict[str, Any]) -> list[tuple[str, bool, bool]]:
    return [(each["consignment_id"], each["repeated"], each["cancelled"]) for each in answer["scores"]]


def read_final_versions(service: Service) -> dict[str, dict[str, Any]]:
    """Read the version that counts of each consignment of a log, with the time of its cancellation."""
    by_name = defaultdict[str, list[Any]](list)
    for event in service.log.read_events():
        if event.consignment_id is not None:
            by_name[event.consignment_id].append(event)
    found = {}
    for name, events in by_name.items():
        version = find_counting_version(events)
        record = service.active.entries.decode_consignment(version)
        ends = [each for each in events if each.kind == "cancellation" and each.sequence > version.sequence]
        if ends:
            record = structs.replace(record, cancelled_at=to_datetime(ends[0].at_us))
        found[name] = describe(record)
    return found


def describe_links(links: Links) -> Any:
    houses = {number: links.list_houses(number) for number in sorted(links._by_master)}
    return links.houses, links.masters, links.members, houses


Write = Callable[[str, datetime], bytes]


def house(issued: float = 0, **values: str) -> Write:
    return lambda number, start: write_house(start + timedelta(hours=issued), number, **values)


def master(issued: float = 0, **values: str) -> Write:
    return lambda number, start: write_master(start + timedelta(hours=issued), number, **values)


def both(first: Write, second: Write) -> Write:
    return lambda number, start: first(number, start) + second(number, start)


def house_list(*names: str) -> Write:
    return lambda number, _: write_house_list(number, names)


def manifest(issued: float, *names: str, goods: str) -> Write:
    return lambda number, start: write_manifest(start + timedelta(hours=issued), number, names, goods)


def show_scores(answer: dict[str, Any], number: str) -> str:
    """Show the scores of an answer: M the master, H the house, `=` if repeated, `x` if cancelled."""
    names = {number: "M", f"{number}/{NAME}": "H"}
    return " ".join(
        names.get(name, name.rpartition("/")[2]) + "=" * repeated + "x" * cancelled
        for name, repeated, cancelled in list_scores(answer)
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[World]:
    """One service for all cases, each with a master of its own."""
    made = World(tmp_path_factory.mktemp("shared"), bundle)
    with made.run_service():
        yield made


CASES: list[tuple[list[tuple[Write, str]], list[str]]] = [
    # a house gains at once what an earlier master says, and withdraws its consolidation
    ([(master(), "M"), (house(1), "M=x H")], ["PVG>HKG>ICN LOGISTICS"]),
    ([(master(), "M"), (both(master(), house(1)), "M=x H")], ["PVG>HKG>ICN LOGISTICS"]),
    ([(house(), "H"), (both(master(), house()), "H"), (both(master(), house()), "H=")], ["PVG>ICN -", "PVG>HKG>ICN LOGISTICS"]),
    # a later master amends each known house; sent again it amends nothing, and a house sent again is a repeat
    ([(house(), "H"), (house(name="H2"), "H2"), (master(), "H H2"), (master(), "H= H2="), (house(), "H=")], ["PVG>ICN -", "PVG>HKG>ICN LOGISTICS"]),
    # an older version of a master amends nothing, and a newer one amends again
    ([(house(), "H"), (master(1), "H"), (master(0, stop="TPE"), "H="), (master(2, stop="TPE"), "H")],
     ["PVG>ICN -", "PVG>HKG>ICN LOGISTICS", "PVG>TPE>ICN LOGISTICS"]),
    ([(house(), "H"), (master(1), "H"), (master(2, forwarder="BRIGHTER HARBOUR"), "H")],
     ["PVG>ICN -", "PVG>HKG>ICN LOGISTICS", "PVG>HKG>ICN HARBOUR"]),
    # a withdrawn house is not amended, and counts again when it is issued again
    ([(house(), "H"), (house(1, purpose="Deletion"), "H=x"), (master(1), ""), (house(), "H=x"), (house(5), "H")],
     ["PVG>ICN -", "PVG>HKG>ICN LOGISTICS"]),
    # an older version sent again gets its own decision, not that of the latest one
    ([(house(), "H"), (house(1, who="LEE"), "H"), (house(), "H"), (house(), "H="), (house(1, who="LEE"), "H=")], ["PVG>ICN -"] * 3),
    # answers come in the order of the message, also if only the later one changed
    ([(house(), "H"), (both(house(), house(1, name="H2")), "H= H2"), (both(house(name="H2"), house(2, who="LEE")), "H2= H")], ["PVG>ICN -"] * 2),
    # lists of houses gain from a master, and keep what a waybill said
    ([(house_list("H2"), "H2"), (house(), "H"), (master(), "H2 H"), (manifest(4, NAME, "H3", goods="TEA"), "H H3")],
     ["PVG>ICN -", "PVG>HKG>ICN LOGISTICS", "PVG>HKG>ICN LOGISTICS"]),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(CASES)))
def test_masters_and_houses_of_several_requests_are_joined(shared: World, place: int) -> None:
    steps, versions = CASES[place]
    number, first = f"160-481038{place}{(4810380 + place) % 7}", 20 * place
    start, shown = at(first), []
    for hour, (write, _) in enumerate(steps, start=1):
        shown.append(show_scores(shared.post(write(number, start), first + hour), number))
    assert shown == [scores for _, scores in steps]
    found = shared.read_versions(f"{number}/{NAME}")
    assert [f"{c['route']} {c.get('declarant', '-').split()[-1]}" for c in found] == versions
    is_consolidation = any("M" in scores for scores in shown)
    assert (shared.client.get(f"/v1/consignments/{number}").status_code == 200) == is_consolidation


def test_a_master_of_which_no_consignment_follows_is_named(world: World) -> None:
    gone = world.post(write_master(at(1), purpose="Deletion"), 1)
    assert gone["scores"] == []
    assert gone["messages"]["ignored"] == [f"master {NUMBER}: it is kept for its houses"]


def test_a_receptacle_that_comes_later_amends_the_items_it_lists(world: World) -> None:
    item = {"consignment_id": "LX123456785CN", "channel": "postal", "description": "tea"}
    world.client.send("/v1/scores", item | {"route": "CNPVGA>DEFRAA"})
    bag = b"""<IE3F44><documentIssueDate>2026-03-10T00:00:00Z</documentIssueDate><consignmentMasterLevel><receptacle>
      <receptacleIdentificationNumber>CNPVGADEFRAAAUN60001001100123</receptacleIdentificationNumber>
      <transportDocument><documentNumber>LX123456785CN</documentNumber></transportDocument></receptacle>
      </consignmentMasterLevel><declarant><name>China Post</name></declarant></IE3F44>"""
    for repeated in (False, True):
        assert list_scores(world.post(bag, 2)) == [("LX123456785CN", repeated, False)]
    amended = {"master_id": "CNPVGADEFRAAAUN60001001100123", "declarant": "China Post"}
    assert world.read_versions("LX123456785CN")[-1].items() >= amended.items()
    late = changed(bag, ("2026-03-10T00", "2026-03-09T00"), ("LX123456785CN", "LX123456799CN"))
    assert list_scores(world.post(late, 3)) == [("LX123456785CN", True, False)]
    assert list(world.client.service.active.state.links.members) == ["LX123456785CN"]


def test_a_master_in_cargo_imp_amends_houses_of_cargo_xml_and_one_record(world: World) -> None:
    number = b'"cargo:waybillPrefix": "160", "cargo:waybillNumber": "48103823"'
    document = b"""{"@context": {"cargo": "https://onerecord.iata.org/ns/cargo#"}, "@type": "cargo:Waybill",
        "cargo:waybillType": "HOUSE", "cargo:waybillNumber": "H2", "cargo:masterWaybill": {"@type": "cargo:Waybill", %s},
        "cargo:shipment": {"@type": "cargo:Shipment", "cargo:goodsDescription": "PIGMENT"}}"""
    world.post(write_house(at(0)), 1)
    world.post(document % number, 2, "application/ld+json")
    answer = world.post((MESSAGES / "fwb_master.txt").read_bytes(), 3, TEXT)
    assert list_scores(answer) == [(HOUSE_ID, False, False), (f"{NUMBER}/H2", False, False)]


def test_a_version_that_came_as_json_is_the_one_that_a_master_amends(world: World) -> None:
    world.post(write_house(at(0)), 1)
    record = {"consignment_id": HOUSE_ID, "channel": "air_cargo", "description": "hats", "route": "PVG>ICN"}
    world.set_clock(2)
    world.client.send("/v1/scores", record)
    world.post(write_master(at(0)), 3)
    assert world.read_versions()[-1].items() >= (ENRICHED | {"description": "hats"}).items()


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 126))]
)
def test_requests_and_restarts_give_the_versions_of_one_run(tmp_path: Path, bundle: Path, seed: int) -> None:
    draw = random.Random(seed)
    messages = draw_messages(draw, 12)
    world, known = World(tmp_path / "0", bundle), describe_links(Links())
    for place, part in enumerate(cut(messages, draw), start=1):
        world.now = part[0].received_at
        with world.run_service() as client:
            assert describe_links(client.service.active.state.links) == known
            for message in part:
                hours = (message.received_at - START) / timedelta(hours=1)
                world.post(message.content, hours, message.kind)
            known = describe_links(client.service.active.state.links)
            found = read_final_versions(client.service)
            is_killed = draw.random() < 0.5
            if is_killed:  # a copy of the files of a running service is what a kill leaves
                copy_state(world.folder, tmp_path / str(place))
        if is_killed:
            world.folder = tmp_path / str(place)
        elif draw.random() < 0.5:
            shutil.rmtree(world.folder / "snapshots")
    assert found == read_final(messages)
    report = world.told("parity")
    assert report["compared"] == report["decisions"] > 0


def cut(messages: Sequence[Message], draw: random.Random) -> Iterator[Sequence[Message]]:
    first, second = sorted(draw.sample(range(1, len(messages)), 2))
    yield from (messages[:first], messages[first:second], messages[second:])


def test_links_lost_by_a_kill_come_with_the_same_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    world.post(write_house(at(0)), 1)
    world.post(write_house(at(0), name="H2"), 1)
    with monkeypatch.context() as patch:
        patch.setattr(MessageLinker, "record", fail)
        world.set_clock(2)
        response = world.client.post("/v1/scores", write_master(at(0)), headers={"content-type": XML})
        assert response.status_code == 500
    assert not world.client.service.active.state.links.masters
    repeats = [(HOUSE_ID, True, False), (f"{NUMBER}/H2", True, False)]
    assert list_scores(world.post(write_master(at(0)), 3)) == repeats
    assert len(world.read_versions()) == 2
    world.post(write_house(at(0), name="H3"), 4)
    assert world.read_versions(f"{NUMBER}/H3")[-1].items() >= ENRICHED.items()


def test_links_are_forgotten_after_their_days(site: World) -> None:
    with site.run_service(NPSRISK_LINK_DAYS="2") as client:
        site.post(write_house(at(0)), 0)
        site.post(write_house(at(30), name="H2"), 30)
        site.post(write_master(at(49)), 49)
        assert [len(site.read_versions(f"{NUMBER}/{name}")) for name in (NAME, "H2")] == [1, 2]
        assert list(client.service.active.state.links.houses) == [f"{NUMBER}/H2"]
    with site.run_service(NPSRISK_LINK_DAYS="2") as client:
        assert list(client.service.active.state.links.houses) == [f"{NUMBER}/H2"]
        site.post(write_house(at(98), name="H3"), 98)  # the master is forgotten too
        assert site.read_versions(f"{NUMBER}/H3")[-1]["route"] == "PVG>ICN"


def test_only_so_many_links_are_kept_the_oldest_go_first(site: World) -> None:
    with site.run_service(NPSRISK_MAX_LINKS="2") as client:
        for hour, name in enumerate(("H1", "H2", "H3")):
            site.post(write_house(at(hour), name=name), hour)
        kept = describe_links(client.service.active.state.links)
        assert list(kept[0]) == [f"{NUMBER}/H2", f"{NUMBER}/H3"]
    shutil.rmtree(site.folder / "snapshots")
    with site.run_service(NPSRISK_MAX_LINKS="2") as client:
        assert describe_links(client.service.active.state.links) == kept


def test_links_are_encrypted_and_go_with_old_content(site: World) -> None:
    with site.run_service():
        site.post(change_message(HOUSE), 0)
        site.post(write_master(at(0)), 1)
    assert b"BRIGHT HARBOUR LOGISTICS" in stored_bytes(site.folder)  # the declarant of the amended house
    with reader_of(site.folder) as log:
        links = list(log.read_events(kinds=("link",)))
    assert len(links) == 3
    written = b"".join(each.plain + (each.sealed or b"") for each in links)
    assert (b"BRIGHT" in written, NAME.encode() in written) == (False, False)
    with site.run_service():
        site.post(write_house(at(24 * 400), name="H2"), 24 * 400)
    done = forget(settings_in(site.folder), at(24 * 25), APPROVAL)
    assert done.consignments == 2
    with reader_of(site.folder) as log:
        assert [each.redacted for each in log.read_events(kinds=("link",))] == [True, True, True, False]
    assert site.entries()
    with site.run_service() as client:
        assert list(client.service.active.state.links.houses) == [f"{NUMBER}/H2"]


def test_a_house_whose_content_was_removed_is_not_amended(site: World) -> None:
    keep = {"NPSRISK_LINK_DAYS": "366"}  # the removal is recorded now
    with site.run_service(**keep):
        site.post(write_house(at(0)), 1)
    forget_consignment(settings_in(site.folder), "16048103823/" + NAME, APPROVAL)
    with site.run_service(**keep):
        assert list_scores(site.post(write_master(at(0)), 2)) == []
    assert len([each for each in site.entries() if isinstance(each, ArrivalEvent)]) == 1
    assert site.entries("link")
