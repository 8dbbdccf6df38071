"""Checkpoints of a replay: one small file with the choices of each finished week, and tables at the end.

World, seed and choices determine everything else. A replay that was killed therefore repeats its finished weeks from the
stored choices, and continues to the same bytes. Every file is written to a temporary name, flushed to disk and renamed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa

from consignments.errors import BadInput, FileFault
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from training.policy_replay.policies import PolicyChoice

HEADER = "replay.json"
TABLES = ("openings", "positives")


class RecordedChoice(msgspec.Struct, frozen=True, array_like=True):
    """A choice as stored in a checkpoint.

    Attributes
    ----------
    consignment_id : str
    row : int
        Its position in the arrivals of the round.
    selected_by : str
    probability, score : float or None
    """

    consignment_id: str
    row: int
    selected_by: str
    probability: float | None
    score: float | None

    @property
    def pick(self) -> PolicyChoice:
        """The choice in the form of a policy's result."""
        return PolicyChoice(self.row, self.selected_by, self.probability)  # type: ignore[arg-type]


class ReplayWeek(msgspec.Struct, frozen=True):
    """A finished week: the choices of each of its rounds."""

    number: int
    rounds: list[list[RecordedChoice]]


class CheckpointFile:
    """Checkpoint files of one policy under one seed.

    Parameters
    ----------
    folder : Path
        Created if it is missing.
    header : dict
        Description of the replay, as JSON values. A folder of another replay is refused.

    Raises
    ------
    BadInput
    """

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        written = msgspec.json.format(msgspec.json.encode(header, order="sorted"))
        if not (folder / HEADER).exists():
            replace_file(folder / HEADER, written, PUBLIC_MODE)
        elif (folder / HEADER).read_bytes() != written:
            raise BadInput(
                "this folder contains another replay",
                where=str(folder / HEADER),
                got="other settings, another world or another version of npsrisk",
                todo="choose another --out, or remove the folder",
            )

    def read_weeks(self) -> list[ReplayWeek]:
        """Read the finished weeks, in their order; raise `FileFault` if one is damaged."""
        found: list[ReplayWeek] = []
        while (path := self._path(len(found))).exists():
            with _explain_damage(path):
                found.append(msgspec.json.decode(path.read_bytes(), type=ReplayWeek))
        return found

    def write_week(self, week: ReplayWeek) -> None:
        """Write the checkpoint of a week."""
        replace_file(self._path(week.number), msgspec.json.encode(week), PUBLIC_MODE)

    @property
    def is_finished(self) -> bool:
        """True if the tables exist."""
        return all(self._table(name).exists() for name in TABLES)

    def write_tables(self, openings: pd.DataFrame, positives: pd.DataFrame) -> None:
        """Write both tables."""
        for name, frame in zip(TABLES, (openings, positives), strict=True):
            replace_file(self._table(name), frame.to_parquet(), PUBLIC_MODE)

    def read_tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Read both tables; raise `FileFault` if one is damaged."""
        openings, positives = (_read_table(self._table(name)) for name in TABLES)
        return openings, positives

    def _path(self, number: int) -> Path:
        return self.folder / f"week-{number:04d}.json"

    def _table(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"


def _read_table(path: Path) -> pd.DataFrame:
    with _explain_damage(path):
        return pd.read_parquet(path)


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Raise `FileFault` if a file cannot be decoded."""
    try:
        yield
    except (msgspec.MsgspecError, pa.ArrowException, OSError) as error:
        raise FileFault(
            "a checkpoint of the replay is damaged",
            where=str(path),
            got=next(iter(str(error).splitlines()), ""),
            todo="remove this file and run the same command again: it computes only what the file held",
        ) from error


def count_finished_weeks(folders: Sequence[Path]) -> int:
    """Count the finished weeks in several checkpoint folders, for progress."""
    return sum(len(list(folder.glob("week-*.json"))) for folder in folders)
