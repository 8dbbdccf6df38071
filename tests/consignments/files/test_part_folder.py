"""A table in parts appears when it is whole, is continued after a kill with the same bytes, and is refused if a part differs."""

import hashlib
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from support.damage import flip_bit

from consignments.errors import BadInput, FileFault
from consignments.files.parquet_files import ParquetTable
from consignments.files.part_folder import PartFolder
from consignments.files.part_manifest import MANIFEST_NAME, Manifest, identify_tables

ROWS = 230
INPUTS = {"consignments": "a", "model": "b"}
Compute = Callable[[int], Iterator[pd.DataFrame]]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two row groups of 20 rows."""
    monkeypatch.setattr("consignments.files.table_writers.ROW_GROUP_ROWS", 20)
    monkeypatch.setattr("consignments.files.part_folder.PART_ROW_GROUPS", 2)


def make_rows(first: int, last: int = ROWS) -> pd.DataFrame:
    numbers = range(first, last)
    return pd.DataFrame({"consignment_id": [f"C{n}" for n in numbers], "score": numbers})


def compute_in(rows: int) -> Compute:
    """Return the computation of the table in chunks of so many rows."""

    def compute(first: int) -> Iterator[pd.DataFrame]:
        for begin in range(first, ROWS, rows):
            yield make_rows(begin, min(begin + rows, ROWS))

    return compute


def write(out: Path, compute: Compute, inputs: dict[str, str] = INPUTS) -> int:
    with PartFolder.open(out, inputs) as folder:
        return folder.write(compute)


def hash_files(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def write_until(out: Path, rows: int, how: Callable[[], None]) -> None:
    """Write until so many rows were given, then let something happen."""

    def compute(first: int) -> Iterator[pd.DataFrame]:
        for begin in range(first, ROWS, 10):
            if begin >= rows:
                how()
            yield make_rows(begin, min(begin + 10, ROWS))

    write(out, compute)


def interrupt(out: Path) -> Path:
    """Interrupt a run after two parts, and return the folder that it leaves."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_until(out, 100, stop)
    return out.with_name(f".{out.name}.partial")


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(BadInput, match="another run is writing this table")
    with PartFolder.open(tmp_path / "t", INPUTS), refused:
        PartFolder.open(tmp_path / "t", INPUTS).__enter__()


def test_a_table_in_parts_is_the_table_with_the_same_bytes_from_chunks_of_any_size(tmp_path: Path) -> None:
    assert write(tmp_path / "t", compute_in(33)) == ROWS
    scores = pa.concat_tables(part.table for part in ParquetTable.open(tmp_path / "t").parts)["score"]
    assert scores.to_pylist() == list(range(ROWS))
    manifest = Manifest.read(tmp_path / "t")
    assert [part.rows for part in manifest.parts] == [40, 40, 40, 40, 40, 30]
    assert [column.name for column in manifest.columns] == ["consignment_id", "score"]
    assert manifest.inputs == INPUTS
    assert list(tmp_path.iterdir()) == [tmp_path / "t"], "no work folder is left"
    for rows in (7, 40, 500):
        write(tmp_path / str(rows), compute_in(rows))
        assert hash_files(tmp_path / str(rows)) == hash_files(tmp_path / "t")


def test_a_run_killed_at_five_points_ends_with_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "whole", compute_in(10))
    out = tmp_path / "t"
    for rows in (10, 60, 90, 130, 220):
        child = os.fork()
        if child == 0:
            write_until(out, rows, partial(signal.raise_signal, signal.SIGKILL))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert not out.exists(), "nothing half-written has the name of the table"
    begun: list[int] = []

    def compute(first: int) -> Iterator[pd.DataFrame]:
        begun.append(first)
        return compute_in(10)(first)

    assert write(out, compute) == ROWS
    assert begun == [200], "finished parts are not computed again"
    assert hash_files(out) == hash_files(tmp_path / "whole")


@pytest.mark.parametrize("name", ["t", ".t.partial"], ids=["named", "interrupted before it was named"])
def test_a_finished_table_is_not_computed_again(tmp_path: Path, name: str) -> None:
    write(tmp_path / "t", compute_in(10))
    (tmp_path / "t").rename(tmp_path / name)

    def refuse(first: int) -> Iterator[pd.DataFrame]:
        assert first == ROWS
        yield from ()

    assert write(tmp_path / "t", refuse) == ROWS
    assert len(Manifest.read(tmp_path / "t").parts) == 6


def test_other_inputs_do_not_continue_a_table(tmp_path: Path) -> None:
    interrupt(tmp_path / "t")
    with pytest.raises(BadInput, match=r"\.t\.partial: an interrupted run with other inputs.*other model"):
        write(tmp_path / "t", compute_in(10), {**INPUTS, "model": "c"})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="something else in the place of the table"):
        write(tmp_path / "t", compute_in(10))
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def copy_part(path: Path) -> None:
    path.with_name("more.parquet").write_bytes(path.read_bytes())


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (flip_bit, r"part-00001\.parquet: a part of the table was changed or damaged"),
    "missing": (Path.unlink, r"part-00001\.parquet: a part of the table cannot be read"),
    "truncated": (lambda path: os.truncate(path, 100), r"part-00001\.parquet: .* got 100 bytes"),
    "additional": (copy_part, r"more\.parquet: this file is not in the manifest"),
}


@pytest.mark.parametrize(("harm", "told"), HARMS.values(), ids=HARMS)
def test_a_damaged_table_is_not_read(tmp_path: Path, harm: Callable[[Path], object], told: str) -> None:
    write(tmp_path / "t", compute_in(10))
    harm(tmp_path / "t" / "part-00001.parquet")
    with pytest.raises(FileFault, match=told):
        ParquetTable.open(tmp_path / "t")


def test_an_interrupted_table_is_not_read_nor_continued_with_other_or_damaged_parts(tmp_path: Path) -> None:
    partial = interrupt(tmp_path / "t")
    with pytest.raises(FileFault, match=r"the table is incomplete.*got 80 rows in 2 parts"):
        ParquetTable.open(partial)
    with pytest.raises(FileFault, match=r"part-00000\.parquet: the rows have other columns"):
        write(tmp_path / "t", lambda first: iter([make_rows(first).rename(columns={"score": "other"})]))
    flip_bit(partial / "part-00001.parquet")
    with pytest.raises(FileFault, match=r"part-00001\.parquet: a part of the table was changed or damaged"):
        write(tmp_path / "t", compute_in(10))


def test_a_full_disk_names_the_part_and_keeps_the_finished_ones(tmp_path: Path) -> None:
    write(tmp_path / "whole", compute_in(10))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = r"part-00002\.parquet: cannot be written.*continues after the 2 finished parts"

    fill_the_disk = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(FileFault, match=told):
            write_until(tmp_path / "t", 90, fill_the_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / ".t.partial").glob(".*"))
    assert write(tmp_path / "t", compute_in(10)) == ROWS
    assert hash_files(tmp_path / "t") == hash_files(tmp_path / "whole")


def test_a_table_without_rows_is_one_part(tmp_path: Path) -> None:
    assert write(tmp_path / "t", lambda first: iter([make_rows(0, 0)])) == 0
    assert ParquetTable.open(tmp_path / "t").columns == ("consignment_id", "score")


OTHER = "manifest of the table has another format; got format 9; expected format 1; remove the folder"
FORMS = {"{": "manifest", json.dumps({"files": [], "format": 9}): OTHER, "[]": "manifest"}


@pytest.mark.parametrize(("content", "told"), FORMS.items())
def test_a_manifest_of_another_form_is_refused(tmp_path: Path, content: str, told: str) -> None:
    write(tmp_path / "t", compute_in(10))
    (tmp_path / "t" / MANIFEST_NAME).write_text(content)
    with pytest.raises(FileFault, match=told):
        ParquetTable.open(tmp_path / "t")


def test_the_identity_of_a_table_is_that_of_its_content_and_names(tmp_path: Path) -> None:
    write(tmp_path / "a", compute_in(10))
    write(tmp_path / "b", compute_in(20))
    assert identify_tables({"t": tmp_path / "a"}) == identify_tables({"t": tmp_path / "b"})
    assert identify_tables({"t": None}) == {"t": "none"}
    (tmp_path / "b" / "part-00005.parquet").rename(tmp_path / "b" / "part-00009.parquet")
    assert identify_tables({"t": tmp_path / "a"}) != identify_tables({"t": tmp_path / "b"})
    with pytest.raises(FileFault, match="cannot be read"):
        identify_tables({"t": tmp_path / "nowhere"})


def test_an_error_of_the_rows_is_not_one_of_the_disk(tmp_path: Path) -> None:
    def compute(first: int) -> Iterator[pd.DataFrame]:
        yield make_rows(first, 30)
        raise OSError("Timed out trying to connect")

    with pytest.raises(OSError, match=r"^Timed out"):
        write(tmp_path / "t", compute)
    assert write(tmp_path / "t", compute_in(10)) == ROWS
