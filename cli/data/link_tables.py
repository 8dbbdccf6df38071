"""Building of link tables from consignment tables. They are read in chunks, and only numbers of each row stay in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cli.batch import create_batch_pseudonyms
from consignments.records import Consignment
from consignments.tables import to_consignments
from consignments.validation import keep_rows
from consignments.workers import WorkerPool
from features.batch import ComputeOptions, build_arrival_events, build_outcome_events, mask_past_rows
from features.links.identifiers import LINK_IDENTIFIERS, LinkNumberBuilder, LinkNumbers
from features.links.trace import LinkTable
from features.streams import FeatureInputs, RowChunk, TableSource

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SourcePart:
    """A consignment table, and a mask of the rows that count."""

    source: TableSource
    kept: Mask

    def read_chunks(self) -> Iterator[tuple[RowChunk, Mask]]:
        """Read the rows in chunks, each with its part of the mask."""
        start = 0
        for chunk in self.source.read_chunks():
            yield chunk, self.kept[start : start + len(chunk)]
            start += len(chunk)


class LinkTableReader:
    """A reader that builds the link table of consignment tables, and then reads single consignments.

    Parameters
    ----------
    inputs : FeatureInputs
        A consignment that is in both `history` and `consignments` counts once, as in `consignments`.
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
        """Read all rows, and build the link table."""
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
        """Read the consignments of the given rows, which must be sorted and distinct."""
        found: list[Consignment] = []
        start = 0
        for chunk, kept in self._read_chunks():
            end = start + int(kept.sum())
            mine = rows[(rows >= start) & (rows < end)] - start
            if len(mine):
                chosen = keep_rows(chunk.to_table(Consignment), kept).take(mine)
                found += to_consignments(chosen, Consignment)
            start = end
        return found

    def _read_chunks(self) -> Iterator[tuple[RowChunk, Mask]]:
        for part in self._parts:
            yield from part.read_chunks()


def build_chunk_numbers(chunk_and_kept: tuple[RowChunk, Mask]) -> LinkNumbers:
    """Build the link numbers of a chunk's rows that count. It may run in another process."""
    chunk, kept = chunk_and_kept
    records = to_consignments(keep_rows(chunk.to_table(Consignment), kept), Consignment)
    return LinkNumberBuilder(create_batch_pseudonyms()).build_rows(records)
