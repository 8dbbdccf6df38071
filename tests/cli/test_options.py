"""Options reach a verb as values: each field from its option, in the order in which the help shows them."""

from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.options import (
    ApprovalOptions,
    PeriodOptions,
    TableOptions,
    VerbDecorator,
    approval_options,
    batch_table_options,
    collect_options,
    out_option,
    period_options,
    reject_options,
)
from consignments.errors import BadInput
from consignments.timestamps import US_PER_DAY


def test_options_that_stand_apart_are_collected_in_one_value() -> None:
    given: list[TableOptions] = []

    @click.command()
    @batch_table_options
    @click.option("--between")
    @reject_options
    def verb(tables: TableOptions, between: str) -> None:
        given.append(tables)
        assert between == "b"

    words = ["--consignments", "c.csv", "--alerts", "a.csv", "--between", "b", "--strict"]
    done = CliRunner().invoke(verb, words)
    assert done.exit_code == 0, done.output
    assert given == [TableOptions(consignments=Path("c.csv"), alerts=Path("a.csv"), strict=True)]
    named = [each.opts[0] for each in verb.params]
    assert named == [
        "--consignments",
        "--history",
        "--outcomes",
        "--alerts",
        "--between",
        "--rejects",
        "--strict",
    ]


def test_a_value_takes_only_its_own_fields() -> None:
    given: list[tuple[ApprovalOptions, bool]] = []

    @click.command()
    @approval_options
    @click.option("--force", is_flag=True)
    def verb(approval: ApprovalOptions, force: bool) -> None:
        given.append((approval, force))

    CliRunner().invoke(verb, ["--why", "y", "--force", "--approved-by", "a"])
    assert given == [(ApprovalOptions("a", "y"), True)]


def test_the_context_still_reaches_a_verb_that_asks_for_it() -> None:
    @click.command()
    @period_options("First.", "End.")
    @click.pass_context
    def verb(context: click.Context, period: PeriodOptions) -> None:
        context.exit(3 if period == ("2024-01-01", None) else 4)

    assert CliRunner().invoke(verb, ["--from", "2024-01-01"]).exit_code == 3


def test_a_collected_verb_keeps_its_name_and_help() -> None:
    @collect_options(ApprovalOptions, "approval")
    def decide(approval: ApprovalOptions) -> None:
        """Decide."""

    assert (decide.__name__, decide.__doc__) == ("decide", "Decide.")


def test_a_bound_of_a_period_without_a_zone_is_utc() -> None:
    period = PeriodOptions("1970-01-02", None)
    assert period.parse_begin() == datetime(1970, 1, 2, tzinfo=UTC)
    assert period.parse_end() is None
    assert period.to_us() == (US_PER_DAY, None)


@pytest.mark.parametrize(
    ("period", "option"),
    [(PeriodOptions("soon", None), "--from"), (PeriodOptions(None, "late"), "--until")],
    ids=["begin", "end"],
)
def test_a_bad_bound_of_a_period_is_refused_with_its_option(period: PeriodOptions, option: str) -> None:
    with pytest.raises(BadInput, match=option):
        period.to_us()


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        (out_option(""), "out.xlsx", "unknown table format"),
        (out_option(""), "out", "unknown table format"),
        (out_option("", metavar="T|DIR"), "missing/out.csv", "no such folder"),
        (out_option("", metavar="FILE.html"), "out.pdf", "unknown format of a page"),
        (out_option("", metavar="FILE.html"), "missing/out.html", "no such folder"),
    ],
)
def test_a_result_that_cannot_be_written_is_refused_before_the_work_begins(
    option: VerbDecorator, name: str, message: str, tmp_path: Path
) -> None:
    @click.command()
    @option
    def verb(out: Path) -> None:
        pytest.fail(f"the work began for {out}")

    with pytest.raises(BadInput, match=message):
        CliRunner().invoke(verb, ["--out", str(tmp_path / name)], catch_exceptions=False)


@pytest.mark.parametrize(("metavar", "name"), [("T", "a.csv"), ("T|DIR", "a"), ("FILE.html", "a.html")])
def test_a_result_that_can_be_written_reaches_the_verb(metavar: str, name: str, tmp_path: Path) -> None:
    @click.command()
    @out_option("", metavar=metavar)
    def verb(out: Path) -> None:
        click.echo(out.name)

    assert CliRunner().invoke(verb, ["--out", str(tmp_path / name)]).output == f"{name}\n"
