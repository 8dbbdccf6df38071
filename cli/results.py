"""The result table of a verb: one file, or a folder of parts that an interrupted run continues."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consignments.errors import FileFault

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from cli.options import TableOptions

    Frames = Iterable["pd.DataFrame | pa.Table"]


def is_part_folder(out: Path) -> bool:
    """Check whether a result is written in parts: its name has no suffix."""
    return out.suffix == ""


def write_result(
    out: Path, tables: "TableOptions", run: Mapping[str, str], compute: Callable[[int], "Frames"]
) -> int:
    """Write a result table and return its number of rows.

    Parameters
    ----------
    out : Path
        A file (.csv, .parquet, .jsonl), or a folder without a suffix, which is written in parts.
    tables : TableOptions
        The tables that the result is computed from.
    run : mapping
        What else the result depends on: the verb, its options and the model. Only the same run continues an interrupted one.
    compute : callable
        Function that returns the rows of the table from a row on.

    Raises
    ------
    BadInput
        The folder holds another result.
    FileFault
        The result cannot be written.
    """
    from consignments.files.table_writers import write_chunks

    if not is_part_folder(out):
        return write_chunks(compute(0), out)
    from importlib.metadata import version

    from consignments.files.part_folder import PartFolder
    from consignments.files.part_manifest import identify_tables

    given = {
        "consignments": tables.consignments,
        "history": tables.history,
        "outcomes": tables.outcomes,
        "alerts": tables.alerts,
    }
    inputs = {**run, "npsrisk": version("npsrisk"), **identify_tables(given)}
    with PartFolder.open(out, inputs) as folder:
        return folder.write(compute)


def count_values(folder: Path, column: str) -> dict[Any, int]:
    """Count the values of a column of a table in parts, one part at a time."""
    from collections import Counter

    import pyarrow.parquet as parquet

    counts: Counter[Any] = Counter()
    for path in sorted(folder.glob("*.parquet")):
        try:
            found = parquet.read_table(path, columns=[column]).column(column).value_counts()
        except OSError as error:
            raise FileFault("cannot be read", where=str(path), got=str(error).splitlines()[0]) from error
        counts.update({each["values"].as_py(): each["counts"].as_py() for each in found})
    return dict(counts)
