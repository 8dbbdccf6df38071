"""Encoding of entries as blocks, and decoding, by the form of the block: a few rows, or columns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from serving.event_log.blocks.column_blocks import ColumnBlock, encode_columns
from serving.event_log.blocks.entry_block import (
    AT,
    BODY_COLUMNS,
    KIND,
    MAX_BLOCK_ENTRIES,
    PLAIN,
    REASONS,
    SEALED,
    SEQUENCE,
    EntryBlock,
)
from serving.event_log.blocks.frames import (
    CRC_BYTES,
    LZ4,
    DamagedBlock,
    build_damage_fault,
    check_crc,
    decompress,
)
from serving.event_log.blocks.row_blocks import ROWS_MARKS, RowBlock, encode_rows
from serving.event_log.event_rows import Columns
from serving.event_log.events import ARRIVAL_KINDS

MAX_BLOCK_BYTES = 1_000_000
"""Bytes of fields above which a block ends early."""
MIN_COLUMN_ENTRIES = 4
"""Entries from which on columns are worth their time; smaller blocks are joined later (`compaction`)."""
KIND_BITS = {
    "decision": 1,
    "arrival": 2,
    "outcome": 4,
    "cancellation": 8,
    "selection": 16,
    "action": 32,
    "state": 64,
    "alert": 128,
    "message": 256,
    "removal": 512,
    "erasure": 1024,
    "clock": 2048,
    "link": 4096,
}
"""Bits of `kinds`. Those of the kinds without a consignment are the highest."""
UNKNOWN_KIND_BIT = 1 << 30
"""Bit of a kind that this version does not know."""
ARRIVAL_BITS = KIND_BITS["decision"] | KIND_BITS["arrival"]


class StoredBlock(NamedTuple):
    """A row of the table of blocks.

    Attributes
    ----------
    first, last : int
        Sequence numbers of the first and the last entry.
    kinds : int
        `KIND_BITS` of the entries.
    min_us, max_us : int or None
        Earliest and latest `at_us` of the arrivals; None if there are none.
    head, body : bytes
    """

    first: int
    last: int
    kinds: int
    min_us: int | None
    max_us: int | None
    head: bytes
    body: bytes


def encode_blocks(rows: Sequence[Columns], hashes: Sequence[bytes], method: bytes = LZ4) -> list[StoredBlock]:
    """Encode entries in order as blocks; one ends early if it is large, or if the next sequence number does not follow.

    Parameters
    ----------
    rows : sequence of Columns
        Columns as in `EventRow`.
    hashes : sequence of bytes
        Hash of each entry.
    method : bytes
        Method of compression: LZ4, or ZSTD if no request waits.
    """
    return [encode_block(rows[start:end], hashes[start:end], method) for start, end in _divide(rows)]


def _divide(rows: Sequence[Columns]) -> Iterator[tuple[int, int]]:
    if len(rows) == 1:
        yield 0, 1
        return
    start, size = 0, 0
    for place, row in enumerate(rows):
        new = len(row[PLAIN]) + len(row[SEALED] or b"") + len(row[REASONS] or b"")
        if place > start and (
            place - start == MAX_BLOCK_ENTRIES
            or size + new > MAX_BLOCK_BYTES
            or row[SEQUENCE] != rows[place - 1][SEQUENCE] + 1
        ):
            yield start, place
            start, size = place, 0
        size += new
    if rows:
        yield start, len(rows)


def encode_block(rows: Sequence[Columns], hashes: Sequence[bytes], method: bytes = LZ4) -> StoredBlock:
    """Encode at most MAX_BLOCK_ENTRIES entries that follow one another as a block."""
    encode = encode_columns if len(rows) >= MIN_COLUMN_ENTRIES else encode_rows
    return StoredBlock(*_summarize(rows), *encode(rows, hashes, method))


def _summarize(rows: Sequence[Columns]) -> tuple[int, int, int, int | None, int | None]:
    """Return the numbers of the row of a block."""
    kinds = {row[KIND] for row in rows}
    if kinds.issubset(ARRIVAL_KINDS):
        received = [row[AT] for row in rows]
    else:
        received = [row[AT] for row in rows if row[KIND] in ARRIVAL_KINDS]
    times = (min(received), max(received)) if received else (None, None)
    return rows[0][SEQUENCE], rows[-1][SEQUENCE], combine_kinds(kinds), *times


def combine_kinds(kinds: Iterable[str]) -> int:
    """Return the `KIND_BITS` of some kinds of entries."""
    bits = 0
    for kind in kinds:
        bits |= KIND_BITS.get(kind, UNKNOWN_KIND_BIT)
    return bits


def open_block(first: int, last: int, head: bytes, body: bytes | None = None) -> EntryBlock:
    """Return a block that was read; `body` is None if it was not read.

    Raises
    ------
    DamagedBlock
        The head does not hold what was written.
    """
    check_crc(head, first)
    content = decompress(memoryview(head)[CRC_BYTES:], first)
    form = RowBlock if content[:1] in ROWS_MARKS else ColumnBlock
    return form(first, last, content, body)


def encode_part(block: EntryBlock, first: int, last: int) -> StoredBlock:
    """Encode the entries from `first` to `last` of a block whose body was read.

    Small blocks are joined while the log is read, so a block that is read again may have more entries than before.

    Raises
    ------
    ValueError
        The block does not hold all of these entries.
    """
    if not block.first <= first <= last <= block.last:
        raise ValueError(f"entries {first} to {last} are asked of a block with {block.first} to {block.last}")
    here = slice(first - block.first, last - block.first + 1)
    return encode_block(block.read_rows()[here], block.hashes[here])


def cut_block(block: EntryBlock, first: int, last: int) -> EntryBlock:
    """Return the entries from `first` to `last` of a block whose body was read; see `encode_part`."""
    if (block.first, block.last) == (first, last):
        return block
    part = encode_part(block, first, last)
    return open_block(part.first, part.last, part.head, part.body)


def check_summary(stored: Sequence[Any], rows: Sequence[Columns]) -> None:
    """Check the numbers of a block's row against its entries.

    Raises
    ------
    DamagedBlock
        A number was changed.
    """
    if tuple(stored[:5]) != _summarize(rows):
        raise build_damage_fault(stored[0], "numbers that are not those of its entries")


__all__ = [
    "ARRIVAL_BITS",
    "BODY_COLUMNS",
    "KIND_BITS",
    "MAX_BLOCK_ENTRIES",
    "DamagedBlock",
    "EntryBlock",
    "StoredBlock",
    "check_summary",
    "combine_kinds",
    "encode_block",
    "encode_blocks",
    "open_block",
]  # fmt: skip
