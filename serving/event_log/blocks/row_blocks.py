"""Blocks of one to three entries: each entry as a row. They cost the writer the least, and are joined to columns later.

head   [[kind, ..., history_sequence, hash], ...]    without what the body holds
body   [[plain, sealed, features], ...]              of the arrivals
"""

from collections.abc import Sequence
from functools import cache
from itertools import compress
from typing import Any

import msgspec
import numpy as np

from serving.encryption.key_file import PREFIX_BYTES
from serving.event_log.blocks.columns import Flags, Matrix
from serving.event_log.blocks.entry_block import (
    AT,
    BODY_COLUMNS,
    FEATURES,
    KEY_KINDS,
    KEYS,
    KIND,
    NAME,
    PLAIN,
    SEALED,
    BlobPair,
    EntryBlock,
    Longs,
    mark_plain,
)
from serving.event_log.blocks.frames import (
    CRC_BYTES,
    RAW,
    add_crc,
    build_damage_fault,
    check_crc,
    decompress,
    make_frame,
)
from serving.event_log.event_rows import Columns, EventRow
from serving.event_log.events import ARRIVAL_KINDS, NOT_READ

ROWS_MARKS = frozenset(bytes([0x90 | count]) for count in range(16))
"""First byte of a head: MessagePack of a short list, which that of columns is not."""
_HASH = len(EventRow._fields)
_HeadRow = tuple[
    str, str | None, int, int | None, bytes, bytes, bytes | None, str | None, bytes | None, None,
    float | None, str | None, bytes | None, str | None, str | None, str | None, str, int | None, bytes,
]  # fmt: skip
_BodyRow = tuple[bytes | None, bytes | None, bytes | None]
_MARKED = frozenset({"content", "keys", "features", "reasons"})
"""Columns of bytes that are NOT_READ if they are left out."""
_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(list[_HeadRow]).decode
_decode_body = msgspec.msgpack.Decoder(list[_BodyRow]).decode


def encode_rows(rows: Sequence[Columns], hashes: Sequence[bytes], method: bytes) -> BlobPair:
    """Encode entries as rows."""
    head, body = [], []
    for row, here in zip(rows, hashes, strict=True):
        plain, sealed = row[PLAIN], row[SEALED]
        if row[KIND] in ARRIVAL_KINDS:
            body.append((plain, sealed, row[FEATURES]))
            plain, sealed = mark_plain(plain), sealed and sealed[:PREFIX_BYTES]
        # `plain` and `sealed` follow one another, as do the columns on both sides of `features`.
        head.append(
            (*row[KIND:PLAIN], plain, sealed, *row[KEY_KINDS:FEATURES], None, *row[FEATURES + 1 :], here)
        )
    packed = add_crc(make_frame(_encode(body), method)) if body else b""
    return BlobPair(add_crc(make_frame(_encode(head), RAW)), packed)


class RowBlock(EntryBlock):
    """A block of rows that was read, see `EntryBlock`; `head` is the content of the frame."""

    __slots__ = ("_rows",)

    def __init__(self, first: int, last: int, head: bytes, body: bytes | None) -> None:
        super().__init__(first, last, body)
        try:
            rows = _decode_head(head)
        except msgspec.MsgspecError as error:
            raise build_damage_fault(first, str(error)) from None
        if len(rows) != self.count:
            raise build_damage_fault(first, "another number of entries")
        self._rows: list[Columns] = [(sequence, *row) for sequence, row in enumerate(rows, start=first)]

    @property
    def names(self) -> list[str | None]:
        """Return the identifier of each entry, None if it has none."""
        return [row[NAME] for row in self._rows]

    @property
    def hashes(self) -> list[bytes]:
        """Return the hash of each entry."""
        return [row[_HASH] for row in self._rows]

    def needs_body(self, kinds: str) -> bool:
        """Check whether arrivals have history keys of other kinds, so that keys must be computed from their fields."""
        return any(row[KEY_KINDS] not in (None, kinds) for row in self._rows)

    def read_columns(self, *names: str) -> list[Sequence[Any]]:
        """Return some columns of the head: texts, numbers or bytes of each entry."""
        return [[row[EventRow._fields.index(name)] for row in self._rows] for name in names]

    def read_times(self) -> Longs:
        """Return `at_us` of each entry, int64, (n,)."""
        return np.array([row[AT] for row in self._rows], dtype=np.int64)

    def read_keys(self, kinds: str, width: int) -> tuple[Flags, Matrix]:
        """Return which entries have history keys of some kinds, bool, (n,), and the first bytes of theirs, uint8, (m, width)."""
        same = [row[KEY_KINDS] == kinds for row in self._rows]
        keys = b"".join((row[KEYS] or b"")[:width] for row in compress(self._rows, same))
        if len(keys) != width * sum(same):
            raise build_damage_fault(self.first, "an entry without its history keys")
        return np.array(same, dtype=bool), np.frombuffer(keys, dtype=np.uint8).reshape(-1, width)

    def read_rows(self, without: frozenset[str] = frozenset()) -> list[Columns]:
        """Return the columns of all entries, in order; see `EntryBlock`."""
        arrivals = sum(row[KIND] in ARRIVAL_KINDS for row in self._rows)
        if arrivals and self.body is not None and not without >= BODY_COLUMNS:
            parts = iter(self._read_body(arrivals))
        else:
            parts = iter([(None, None, NOT_READ)] * arrivals)
        return [
            self._complete(row, next(parts) if row[KIND] in ARRIVAL_KINDS else None, without)
            for row in self._rows
        ]

    def _complete(self, row: Columns, part: _BodyRow | None, without: frozenset[str]) -> Columns:
        """Return the columns of an entry, given what the body has of it if it is an arrival."""
        if part is None:
            columns = row[:_HASH]
        else:
            plain, sealed, features = part
            plain = row[PLAIN] if plain is None else plain
            columns = (
                *row[:PLAIN],
                plain,
                sealed,
                *row[KEY_KINDS:FEATURES],
                features,
                *row[FEATURES + 1 : _HASH],
            )
        return _leave_out(columns, without, part is not None) if without else columns

    def _read_body(self, arrivals: int) -> list[_BodyRow]:
        assert self.body is not None
        check_crc(self.body, self.first)
        try:
            found = _decode_body(decompress(memoryview(self.body)[CRC_BYTES:], self.first))
        except msgspec.MsgspecError as error:
            raise build_damage_fault(self.first, str(error)) from None
        if len(found) != arrivals:
            raise build_damage_fault(self.first, "another number of arrivals")
        return found


def _leave_out(columns: Columns, without: frozenset[str], arrives: bool) -> Columns:
    kept = list(columns)
    for place, constant in _list_constants(without, arrives):
        kept[place] = constant
    return tuple(kept)


@cache
def _list_constants(without: frozenset[str], arrives: bool) -> list[tuple[int, bytes | None]]:
    """List the places of the columns of an entry that are left out, with what takes their place."""
    names = without - BODY_COLUMNS | (without & {"sealed", "features"} if arrives else set())
    return [(EventRow._fields.index(name), NOT_READ if name in _MARKED else None) for name in sorted(names)]
