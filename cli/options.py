"""The types of options, and the options that several verbs share, each defined once as the default of a parameter (`cli.verb`)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import click

from cli.verb import option
from consignments.errors import BadInput

HARD_SETS = ("brazil", "canada", "emirates", "japan", "kazakhstan", "newzealand", "southafrica", "sweden")
PREVALENCES = ("realistic", "enriched", "operation", *(f"hard:{name}" for name in HARD_SETS))


def check_table(text: str) -> Path:
    """Raise `BadInput` before the work begins if no table can be written there."""
    from consignments.files.table_writers import refuse_unwritable

    refuse_unwritable(Path(text))
    return Path(text)


def check_parts(text: str) -> Path:
    """Check the place of a table as `check_table` does; a name without a suffix is a folder of parts."""
    return check_table(text) if Path(text).suffix else Path(text)


def check_page(text: str) -> Path:
    """Raise `BadInput` before the work begins if no page can be written there."""
    path = Path(text)
    if path.suffix != ".html":
        got = repr(path.suffix)
        raise BadInput("unknown format of a page", where=text, got=got, expected="FILE.html")
    if path.is_dir() or not path.parent.is_dir():
        got = "a folder of this name" if path.is_dir() else "no such folder"
        todo = "name a file in a folder that exists"
        raise BadInput("cannot be written", where=text, got=got, todo=todo)
    return path


class NewPath(click.Path):
    """The place of what is written: it is checked, and a shell completes it."""

    def __init__(self, check: Callable[[str], Path]) -> None:
        super().__init__(path_type=Path)
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert the text of a place where something can be written."""
        del param, ctx
        return self._check(value)


PATH = click.Path(path_type=Path)
Table = Annotated[Path, PATH, "T"]
NewTable = Annotated[Path, NewPath(check_table), "T"]
NewParts = Annotated[Path, NewPath(check_parts), "T|DIR"]
NewPage = Annotated[Path, NewPath(check_page), "FILE.html"]
Folder = Annotated[Path, click.Path(file_okay=False, path_type=Path), "DIR"]
TomlFile = Annotated[Path, PATH, "FILE.toml"]
ModelUri = Annotated[str, click.STRING, "URI"]
Count = Annotated[int, click.IntRange(1)]
Share = Annotated[float, click.FloatRange(0, 1)]
Prevalence = Annotated[str, click.Choice(PREVALENCES), "PRESET"]


def days_option(default: int) -> Any:
    """Define the option for the length of a simulated world."""
    return option("Length of the simulated world in days.", default)


def per_day_option(default: int) -> Any:
    """Define the option for the size of a simulated world."""
    return option("Mean number of consignments per day of the simulated world.", default)


def prevalence_option(text: str) -> Any:
    """Define the option for the share of NPS in a simulated world."""
    sets = f"SET is one of {', '.join(HARD_SETS)}."
    return option(f"{text} Presets: realistic, enriched, operation, hard:SET. {sets}", "enriched")


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


CONSIGNMENTS = option("Consignment table.", required=True)
HISTORY = option("Past consignments. They count as history and are not in the result.")
OUTCOMES = option("Outcome table: results of inspections.")
REQUIRED_OUTCOMES = option("Outcome table: results of inspections.", required=True)
ALERTS = option("Alert table: warnings of partners.")
REJECTS = option("Write invalid rows or messages to this file, each with its reason.")
STRICT = option("Fail if any row or message is invalid. Default: skip and count them.")
OUT = option("Table to write: .csv, .parquet or .jsonl.")
LARGE_OUT = option(
    "Table to write: .csv, .parquet or .jsonl. A name without a suffix is a folder of Parquet parts."
)
STATE = option(
    "Start from the history that the last batch left in this folder, and leave the history after this batch."
)
DASK = option(
    "Compute on the workers of a Dask scheduler, or on N processes of this machine with local:N. The result does not depend on it.",
    metavar="ADDRESS",
)
JOBS = option("Number of processes. Default: one per core. The result does not depend on it.", count_cores)
CONFIG = option("Training configuration: additional columns, history keys, split, model.")
MODEL_TEXT = "Model: models:/NAME/VERSION or models:/NAME@ALIAS. Default:"
MODEL = option(f"{MODEL_TEXT} NPSRISK_MODEL, else models:/nps-risk@champion.")
TARGET = option("Result that counts as positive.", "nps")
SEED = option("Seed of the random draws.", 0)
FROM = option("Compare only decisions made at or after this time.")
UNTIL = option("Compare only decisions made before this time.")
