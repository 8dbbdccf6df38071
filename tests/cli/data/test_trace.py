"""The verb trace: on tables, in words and as a graph, and refusals that say what to do."""

from pathlib import Path

import pytest
from support.examples import day, make_outcome
from support.link_examples import make_anonymous
from support.pages import FENCE, REPOSITORY, commands, verbs
from support.table_examples import write_records
from support.verbs import read_json, succeed

PHONE, ACCOUNT = "+82 10 5550 1234", "ACC-1"
PAST = [
    make_anonymous("RB1", received_at=day(0), sender_phone=PHONE),
    make_anonymous("RB2", received_at=day(1), account_id=ACCOUNT, sender_name="Lee"),
    make_anonymous("RB3", received_at=day(3), account_id="OTHER"),
]
GIVEN = [
    make_anonymous("RB3", received_at=day(4), consignee_phone=PHONE, account_id=ACCOUNT),
    make_anonymous("RB4", received_at=day(12), account_id=ACCOUNT),
]
FOUND = [make_outcome("RB1", result="nps", inspected_at=day(2), known_at=day(9))]


@pytest.fixture
def tables(tmp_path: Path) -> str:
    """Options that name the tables of the world above, each of another format."""
    write_records(tmp_path / "given.csv", GIVEN)
    write_records(tmp_path / "past.parquet", PAST)
    write_records(tmp_path / "found.jsonl", FOUND)
    files = {"consignments": "given.csv", "history": "past.parquet", "outcomes": "found.jsonl"}
    return " ".join(f"--{name} {tmp_path / file}" for name, file in files.items())


def trace(words: str) -> str:
    return succeed(f"trace {words} --jobs 1").stdout


def test_the_example_of_the_page_prints_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "trace.md").read_text()
    shown = [text for language, text in FENCE.findall(page) if language in ("csv", "text")]
    for name, text in zip(("consignments", "outcomes"), shown, strict=False):
        (tmp_path / f"{name}.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    command = next(verbs(next(commands(page))))
    assert succeed(*command).stdout == shown[-1]


def test_a_trace_in_words(tables: str) -> None:
    assert trace(f"RB4 --as-of 2024-03-20 {tables}").splitlines() == [
        "RB4, received 2024-03-16 09:00:00 UTC, as of 2024-03-20 00:00:00 UTC: "
        "3 linked consignments, 1 of them with a detection.",
        "RB3 shares its consignee's phone (there the sender's phone) with RB1, received 2024-03-04, "
        "12 days earlier: NPS found, known since 2024-03-13.",
        "RB4 shares its shipper's account with RB3, received 2024-03-08, 8 days earlier: no inspection known.",
        "RB4 shares its shipper's account with RB2, received 2024-03-05, 11 days earlier: no inspection known.",
    ]


def test_the_graph_counts_a_past_consignment_that_is_given_as_given(tables: str) -> None:
    asked = ("RB4", "RB4 --depth 1", "RB3")
    graph, *others = (read_json(succeed(f"trace {words} {tables} --json")) for words in asked)
    nodes, nearest, earlier = (each["nodes"] for each in (graph, *others))
    found = [(node["consignment_id"], node["distance"], node["result"]) for node in nodes]
    assert found == [("RB4", 0, None), ("RB3", 1, None), ("RB2", 1, None), ("RB1", 2, "nps")]
    assert nearest == nodes[:3]
    assert earlier[1]["result"] is None, "not known at the moment of RB3"
    shared = [{"identifier": 0, "from": "shipper's account", "to": "shipper's account"}]
    assert graph["edges"][0] == {"from": "RB4", "to": "RB3", "shared": shared}
    assert graph["identifiers"][0].get("value") is None


def test_values_are_shown_on_request_only(tables: str) -> None:
    for words in ("RB4", "RB4 --json"):
        hidden, shown = trace(f"{words} {tables}"), trace(f"{words} --personal {tables}")
        assert not any(value in hidden for value in (PHONE, ACCOUNT, "Lee"))
        assert (ACCOUNT in shown, PHONE in shown) == (True, True)
    assert read_json(succeed(f"trace RB4 --json --personal {tables}"))["identifiers"][0]["value"] == ACCOUNT
