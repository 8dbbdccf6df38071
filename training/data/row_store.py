"""Storage of the feature rows of a training: memory, or files without a name if they do not fit.

A file without a name ends with the process, also after a kill. The system keeps in memory the pages that are in use.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from consignments.errors import FileFault

CHUNK_ROWS = 8192
Bools = NDArray[np.bool_]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureRowStore:
    """The place of feature rows.

    Attributes
    ----------
    folder : Path or None
        Folder whose disk holds the rows; None for the memory.
    """

    folder: Path | None = None

    def allocate(self, rows: int, columns: int) -> Rows:
        """Return a float32 matrix (rows, columns) of any content.

        Raises
        ------
        FileFault
            If the disk has no room for it.
        """
        if self.folder is None or not rows:
            return np.empty((rows, columns), dtype=np.float32)
        try:
            with TemporaryFile(dir=self.folder) as file:
                # Reserved now: a page that finds no room later would end the process.
                os.posix_fallocate(file.fileno(), 0, 4 * rows * columns)
                return np.asarray(np.memmap(file, dtype=np.float32, mode="r+", shape=(rows, columns)))
        except OSError as error:
            raise FileFault(
                "feature rows cannot be written",
                where=str(self.folder),
                got=error.strerror or str(error),
                todo="free space, and run the same command again",
            ) from error

    def copy_rows(self, X: Rows, mine: Bools) -> Rows:
        """Copy some rows of a matrix.

        Parameters
        ----------
        X : float32 array, (n, columns)
        mine : bool array, (n,)
        """
        if self.folder is None:
            return X[mine]
        at = np.flatnonzero(mine)
        copied = self.allocate(len(at), X.shape[1])
        for begin in range(0, len(at), CHUNK_ROWS):
            copied[begin : begin + CHUNK_ROWS] = X[at[begin : begin + CHUNK_ROWS]]
        return copied
