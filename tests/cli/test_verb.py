"""A verb is its function: each option comes from one parameter, with its name, type and default."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import click
import pytest
from click.testing import CliRunner, Result

from cli.options import NewPage, NewParts, NewTable
from cli.verb import argument, option, verb
from consignments.errors import BadInput


def run(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def test_each_parameter_is_an_option_of_its_name_type_and_default() -> None:
    given: list[Any] = []

    @verb
    def write_list(
        consignment_id: str = argument("ID"),
        further: tuple[Path, ...] = argument(required=False),
        max_rows: int = option("Most rows.", 2, type=click.IntRange(1, 5)),
        from_: datetime | None = option("First time."),
        role: Literal["one", "two"] = option("Role.", "one"),
        names: tuple[str, ...] = option("Names.", metavar="NAME"),
        force: bool = option("Do it."),
    ) -> None:
        """Write a list."""
        given.append((consignment_id, further, max_rows, from_, role, names, force))

    words = ["C1", "a", "--max-rows", "3", "--from", "1970-01-02", "--names", "x", "--names", "y", "--force"]
    assert run(write_list, *words).exit_code == 0
    assert given == [("C1", (Path("a"),), 3, datetime(1970, 1, 2, tzinfo=UTC), "one", ("x", "y"), True)]
    assert run(write_list, "C1").exit_code == 0
    assert given[1] == ("C1", (), 2, None, "one", (), False)
    text = run(write_list, "--help").output
    assert write_list.name == "write-list"
    assert "Write a list." in text
    words = ("default: 2; 1<=x<=5", "[one|two]", "--from TIME", "--json")
    assert [word for word in words if word not in text] == ["--json"]
    for words in (["C1", "--max-rows", "9"], ["C1", "--role", "three"], []):
        assert run(write_list, *words).exit_code == 2


def test_a_time_without_a_zone_is_utc_and_a_bad_one_is_refused_with_its_option() -> None:
    given: list[datetime | None] = []

    @verb
    def show(as_of: datetime | None = option("Time.")) -> None:
        given.append(as_of)

    for text in ("2024-03-04", "2024-03-04T09:00:00+09:00", "2024-03-04T00:00:00Z"):
        assert run(show, "--as-of", text).exit_code == 0
    assert given == [datetime(2024, 3, 4, tzinfo=UTC)] * 3
    with pytest.raises(BadInput, match=r"--as-of.*'soon'.*ISO 8601"):
        run(show, "--as-of", "soon")
    assert len(given) == 3, "the work did not begin"


def test_a_shell_completes_the_place_of_what_is_written() -> None:
    command = click.Context(click.Command("a"))
    for kind in (NewTable, NewParts, NewPage):
        (shown,) = get_args(kind)[1].shell_complete(command, click.Option(["-o"]), "r")
        assert (shown.type, shown.value) == ("file", "r")
