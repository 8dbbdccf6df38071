"""A list of several pages: pages, ranks, filters, and the line of the capacity."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.examples import make_consignment, make_outcome
from support.officer import Officer, enter, read_text, serving_desk
from support.serving_examples import Client, settings_in
from support.site import Site

ROWS = 300
LIST = "/?day=2024-03-04&office=Incheon"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Path, pages_here: None) -> Iterator[Client]:
    site = Site(tmp_path_factory.mktemp("long"), bundle)
    nobody = {f"sender_{part}": None for part in ("name", "address", "phone")}
    channels = ("air_cargo", *["postal"] * 9)
    own = ({"gross_weight_kg": number / 60, "channel": channels[number % 10]} for number in range(ROWS))
    records = [make_consignment(f"RB{number:05}", **each, **nobody) for number, each in enumerate(own)]
    with serving_desk(settings_in(site.folder)) as opened:
        assert opened.send("/v1/scores", {"consignments": records})["errors"] == []
        yield opened


@pytest.fixture
def officer(client: Client) -> Officer:
    return enter(client, person="K. Lee")


def read_ranks(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'class="number" data-label="Rank">(\d+)<', page)]


def test_the_pages_hold_every_row_once_in_the_order_of_the_ranks(officer: Officer) -> None:
    path, ranks, names = LIST, list[int](), set[str]()
    for _ in range(ROWS // 100):
        page = officer.get(path)
        assert page.status_code == 200
        ranks += read_ranks(page.text)
        names |= set(re.findall(r">(RB\d{5})</a>", page.text))
        following = re.search(r'<a href="([^"]+)" rel="next">', page.text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert path == ""
    assert ranks == list(range(1, ROWS + 1))
    assert len(names) == ROWS
    assert "Rows 201 to 300 of 300, page 3 of 3" in read_text(officer.page)
    assert read_ranks(officer.get(f"{LIST}&page=9999").text)[-1] == ROWS


def test_the_line_of_the_capacity_is_drawn_once_after_the_last_row_within_it(officer: Officer) -> None:
    cases = ((20, 1, [20, 80]), (100, 1, [100, 0]), (100, 2, [100]), (250, 3, [50, 50]), (300, 3, [100, 0]))
    for capacity, page, parts in cases:
        text = officer.get(f"{LIST}&capacity={capacity}&page={page}").text
        assert [len(read_ranks(part)) for part in text.split('<tr class="line"')] == parts, (capacity, page)


def test_a_filter_keeps_the_ranks_and_the_line(officer: Officer) -> None:
    page = officer.get(f"{LIST}&channel=air_cargo&capacity=150").text
    assert "Consignments: 300 scored, 30 shown" in read_text(officer.page)
    ranks = read_ranks(page)
    assert ranks == sorted(ranks)
    above, below = page.split('<tr class="line"')
    assert all(rank <= 150 for rank in read_ranks(above))
    assert all(rank > 150 for rank in read_ranks(below))


def test_what_comes_in_later_is_in_the_list_and_its_filters(client: Client, officer: Officer) -> None:
    assert '<option value="nps"' not in officer.get(LIST).text
    name, other, found = re.findall(r">(RB\d{5})</a>", officer.page.text)[:3]
    client.send("/v1/cancellations", {"consignment_id": name})
    client.score("NEW1")
    client.score(other, office="Busan")
    page = officer.get(f"{LIST}&state=cancelled")
    assert re.findall(r">(RB\d{5})</a>", page.text) == [name]
    assert "Consignments: 300 scored" in read_text(page)
    assert other in officer.get("/?day=2024-03-04&office=Busan").text
    outcome = make_outcome(found, result="nps", substance="metonitazene", substance_family="nitazene")
    client.send("/v1/outcomes", outcome)
    for choice in ("nps", "nitazene"):
        assert f'<option value="{choice}"' in officer.get(LIST).text
    assert re.findall(r">(RB\d{5})</a>", officer.get(f"{LIST}&family=nitazene").text) == [found]
