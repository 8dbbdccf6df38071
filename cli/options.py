"""The types of options, and the options that several verbs share, each defined once as the default of a parameter (`cli.verb`)."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import click

from cli.verb import option
from consignments.errors import BadInput

HARD_SETS = ("brazil", "canada", "emirates", "japan", "kazakhstan", "newzealand", "southafrica", "sweden")
PREVALENCES = ("realistic", "enriched", "operation", *(f"hard:{name}" for name in HARD_SETS))


def require_one(where: str, **given: Any) -> None:
    """Raise `BadInput` unless exactly one of some options of a verb has a value."""
    texts = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    found = [text for text, value in texts.items() if value is not None]
    if len(found) != 1:
        got, expected = (
            " and ".join(found) or f"neither {' nor '.join(texts)}",
            f"either {' or '.join(texts)}",
        )
        problem = "only one of these options may be given" if found else "one of these options is needed"
        raise BadInput(problem, where=where, got=got, expected=expected)


class NewPath(click.Path):
    """The place of a table, of parts (a name without a suffix) or of a page: checked before the work begins, and completed by a shell."""

    def __init__(self, what: Literal["table", "parts", "page"]) -> None:
        super().__init__(path_type=Path)
        self._what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert the text of a place; raise `FileFault` if nothing can be written there."""
        from consignments.files.table_writers import refuse_unwritable

        del param, ctx
        path = Path(value)
        if self._what == "page":
            refuse_unwritable(path, "page", (".html",))
        elif self._what == "table" or path.suffix:
            refuse_unwritable(path)
        return path


PATH = click.Path(path_type=Path)
Table = Annotated[Path, PATH, "T"]
NewTable = Annotated[Path, NewPath("table"), "T"]
NewParts = Annotated[Path, NewPath("parts"), "T|DIR"]
NewPage = Annotated[Path, NewPath("page"), "FILE.html"]
Folder = Annotated[Path, click.Path(file_okay=False, path_type=Path), "DIR"]
TomlFile = Annotated[Path, PATH, "FILE.toml"]
ModelUri = Annotated[str, click.STRING, "URI"]
Count = Annotated[int, click.IntRange(1)]
Share = Annotated[float, click.FloatRange(0, 1)]
Prevalence = Annotated[str, click.Choice(PREVALENCES), "PRESET"]


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


DAYS_TEXT = "Length of the simulated world in days."
PER_DAY_TEXT = "Mean number of consignments per day of the simulated world."
SETS_TEXT = f"Presets: realistic, enriched, operation, hard:SET. SET is one of {', '.join(HARD_SETS)}."
PREVALENCE = option(f"Frequency of NPS. {SETS_TEXT}", "enriched")
CONSIGNMENTS = option("Consignment table.", required=True)
HISTORY = option("Past consignments. They count as history and are not in the result.")
OUTCOMES = option("Outcome table: results of inspections.")
REQUIRED_OUTCOMES = option("Outcome table: results of inspections.", required=True)
ALERTS = option("Alert table: warnings of partners.")
REJECTS = option("Write invalid rows or messages to this file, each with its reason.")
STRICT = option("Fail if any row or message is invalid. Default: skip and count them.")
OUT = option("Table to write: .csv, .parquet or .jsonl.")
LARGE_OUT = option("Table to write: .csv, .parquet or .jsonl; without a suffix, a folder of Parquet parts.")
STATE = option("Start from the history that the last batch left in this folder, and leave the new one there.")
DASK = option("Compute on the workers of a Dask scheduler; local:N starts N of them here.", metavar="ADDRESS")
JOBS = option("Number of processes. Default: one per core. The result does not depend on it.", count_cores)
CONFIG = option("Training configuration: additional columns, history keys, split, model.")
MODEL_TEXT = "Model: models:/NAME/VERSION or models:/NAME@ALIAS. Default:"
MODEL = option(f"{MODEL_TEXT} NPSRISK_MODEL, else models:/nps-risk@champion.")
TARGET = option("Result that counts as positive.", "nps")
SEED = option("Seed of the random draws.", 0)
FROM = option("Compare only decisions made at or after this time.")
UNTIL = option("Compare only decisions made before this time.")
