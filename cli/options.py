"""The options that several verbs share, each defined once as the default of a parameter (`cli.verb`)."""

import os
from pathlib import Path
from typing import Any

import click

from cli.verb import option
from consignments.errors import BadInput

HARD_SETS = ("brazil", "canada", "emirates", "japan", "kazakhstan", "newzealand", "southafrica", "sweden")
PREVALENCES = ("realistic", "enriched", "operation", *(f"hard:{name}" for name in HARD_SETS))


FOLDER = click.Path(file_okay=False, path_type=Path)


def check_out(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Raise `BadInput` before the work begins if no table or page can be written there."""
    del context
    if path is None:
        return None
    if parameter.metavar != "FILE.html":
        from consignments.files.table_writers import refuse_unwritable

        if path.suffix or parameter.metavar == "T":  # a name without a suffix is a folder of parts
            refuse_unwritable(path)
    elif path.suffix != ".html":
        got = repr(path.suffix)
        raise BadInput("unknown format of a page", where=str(path), got=got, expected="FILE.html")
    elif path.is_dir() or not path.parent.is_dir():
        got, todo = "no such folder", "name a file in a folder that exists"
        if path.is_dir():
            got = "a folder of this name"
        raise BadInput("cannot be written", where=str(path), got=got, todo=todo)
    return path


def out_option(text: str, *, metavar: str = "T", required: bool = True) -> Any:
    """Define the option that names what is written: `T` a table, `T|DIR` also a folder of its parts, `FILE.html` a page, or `DIR`."""
    given = {"type": FOLDER} if metavar == "DIR" else {"callback": check_out}
    return option(text, metavar=metavar, required=required, **given)


def table_option(text: str, *, required: bool = False) -> Any:
    """Define an option that names a table to read."""
    return option(text, metavar="T", required=required)


def model_option(default: str) -> Any:
    """Define the option that names a model, with the text of its default."""
    text = f"Model: models:/NAME/VERSION or models:/NAME@ALIAS. Default: {default}."
    return option(text, metavar="URI")


def key_option(text: str) -> Any:
    """Define the option that names the file of a private key, with its owner and its default."""
    return option(f"File of {text}.", name="--key")


def as_of_option(text: str) -> Any:
    """Define the option that names the time as of which data are known, with what it ignores and its default."""
    return option(f"Time in ISO 8601. {text}")


def days_option(default: int) -> Any:
    """Define the option for the length of a simulated world."""
    return option("Length of the simulated world in days.", default, click.IntRange(1))


def per_day_option(default: int) -> Any:
    """Define the option for the size of a simulated world."""
    return option("Mean number of consignments per day of the simulated world.", default, click.IntRange(1))


def prevalence_option(text: str) -> Any:
    """Define the option for the share of NPS in a simulated world."""
    sets = ", ".join(HARD_SETS)
    presets = f"Presets: realistic, enriched, operation, hard:SET. SET is one of {sets}."
    return option(f"{text} {presets}", "enriched", click.Choice(PREVALENCES), metavar="PRESET")


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


CONSIGNMENTS = table_option("Consignment table.", required=True)
HISTORY = table_option("Past consignments. They count as history and are not in the result.")
OUTCOMES = table_option("Outcome table: results of inspections.")
REQUIRED_OUTCOMES = table_option("Outcome table: results of inspections.", required=True)
ALERTS = table_option("Alert table: warnings of partners.")
REJECTS = option("Write invalid rows or messages to this file, each with its reason.")
STRICT = option("Fail if any row or message is invalid. Default: skip and count them.")
OUT = out_option("Table to write: .csv, .parquet or .jsonl.")
LARGE_OUT = out_option(
    "Table to write: .csv, .parquet or .jsonl. A name without a suffix is a folder of Parquet parts.",
    metavar="T|DIR",
)
STATE = option(
    "Start from the history that the last batch left in this folder, and leave the history after this batch.",
    type=FOLDER,
    metavar="DIR",
)
DASK = option(
    "Compute on the workers of a Dask scheduler, or on N processes of this machine with local:N. The result does not depend on it.",
    metavar="ADDRESS",
)
JOBS = option(
    "Number of processes. Default: one per core. The result does not depend on it.",
    count_cores,
    click.IntRange(1),
)
CONFIG = option(
    "Training configuration: additional columns, history keys, split, model.", metavar="FILE.toml"
)
MODEL = model_option("NPSRISK_MODEL, else models:/nps-risk@champion")
TARGET = option("Result that counts as positive.", "nps")
SEED = option("Seed of the random draws.", 0)


def build_exclusion(got: str, expected: str = "one of them", *, todo: str = "") -> BadInput:
    """Build the error for options that exclude each other."""
    return BadInput(
        "these options exclude each other", where="options", got=got, expected=expected, todo=todo
    )
