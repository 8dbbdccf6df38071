"""A batch: one result row for each consignment, to a file or a folder of parts, with the kept state of history."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cli import options
from cli.stores import create_batch_pseudonyms, load_pseudonyms
from cli.tables import GivenTables
from cli.verb import OptionGroup, Progress
from consignments.errors import BadInput, explain_failure
from consignments.files.part_manifest import identify_tables

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from features.batch import FeatureParameters
    from features.history.kept_state import StateRun
    from features.history.pseudonyms import Pseudonyms
    from features.streams import FeatureChunk, FeatureInputs

    Frames = Iterator["pd.DataFrame | pa.Table"]
    Finish = Callable[[FeatureChunk], "pd.DataFrame | pa.Table"]


class WrittenResult(NamedTuple):
    """A written table: its rows, whether the batch continued a kept state, and how often each value of a column is in it."""

    rows: int
    continued: bool
    counts: Counter[str]


@dataclass(frozen=True)
class Batch:
    """The place where rows are computed, this machine or a Dask cluster, and those of the result and the state."""

    state: options.Folder | None = options.STATE
    dask: str | None = options.DASK
    jobs: options.Count = options.JOBS
    out: options.NewParts = options.LARGE_OUT

    @property
    def is_in_parts(self) -> bool:
        """True if the result is a folder of parts, which an interrupted run continues: its name has no suffix."""
        return self.out.suffix == ""

    def load_pseudonyms(self) -> "Pseudonyms":
        """Load the pseudonyms of the service for a state that is kept, else those of a batch."""
        return create_batch_pseudonyms() if self.state is None else load_pseudonyms()

    def write(self, work: "BatchWork") -> WrittenResult:
        """Write the result, and then the state after it.

        Raises `BadInput` if the folder holds another result, or the batch cannot continue the state.
        """
        import numpy as np

        from features.batch import ComputeOptions
        from features.cluster import finish_chunks, open_runner
        from features.streams import stream_features

        counts: Counter[str] = Counter()

        def compute(first_row: int, state_run: "StateRun | None" = None) -> "Frames":
            inputs = replace(work.open_inputs(work.check_continued(state_run)), state_run=state_run)
            wanted, finish = np.arange(len(inputs.consignments)) >= first_row, work.build_finish(inputs)
            with open_runner(self.dask) as runner:
                options = ComputeOptions(self.jobs, work.progress, runner)
                chunks = stream_features(inputs, work.parameters, wanted=wanted, options=options)
                for rows in finish_chunks(runner, finish, chunks):
                    if work.counted:
                        counts.update(rows[work.counted].tolist())
                    yield rows

        if self.state is None:
            inputs = work.identify_inputs() if self.is_in_parts else {}
            rows, continued = self._write_table(inputs, compute), False
        else:
            rows, continued = self._write_with_state(self.state, work, compute)
        if work.counted and self.is_in_parts:  # an earlier run has written some of them
            counts = count_values(self.out, work.counted)
        return WrittenResult(rows, continued, counts)

    def _write_with_state(
        self, folder: Path, work: "BatchWork", compute: "Callable[..., Frames]"
    ) -> tuple[int, bool]:
        """Write the result and the state after it; return the rows, and whether the batch continued a state."""
        from features.history.kept_state import StateRun
        from features.history.keys import list_key_kinds
        from features.history.state_files import StateFolder

        with StateFolder(folder).begin(work.identify_inputs()) as draft:
            before = None if draft.before is None else draft.before.state
            kinds = list_key_kinds(work.parameters.config)
            state_run = StateRun(before, kinds, work.parameters.pseudonyms, draft)
            rows = self._write_table(draft.inputs, partial(compute, state_run=state_run))
            if not draft.done:
                if state_run.state is None:  # an earlier run was interrupted between the result and the state
                    for _ in compute(rows, state_run):
                        pass
                draft.commit(state_run.state)
            return rows, before is not None

    def _write_table(self, inputs: dict[str, str], compute: "Callable[..., Frames]") -> int:
        from consignments.files.part_folder import PartFolder
        from consignments.files.table_writers import write_chunks

        if not self.is_in_parts:
            return write_chunks(compute(0), self.out)
        with PartFolder.open(self.out, inputs) as folder:
            return folder.write(compute)


@dataclass(frozen=True)
class BatchWork:
    """The work of a batch: it computes a row for each given consignment, and counts the values of the column `counted`.

    `run` states what the result depends on besides the tables; only the same run continues an interrupted one. `open_inputs` receives
    whether a kept state is continued. `build_finish` builds the function from a chunk of features to result rows.
    """

    tables: GivenTables
    progress: Progress
    run: Mapping[str, str]
    parameters: "FeatureParameters"
    open_inputs: "Callable[[bool], FeatureInputs]"
    build_finish: "Callable[[FeatureInputs], Finish]"
    counted: str = ""

    def check_continued(self, state_run: "StateRun | None") -> bool:
        """Check whether the batch continues earlier ones; raise `BadInput` if it then has a history table too."""
        continued = state_run is not None and state_run.before is not None
        if continued and self.tables.history is not None:
            raise build_state_fault("--history")
        return continued

    def identify_inputs(self) -> dict[str, str]:
        """Describe all that the result depends on."""
        names = ("consignments", "history", "outcomes", "alerts")
        given = {name: getattr(self.tables, name) for name in names}
        return {**self.run, "npsrisk": version("npsrisk"), **identify_tables(given)}


def build_state_fault(option: str) -> BadInput:
    """Build the error for an option of a first batch, if there is a state already."""
    got, expected = f"{option}, and --state with a state in it", f"{option} only for the first batch"
    return BadInput("the state has the history already", where="options", got=got, expected=expected)


def count_values(folder: Path, column: str) -> Counter[str]:
    """Count the values of a column of a table in parts, one part at a time."""
    import pyarrow.parquet as parquet

    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*.parquet")):
        with explain_failure("cannot be read", path):
            found = parquet.read_table(path, columns=[column]).column(column).value_counts()
        counts.update({each["values"].as_py(): each["counts"].as_py() for each in found})
    return counts


BATCH: Any = OptionGroup(Batch, {each.name: each.default for each in fields(Batch)})
