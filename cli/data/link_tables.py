"""Building of link tables from consignment tables. They are read in chunks, and only numbers of each row stay in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cli.progress import Progress
from cli.stores import create_batch_pseudonyms
from consignments.records import Consignment
from consignments.tables import to_records
from consignments.workers import WorkerPool
from features.links.identifiers import LINK_IDENTIFIERS, LinkNumberBuilder, LinkNumbers
from features.links.trace import LinkTable
from features.streams import EventTables, FeatureInputs


class LinkTableReader:
    """A reader that builds the link table of consignment tables, and then reads single consignments."""

    def __init__(self, inputs: FeatureInputs) -> None:
        self._tables = EventTables.from_inputs(inputs)

    def read(self, jobs: int, progress: Progress) -> LinkTable:
        """Read all rows, and build the link table."""
        rows = len(self._tables.arrivals.received_us)
        numbers = np.zeros((rows, len(LINK_IDENTIFIERS)), dtype=np.uint64)
        done = 0
        with WorkerPool(jobs, rows) as workers:
            for built in workers.map(build_chunk_numbers, self._read_chunks()):
                numbers[done : done + len(built)] = built
                done += len(built)
                progress("identifiers", done, rows)
        return LinkTable(self._tables.arrivals, self._tables.outcomes, numbers)

    def read_consignments(self, rows: NDArray[np.int64]) -> Sequence[Consignment]:
        """Read the consignments of the given rows, which must be sorted and distinct."""
        found: list[Consignment] = []
        start = 0
        for chunk in self._read_chunks():
            mine = rows[(rows >= start) & (rows < start + len(chunk))] - start
            if len(mine):
                found += to_records(chunk.take(mine), Consignment)
            start += len(chunk)
        return found

    def _read_chunks(self) -> Iterator[pa.Table]:
        return (chunk for source in self._tables.sources for chunk in source.read_chunks(Consignment))


def build_chunk_numbers(chunk: pa.Table) -> LinkNumbers:
    """Build the link numbers of a chunk. It may run in another process."""
    records = to_records(chunk, Consignment)
    return LinkNumberBuilder(create_batch_pseudonyms()).build_rows(records)
