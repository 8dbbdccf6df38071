"""Joining of small blocks: what few requests at a time wrote as blocks of one or two entries becomes full blocks.

Blocks of one entry take twice the space. They are joined when they are no longer the newest, with the hashes that they have.
Old and new blocks change places in one transaction, after the new ones were decoded again and compared with the old ones.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving.event_log.blocks.codec import (
    MAX_BLOCK_ENTRIES,
    StoredBlock,
    encode_blocks,
    open_block,
)
from serving.event_log.blocks.frames import ZSTD
from serving.event_log.databases.backend import Begin
from serving.event_log.databases.tables import BLOCKS
from serving.event_log.event_rows import Columns

MIN_MEAN_ENTRIES = 4
"""Mean number of entries of a block from which on joining is not worth its time: the log would be a tenth smaller."""
STRETCH_ENTRIES = 1_024
"""Entries that are considered together."""
JOINED_BLOCKS = 2
"""Full blocks that one transaction writes, some 150 kB, so that the writer of entries does not wait."""


def compact(connection: Connection, begin: Begin, after: int, until: int) -> int:
    """Join the small blocks of a stretch of the log.

    Parameters
    ----------
    connection : Connection
        Not in a transaction; the only one that changes these blocks.
    begin : callable
        Returns a context with a transaction of this connection.
    after, until : int
        Range of sequence numbers; `after` excluded, `until` included. Blocks across an end are not changed.

    Returns
    -------
    int
        Number of blocks by which there are fewer.
    """
    places = sa.select(BLOCKS.c.first, BLOCKS.c.last).where(BLOCKS.c.first > after, BLOCKS.c.last <= until)
    found = connection.execute(places.order_by(BLOCKS.c.first)).all()
    connection.commit()
    if not found or (found[-1].last - found[0].first + 1) >= MIN_MEAN_ENTRIES * len(found):
        return 0
    fewer, start = 0, 0
    for end in range(1, len(found) + 1):
        if end == len(found) or found[end].last - found[start].first >= JOINED_BLOCKS * MAX_BLOCK_ENTRIES:
            fewer += _join(connection, begin, found[start].first, found[end - 1].last)
            start = end
    return fewer


def _join(connection: Connection, begin: Begin, first: int, last: int) -> int:
    """Replace the blocks of a range by full ones."""
    here = BLOCKS.c.first >= first, BLOCKS.c.first <= last
    old = connection.execute(sa.select(BLOCKS).where(*here).order_by(BLOCKS.c.first)).all()
    connection.commit()
    rows, hashes = _decode(old)
    new = encode_blocks(rows, hashes, ZSTD)
    if len(new) >= len(old) or _decode(new) != (rows, hashes):
        return 0
    with begin() as transaction:
        deleted = connection.execute(sa.delete(BLOCKS).where(*here)).rowcount
        if deleted != len(old):  # another process has changed them
            transaction.rollback()
            return 0
        connection.execute(BLOCKS.insert(), [stored._asdict() for stored in new])
    return len(old) - len(new)


def _decode(blocks: Sequence[StoredBlock] | Sequence[Any]) -> tuple[list[Columns], list[bytes]]:
    rows: list[Columns] = []
    hashes: list[bytes] = []
    for stored in blocks:
        block = open_block(stored.first, stored.last, stored.head, stored.body)
        rows += block.read_rows()
        hashes += block.hashes
    return rows, hashes
