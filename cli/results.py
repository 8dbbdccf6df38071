"""The result table of a verb: one file, or a folder of parts that an interrupted run continues; and the kept state of history."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cli.options import build_exclusion
from consignments.errors import BadInput, FileFault

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from cli.options import TableOptions
    from features.config import FeatureConfig
    from features.history.kept_state import StateRun
    from features.history.pseudonyms import Pseudonyms
    from features.history.state_files import StateDraft

    Frames = Iterable["pd.DataFrame | pa.Table"]
    Compute = Callable[[int, "StateRun | None"], "Frames"]


class StateTarget(NamedTuple):
    """The kept state that a batch continues.

    Attributes
    ----------
    folder : Path
    config : FeatureConfig
        Its history keys must be those of the state.
    pseudonyms : Pseudonyms
        Those of the data key.
    """

    folder: Path
    config: "FeatureConfig"
    pseudonyms: "Pseudonyms"


class WrittenResult(NamedTuple):
    """A written table: its number of rows, and whether the batch continued a kept state."""

    rows: int
    continued: bool


def is_part_folder(out: Path) -> bool:
    """Check whether a result is written in parts: its name has no suffix."""
    return out.suffix == ""


def write_result(
    out: Path,
    tables: "TableOptions",
    run: Mapping[str, str],
    compute: "Compute",
    state: StateTarget | None = None,
) -> WrittenResult:
    """Write a result table, and then the state after it.

    Parameters
    ----------
    out : Path
        A file (.csv, .parquet, .jsonl), or a folder without a suffix, which is written in parts.
    tables : TableOptions
        The tables that the result is computed from.
    run : mapping
        What else the result depends on: the verb, its options and the model. Only the same run continues an interrupted one.
    compute : callable
        Function that returns the rows of the table from a row on, given the run from the kept state, if there is one.
    state : StateTarget, optional

    Raises
    ------
    BadInput
        The folder holds another result, or the batch cannot continue the state.
    FileFault
        The result or the state cannot be written.
    """
    if state is None:
        inputs = _identify_inputs(tables, run) if is_part_folder(out) else {}
        return WrittenResult(_write_table(out, inputs, lambda first_row: compute(first_row, None)), False)
    with _begin_state(state, _identify_inputs(tables, run)) as (draft, state_run):
        begun: list[int] = []

        def compute_once(first_row: int) -> "Frames":
            begun.append(first_row)
            return compute(first_row, state_run)

        rows = _write_table(out, draft.inputs, compute_once)
        if not draft.done:
            if not begun:  # the run was interrupted between the result and the state
                for _ in compute(rows, state_run):
                    pass
            draft.commit(state_run.state)
        return WrittenResult(rows, draft.before is not None)


@contextmanager
def _begin_state(target: StateTarget, inputs: dict[str, str]) -> "Iterator[tuple[StateDraft, StateRun]]":
    from features.history.kept_state import StateRun
    from features.history.keys import list_key_kinds
    from features.history.state_files import StateFolder

    with StateFolder(target.folder).begin(inputs) as draft:
        before = None if draft.before is None else draft.before.state
        kinds = list_key_kinds(target.config)
        yield draft, StateRun(before, kinds, target.pseudonyms, draft)


def check_state_options(state: Path | None, as_of: str | None) -> None:
    """Raise `BadInput` if --state and --as-of are both given: what is hidden now would be missing in the next batch."""
    if state is not None and as_of is not None:
        raise build_exclusion("--state and --as-of")


def check_continued(state_run: "StateRun | None", history: Path | None) -> bool:
    """Check whether a batch continues earlier ones; raise `BadInput` if it then has a history table too."""
    continued = state_run is not None and state_run.before is not None
    if continued and history is not None:
        raise BadInput(
            "the state has the history already",
            where="options",
            got="--history, and --state with a state in it",
            expected="--history only for the first batch",
        )
    return continued


def _identify_inputs(tables: "TableOptions", run: Mapping[str, str]) -> dict[str, str]:
    """Describe all that a result depends on."""
    from importlib.metadata import version

    from consignments.files.part_manifest import identify_tables

    given = {
        "consignments": tables.consignments,
        "history": tables.history,
        "outcomes": tables.outcomes,
        "alerts": tables.alerts,
    }
    return {**run, "npsrisk": version("npsrisk"), **identify_tables(given)}


def _write_table(out: Path, inputs: dict[str, str], compute: "Callable[[int], Frames]") -> int:
    from consignments.files.part_folder import PartFolder
    from consignments.files.table_writers import write_chunks

    if not is_part_folder(out):
        return write_chunks(compute(0), out)
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
