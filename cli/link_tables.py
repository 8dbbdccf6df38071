"""Link tables from consignment tables: read a piece at a time, and only numbers of each row are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cli.batch import create_batch_pseudonyms
from consignments.records import Consignment
from consignments.tables import to_consignments
from features.batch import ComputeOptions, build_arrival_events, build_outcome_events, mask_past_rows
from features.links.identifiers import LINK_IDENTIFIERS, LinkNumberBuilder, LinkNumbers
from features.links.trace import LinkTable
from features.streams import FeatureInputs, RowChunk, TableSource
from features.workers import WorkerPool

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SourcePart:
    """A consignment table, and which of its rows count."""

    source: TableSource
    kept: Mask

    def read_chunks(self) -> Iterator[tuple[RowChunk, Mask]]:
        """Read the rows piece by piece, each piece with its part of the mask."""
        start = 0
        for chunk in self.source.read_chunks():
            yield chunk, self.kept[start : start + len(chunk)]
            start += len(chunk)


class LinkTableReader:
    """Reads the link table of a world's tables, and afterwards some of its consignments.

    Parameters
    ----------
    inputs : FeatureInputs
        A past consignment that is also given counts once, as given.
    options : ComputeOptions
    """

    def __init__(self, inputs: FeatureInputs, options: ComputeOptions) -> None:
        self._options, self._outcomes = options, inputs.outcomes
        order = inputs.consignments.take_order()
        self._parts = [SourcePart(inputs.consignments, np.ones(len(order), dtype=bool))]
        if inputs.history is not None:
            past = inputs.history.take_order()
            kept = mask_past_rows(past, order)
            self._parts.insert(0, SourcePart(inputs.history, kept))
            order = pd.concat([past[kept], order], ignore_index=True)
        self._arrivals = build_arrival_events(order)

    def read(self) -> LinkTable:
        """Read all rows."""
        rows = len(self._arrivals.received_us)
        numbers = np.zeros((rows, len(LINK_IDENTIFIERS)), dtype=np.uint64)
        done = 0
        with WorkerPool(self._options.jobs, rows) as workers:
            for built in workers.map(build_chunk_numbers, self._read_chunks()):
                numbers[done : done + len(built)] = built
                done += len(built)
                if self._options.progress is not None:
                    self._options.progress("identifiers", done, rows)
        return LinkTable(self._arrivals, build_outcome_events(self._outcomes), numbers)

    def read_consignments(self, rows: NDArray[np.int64]) -> Sequence[Consignment]:
        """Read the consignments of some rows, which are sorted and distinct."""
        found: list[Consignment] = []
        start = 0
        for chunk, kept in self._read_chunks():
            end = start + int(kept.sum())
            mine = rows[(rows >= start) & (rows < end)] - start
            if len(mine):
                frame = chunk.to_frame(Consignment)[kept].iloc[mine]
                found += to_consignments(frame, Consignment)
            start = end
        return found

    def _read_chunks(self) -> Iterator[tuple[RowChunk, Mask]]:
        for part in self._parts:
            yield from part.read_chunks()


def build_chunk_numbers(chunk_and_kept: tuple[RowChunk, Mask]) -> LinkNumbers:
    """Build the numbers of the rows of a piece that count, in this process or in another."""
    chunk, kept = chunk_and_kept
    records = to_consignments(chunk.to_frame(Consignment)[kept], Consignment)
    return LinkNumberBuilder(create_batch_pseudonyms()).build_rows(records)
