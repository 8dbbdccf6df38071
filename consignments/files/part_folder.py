"""Writing of a table in parts: a folder of Parquet files that appears when all are finished, and can be continued until then.

    .scores.partial/                the run goes on, or was interrupted: finished parts, and the manifest of them
        part-00000.parquet          PART_ROW_GROUPS row groups; equal rows give equal bytes
        part-00001.parquet
        _manifest.json              "complete": false
    scores/                         the folder after its renaming; its manifest says "complete": true

A part counts from the moment at which the manifest has it. So a kill at any time costs only the part in progress.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as parquet

from consignments.errors import BadInput, FileFault, explain_failure
from consignments.files.folders import lock_folder
from consignments.files.part_manifest import ColumnEntry, Manifest, PartEntry, compute_sha256
from consignments.files.table_writers import (
    convert_lists,
    open_parquet_writer,
    split_row_groups,
    write_tables,
)
from consignments.files.whole_files import draft_file, flush_folder

if TYPE_CHECKING:
    import pandas as pd

    Frames = Iterable["pd.DataFrame | pa.Table"]

CANNOT_WRITE = "cannot be written"
PART_ROW_GROUPS = 8
"""Row groups of a part. The last one may have fewer."""


@dataclass
class PartFolder:
    """A table in parts that is being written. Use it as the context of one run; another run waits for nothing and is refused."""

    out: Path
    manifest: Manifest

    @property
    def work(self) -> Path:
        """Return the folder that holds the parts until all are finished."""
        return self.out.with_name(f".{self.out.name}.partial")

    @classmethod
    @contextmanager
    def open(cls, out: Path, inputs: Mapping[str, str]) -> Iterator["PartFolder"]:
        """Open the folder for a run, and continue an interrupted run with the same inputs."""
        folder = cls(out, Manifest(dict(inputs)))
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            folder.manifest = _read_finished(out, inputs)
            yield folder
            return
        if not out.absolute().parent.is_dir():
            raise FileFault(CANNOT_WRITE, where=str(out), got="no such folder", todo="make it first")
        with explain_failure(CANNOT_WRITE, folder.work, folder._todo):
            folder.work.mkdir(exist_ok=True)
        with lock_folder(folder.work, "table"):
            folder._continue(inputs)
            yield folder

    def write(self, compute: Callable[[int], "Frames"]) -> int:
        """Write the parts that are not finished yet, give the folder its name, and return the number of rows."""
        if self.manifest.complete:
            return self.manifest.rows
        groups = split_row_groups(compute(self.manifest.rows))
        for first in groups:
            if not self.manifest.parts or len(first):
                self._write_part(chain([first], islice(groups, PART_ROW_GROUPS - 1)))
        with explain_failure(CANNOT_WRITE, self.work, self._todo):
            self._set_manifest(complete=True)
            self.work.rename(self.out)
            flush_folder(self.out.absolute().parent)
        return self.manifest.rows

    def _continue(self, inputs: Mapping[str, str]) -> None:
        """Read the finished parts of an interrupted run, and remove what it left unfinished."""
        if any(self.work.glob("*.parquet")):
            what = "an interrupted run with other inputs wrote parts of this table"
            todo = "repeat that command to finish it, or remove this folder"
            self.manifest = Manifest.read(self.work, inputs, what, todo)
        kept = {part.name for part in self.manifest.parts}
        with explain_failure(CANNOT_WRITE, self.work, self._todo):
            for left_over in self.work.glob("*.par*"):  # parts, and drafts of them and of the manifest
                if left_over.name not in kept:
                    left_over.unlink()
            self.manifest.check_files(self.work, [])
            self._set_manifest(complete=False)

    def _write_part(self, groups: Iterator[Any]) -> None:
        """Write one part from its row groups, at least one, and enter it in the manifest."""
        path = self.work / f"part-{len(self.manifest.parts):05d}.parquet"
        tables = map(self._adopt_schema, map(convert_lists, groups))
        explain = partial(explain_failure, CANNOT_WRITE, path, self._todo)
        with draft_file(path, explain) as draft:
            rows = write_tables(tables, partial(open_parquet_writer, draft), explain)
        with explain():
            entry = PartEntry(path.name, rows, path.stat().st_size, compute_sha256(path))
            columns = tuple(ColumnEntry(each.name, str(each.type)) for each in parquet.read_schema(path))
            self._set_manifest(columns=columns, parts=(*self.manifest.parts, entry))

    def _adopt_schema(self, table: Any) -> Any:
        """Return rows with the columns of the finished parts, which may come from an earlier run."""
        if not self.manifest.parts:
            return table
        first = self.work / self.manifest.parts[0].name
        try:
            return table.cast(parquet.read_schema(first))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise FileFault(
                "the rows have other columns than the finished parts",
                where=str(first),
                got=str(error).splitlines()[0],
                todo=f"remove {self.work} and run the command again",
            ) from error

    def _set_manifest(self, **changes: Any) -> None:
        self.manifest = msgspec.structs.replace(self.manifest, **changes)
        self.manifest.write(self.work)

    @property
    def _todo(self) -> str:
        """Return what to do after a failure."""
        finished = len(self.manifest.parts)
        more = f"; it continues after the {finished:,} finished parts" if finished else ""
        return f"free space or correct the rights, and run the same command again{more}"


def _read_finished(out: Path, inputs: Mapping[str, str]) -> Manifest:
    """Return the manifest of a finished table with these inputs; raise `BadInput` for anything else in its place."""
    if not out.is_dir() or not list(out.glob("part-*.parquet")):
        todo = "choose another --out, or remove it"
        raise BadInput("there is something else in the place of the table", where=str(out), todo=todo)
    what, todo = "this folder holds a table with other inputs", "choose another --out, or remove the folder"
    manifest = Manifest.read(out, inputs, what, todo)
    manifest.check_files(out, [file.name for file in out.glob("*.parquet")])
    return manifest
