"""Options that several verbs share, each defined once, and the values in which a verb receives them.

An option is a decorator of click. The help shows options in the order of their decorators. Place `collect_options` above the options
that it collects: it gathers the options that are fields of a named tuple, and passes the tuple to the verb.
"""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, cast

import click

from cli.times import parse_time
from consignments.errors import BadInput
from consignments.records import TARGETS

Verb = Callable[..., None]
VerbDecorator = Callable[[Verb], Verb]

HARD_SETS = ("brazil", "canada", "emirates", "japan", "kazakhstan", "newzealand", "southafrica", "sweden")
PREVALENCES = ("realistic", "enriched", "operation", *(f"hard:{name}" for name in HARD_SETS))


class TableOptions(NamedTuple):
    """The paths of the tables that a verb reads, and the handling of invalid rows.

    Attributes
    ----------
    consignments, history, outcomes, alerts, truth : Path or None
        None for a table that is not given.
    rejects : Path or None
        File for the invalid rows.
    strict : bool
        True if any invalid row is a failure.
    """

    consignments: Path | None = None
    history: Path | None = None
    outcomes: Path | None = None
    alerts: Path | None = None
    truth: Path | None = None
    rejects: Path | None = None
    strict: bool = False

    def list_sources(self) -> dict[str, str]:
        """List the given tables with their absolute paths."""
        names = ("consignments", "history", "outcomes", "alerts", "truth")
        return {name: str(path.absolute()) for name in names if (path := getattr(self, name)) is not None}


class PeriodOptions(NamedTuple):
    """A period of time as entered on the command line.

    Attributes
    ----------
    begins, ends : str or None
        ISO 8601; the end is not included.
    """

    begins: str | None
    ends: str | None

    def parse_begin(self) -> datetime | None:
        """Parse the begin of the period; None if it is not given."""
        return parse_time(self.begins, "--from")

    def parse_end(self) -> datetime | None:
        """Parse the end of the period; None if it is not given."""
        return parse_time(self.ends, "--until")

    def to_us(self) -> tuple[int | None, int | None]:
        """Convert both bounds to microseconds since 1970 (UTC)."""
        from consignments.timestamps import to_us

        bounds = (self.parse_begin(), self.parse_end())
        first, end = (None if bound is None else to_us(bound) for bound in bounds)
        return first, end


class ApprovalOptions(NamedTuple):
    """The person who approves a recorded decision, and the reason."""

    approved_by: str
    why: str


def build_exclusion(got: str, expected: str = "one of them", *, todo: str = "") -> BadInput:
    """Build the error for options that exclude each other."""
    return BadInput(
        "these options exclude each other", where="options", got=got, expected=expected, todo=todo
    )


def collect_options(kind: type[Any], name: str) -> VerbDecorator:
    """Collect the options that are fields of a named tuple, and pass the tuple to the verb.

    Parameters
    ----------
    kind : type
        The named tuple; fields for which the verb has no option keep their default.
    name : str
        Parameter of the verb that receives the value.

    Examples
    --------
    >>> @collect_options(ApprovalOptions, "approval")
    ... def forget(before, approval):
    ...     print(before, approval.why)
    >>> forget(before="2022-01-01", approved_by="data protection", why="three years have passed")
    2022-01-01 three years have passed
    """

    def decorate(verb: Verb) -> Verb:
        @wraps(verb)
        def call(*arguments: Any, **options: Any) -> None:
            fields = {field: options.pop(field) for field in kind._fields if field in options}
            verb(*arguments, **{name: kind(**fields)}, **options)

        return call

    return decorate


def chain_decorators(*decorators: VerbDecorator) -> VerbDecorator:
    """Combine decorators into one; the first is applied last, as the topmost of a stack of decorators."""

    def decorate(verb: Verb) -> Verb:
        for decorator in reversed(decorators):
            verb = decorator(verb)
        return verb

    return decorate


def table_option(name: str, text: str, *, required: bool = False) -> VerbDecorator:
    """Define an option that names a table to read."""
    return click.option(name, type=click.Path(path_type=Path), metavar="T", required=required, help=text)


def model_uri_option(default: str) -> VerbDecorator:
    """Define the option that names a model, with the text of its default."""
    return click.option(
        "--model",
        default=None,
        metavar="URI",
        help=f"Model: models:/NAME/VERSION or models:/NAME@ALIAS. Default: {default}.",
    )


def build_as_of_option(text: str) -> VerbDecorator:
    """Define the option that names the time as of which data are known, with what it ignores and its default."""
    return click.option("--as-of", type=str, default=None, metavar="TIME", help=f"Time in ISO 8601. {text}")


class TablePath(click.Path):
    """The file of a table to write. A name that no table can have is refused before the work begins.

    Parameters
    ----------
    in_parts : bool
        A name without a suffix is a folder of parts.
    """

    def __init__(self, *, in_parts: bool = False) -> None:
        super().__init__(path_type=Path)
        self.in_parts = in_parts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert and check the path; raise `FileFault` if no table can be written there."""
        from consignments.files.table_writers import refuse_unwritable

        table = cast("Path", super().convert(value, param, ctx))
        if table.suffix or not self.in_parts:
            refuse_unwritable(table)
        return table


class PagePath(click.Path):
    """The file of a page to write. A name that no page can have is refused before the work begins."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert and check the path; raise `BadInput` if no page can be written there."""
        page = cast("Path", super().convert(value, param, ctx))
        if page.suffix != ".html":
            raise BadInput(
                "unknown format of a page", where=str(page), got=repr(page.suffix), expected="FILE.html"
            )
        if page.is_dir() or not page.parent.is_dir():
            got = "a folder of this name" if page.is_dir() else "no such folder"
            raise BadInput(
                "cannot be written", where=str(page), got=got, todo="name a file in a folder that exists"
            )
        return page


OUT_TYPES: Mapping[str, click.Path] = {
    "T": TablePath(),
    "T|DIR": TablePath(in_parts=True),
    "FILE.html": PagePath(),
    "DIR": click.Path(file_okay=False, path_type=Path),
}
"""What a verb can write, by its metavar in the help."""


def out_option(text: str, *, metavar: str = "T", required: bool = True) -> VerbDecorator:
    """Define the option that names the file or folder to write; the metavar is a key of `OUT_TYPES`."""
    return click.option("--out", type=OUT_TYPES[metavar], required=required, metavar=metavar, help=text)


def build_key_option(text: str) -> VerbDecorator:
    """Define the option that names the file of a private key, with its owner and its default."""
    return click.option(
        "--key", "key_file", type=click.Path(path_type=Path), default=None, metavar="FILE",
        help=f"File of {text}.",
    )  # fmt: skip


consignments_option = table_option("--consignments", "Consignment table.", required=True)
history_option = table_option(
    "--history", "Past consignments. They count as history and are not in the result."
)
outcomes_option = table_option("--outcomes", "Outcome table: results of inspections.")
outcomes_required_option = table_option("--outcomes", "Outcome table: results of inspections.", required=True)
alerts_option = table_option("--alerts", "Alert table: warnings of partners.")
collect_tables = collect_options(TableOptions, "tables")
result_option = out_option("Table to write: .csv, .parquet or .jsonl.")
large_result_option = out_option(
    "Table to write: .csv, .parquet or .jsonl. A name without a suffix is a folder of Parquet parts.",
    metavar="T|DIR",
)
dask_option = click.option(
    "--dask",
    metavar="ADDRESS",
    help="Compute on the workers of a Dask scheduler, or on N processes of this machine with local:N. The result does not depend on it.",
)
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Start from the history that the last batch left in this folder, and leave the history after this batch.",
)
reject_options = chain_decorators(
    click.option(
        "--rejects",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write invalid rows or messages to this file, each with its reason.",
    ),
    click.option(
        "--strict", is_flag=True, help="Fail if any row or message is invalid. Default: skip and count them."
    ),
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as one JSON object on the last line of standard output.",
)


def _count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=_count_cores,
    metavar="N",
    help="Number of processes. Default: one per core. The result does not depend on it.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Training configuration: additional columns, history keys, split, model.",
)
model_option = model_uri_option("NPSRISK_MODEL, else models:/nps-risk@champion")
target_option = click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="nps",
    show_default=True,
    help="Result that counts as positive.",
)

capacity_option = click.option(
    "--capacity",
    type=click.IntRange(1),
    metavar="N",
    required=True,
    help="Number of inspections per office and UTC day.",
)
approval_options = chain_decorators(
    collect_options(ApprovalOptions, "approval"),
    click.option("--approved-by", required=True, metavar="WHO", help="Person who approves; recorded."),
    click.option("--why", required=True, metavar="TEXT", help="Reason for the decision; recorded."),
)
batch_table_options = chain_decorators(
    collect_tables, consignments_option, history_option, outcomes_option, alerts_option
)
"""The table options of a verb that computes features."""


def period_options(begins: str, ends: str) -> VerbDecorator:
    """Define --from and --until with their help texts. The verb receives `period`, a `PeriodOptions`."""
    return chain_decorators(
        collect_options(PeriodOptions, "period"),
        click.option("--from", "begins", default=None, metavar="TIME", help=begins),
        click.option("--until", "ends", default=None, metavar="TIME", help=ends),
    )


def world_size_options(days: int, per_day: int, *, per_day_text: str, prevalence_text: str) -> VerbDecorator:
    """Define the options for the size of a simulated world, with their defaults and help texts."""
    return chain_decorators(
        click.option(
            "--days",
            type=click.IntRange(1),
            metavar="N",
            default=days,
            show_default=True,
            help="Length of the simulated world in days.",
        ),
        click.option(
            "--per-day",
            type=click.IntRange(1),
            metavar="N",
            default=per_day,
            show_default=True,
            help=per_day_text,
        ),
        click.option(
            "--prevalence",
            type=click.Choice(PREVALENCES),
            metavar="PRESET",
            default="enriched",
            show_default=True,
            help=f"{prevalence_text} Presets: realistic, enriched, operation, hard:SET. SET is one of {', '.join(HARD_SETS)}.",
        ),
    )
