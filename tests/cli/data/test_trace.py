"""The verb trace: on tables, in words and as a graph, and refusals that say what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.examples import day, make_outcome
from support.link_examples import make_anonymous
from support.pages import FENCE, REPOSITORY, commands, verbs

from consignments.files.table_writers import write_table
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame
from npsrisk import main

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


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Options that name the tables of the world above."""
    paths = {}
    for name, rows, record in (
        ("consignments", GIVEN, Consignment),
        ("history", PAST, Consignment),
        ("outcomes", FOUND, Outcome),
    ):
        paths[f"--{name}"] = tmp_path / f"{name}.{request.param}"
        write_table(build_frame(rows, record), paths[f"--{name}"])
    return [word for name, path in paths.items() for word in (name, str(path))]


def test_the_example_of_the_page_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (REPOSITORY / "docs" / "trace.md").read_text()
    shown = [text for language, text in FENCE.findall(page) if language in ("csv", "text")]
    for name, text in zip(("consignments", "outcomes"), shown, strict=False):
        (tmp_path / f"{name}.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    command = next(verbs(next(commands(page))))
    assert run(*command[1:]) == (0, shown[-1])


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["trace", *words, "--jobs", "1"], catch_exceptions=False)
    return done.exit_code, done.stdout if done.exit_code == 0 else done.output


def graph(*words: str) -> dict[str, Any]:
    code, output = run(*words, "--json")
    assert code == 0, output
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told


def test_a_trace_in_words(tables: list[str]) -> None:
    code, output = run("RB4", "--as-of", "2024-03-20", *tables)
    assert code == 0
    assert output.splitlines() == [
        "RB4, received 2024-03-16 09:00:00 UTC, as of 2024-03-20 00:00:00 UTC: "
        "3 linked consignments, 1 of them with a detection.",
        "RB3 shares its consignee's phone (there the sender's phone) with RB1, received 2024-03-04, "
        "12 days earlier: NPS found, known since 2024-03-13.",
        "RB4 shares its shipper's account with RB3, received 2024-03-08, 8 days earlier: no inspection known.",
        "RB4 shares its shipper's account with RB2, received 2024-03-05, 11 days earlier: no inspection known.",
    ]


def test_the_graph_counts_a_past_consignment_that_is_given_as_given(tables: list[str]) -> None:
    told = graph("RB4", *tables)
    assert [(node["consignment_id"], node["distance"], node["result"]) for node in told["nodes"]] == [
        ("RB4", 0, None), ("RB3", 1, None), ("RB2", 1, None), ("RB1", 2, "nps")
    ]  # fmt: skip
    assert graph("RB4", "--depth", "1", *tables)["nodes"] == told["nodes"][:3]
    assert graph("RB3", *tables)["nodes"][1]["result"] is None, "not known at the moment of RB3"


def test_values_are_shown_on_request_only(tables: list[str]) -> None:
    for words in (["RB4"], ["RB4", "--json"]):
        code, hidden = run(*words, *tables)
        assert code == 0
        assert not any(value in hidden for value in (PHONE, ACCOUNT, "Lee"))
        assert ACCOUNT in run(*words, "--personal", *tables)[1]
        assert PHONE in run(*words, "--personal", *tables)[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rb-4"], "did you mean 'RB4'"),
        (["RB4", "--as-of", "soon"], "bad time"),
        (["RB4", "--as-of", "2024-03-10"], "RB4 arrived later than this time"),
    ],
)
def test_what_cannot_be_traced_is_refused(tables: list[str], words: list[str], told: str) -> None:
    code, output = run(*words, *tables)
    assert code == 2
    assert told in output


def test_outcomes_without_consignments_are_refused(tmp_path: Path) -> None:
    code, output = run("RB4", "--outcomes", str(tmp_path / "o.csv"))
    assert (code, "the consignment table is missing" in output) == (2, True)
