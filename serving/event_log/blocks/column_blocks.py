"""Blocks of entries as columns: the values of one field of all entries, one after the other (`columns`)."""

import struct
from collections.abc import Sequence
from functools import cache
from itertools import compress
from typing import Any

import msgspec
import numpy as np

from serving.encryption.key_file import PREFIX_BYTES
from serving.event_log.blocks.columns import (
    BytesColumn,
    Flags,
    FloatColumn,
    IntColumn,
    Matrix,
    TextColumn,
    pack_bytes,
    pack_floats,
    pack_ints,
    pack_texts,
    pick_bytes,
    pick_float,
    pick_int,
    pick_text,
    unpack_bytes,
    unpack_floats,
    unpack_ints,
    unpack_longs,
    unpack_matrix,
    unpack_texts,
)
from serving.event_log.blocks.entry_block import (
    ASKED_BY,
    AT,
    BAND,
    BODY_COLUMNS,
    CONTENT,
    FEATURES,
    HISTORY,
    KEY_KINDS,
    KEYS,
    KIND,
    MODEL,
    MODEL_SHA256,
    NAME,
    PLAIN,
    REASONS,
    RECORDED,
    SCORE,
    SEALED,
    SPEC_SHA256,
    BlobPair,
    EntryBlock,
    Longs,
    mark_plain,
)
from serving.event_log.blocks.feature_words import WORD_BYTES, PackedWords, pack_words, unpack_words
from serving.event_log.blocks.frames import (
    CRC_BYTES,
    add_crc,
    build_damage_fault,
    check_crc,
    decompress,
    make_frame,
)
from serving.event_log.event_rows import Columns, EventRow
from serving.event_log.events import ARRIVAL_KINDS, NOT_READ

LENGTH_BYTES = 4
MIN_PACKED_ROWS = 4
"""Feature rows from which on packing them is worth its time."""


class _Head(msgspec.Struct, array_like=True, gc=False):
    """The columns of all entries; of arrivals without what the body holds.

    `plain` of an arrival is NOT_READ, or EMPTY if its content was removed, and `sealed` is its key prefix.
    """

    kind: TextColumn
    consignment_id: TextColumn
    at_us: IntColumn
    recorded_us: IntColumn
    content: BytesColumn
    plain: BytesColumn
    sealed: BytesColumn
    kinds: TextColumn
    keys: BytesColumn
    score: FloatColumn
    band: TextColumn
    reasons: BytesColumn
    model: TextColumn
    model_sha256: TextColumn
    spec_sha256: TextColumn
    asked_by: TextColumn
    history_sequence: IntColumn
    hash: BytesColumn


class _PackedFeatures(msgspec.Struct, array_like=True, gc=False):
    """Feature rows of one width; `present` has a byte for each arrival, which is 0 if it has none."""

    width: int
    present: bytes
    codes: bytes
    others: bytes


class _Body(msgspec.Struct, array_like=True, gc=False):
    """The compressed columns of arrivals; `features` are packed if all of them have one width."""

    plain: BytesColumn
    packed: _PackedFeatures | None
    features: BytesColumn


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_body = msgspec.msgpack.Decoder(_Body).decode
_decode_sealed = msgspec.msgpack.Decoder(BytesColumn).decode


def encode_columns(rows: Sequence[Columns], hashes: Sequence[bytes], method: bytes) -> BlobPair:
    """Encode entries as columns."""
    columns: list[Any] = list(zip(*rows, strict=True))
    kinds, plain, sealed = columns[KIND], columns[PLAIN], columns[SEALED]
    prefixes = [part if part is None else part[:PREFIX_BYTES] for part in sealed]
    if set(kinds).issubset(ARRIVAL_KINDS):
        body = _encode_body(method, plain, sealed, columns[FEATURES])
        plain, sealed = list(map(mark_plain, plain)), prefixes
    else:
        arrives = [kind in ARRIVAL_KINDS for kind in kinds]
        of_arrivals = [list(compress(columns[place], arrives)) for place in (PLAIN, SEALED, FEATURES)]
        body = _encode_body(method, *of_arrivals) if any(arrives) else b""
        plain = [mark_plain(part) if own else part for part, own in zip(plain, arrives, strict=True)]
        sealed = [
            prefix if own else part for part, prefix, own in zip(sealed, prefixes, arrives, strict=True)
        ]
    head = _Head(
        pack_texts(kinds),
        pack_texts(columns[NAME]),
        pack_ints(columns[AT]),
        pack_ints(columns[RECORDED]),
        pack_bytes(columns[CONTENT]),
        pack_bytes(plain),
        pack_bytes(sealed),
        pack_texts(columns[KEY_KINDS]),
        pack_bytes(columns[KEYS]),
        pack_floats(columns[SCORE]),
        pack_texts(columns[BAND]),
        pack_bytes(columns[REASONS]),
        pack_texts(columns[MODEL]),
        pack_texts(columns[MODEL_SHA256]),
        pack_texts(columns[SPEC_SHA256]),
        pack_texts(columns[ASKED_BY]),
        pack_ints(columns[HISTORY]),
        pack_bytes(hashes),
    )
    return BlobPair(add_crc(make_frame(_encode(head), method)), body)


def _encode_body(
    method: bytes, plain: Sequence[Any], sealed: Sequence[Any], features: Sequence[Any]
) -> bytes:
    packed = _pack_features(features)
    body = _Body(pack_bytes(plain), packed, pack_bytes(features) if packed is None else None)
    frame = make_frame(_encode(body), method)
    return add_crc(len(frame).to_bytes(LENGTH_BYTES, "little") + frame + _encode(pack_bytes(sealed)))


def _pack_features(features: Sequence[bytes | None]) -> _PackedFeatures | None:
    """Pack feature rows of one width; return None if they have none, or different ones, or are few."""
    rows = [row for row in features if row is not None]
    if len(rows) < MIN_PACKED_ROWS:
        return None
    width, rest = divmod(len(rows[0]) if rows else 0, WORD_BYTES)
    joined = b"".join(rows)
    if not width or rest or set(map(len, rows)) != {WORD_BYTES * width}:
        return None
    present = bytes([row is not None for row in features])
    return _PackedFeatures(width, present, *pack_words(joined, width))


class ColumnBlock(EntryBlock):
    """A block of columns that was read, see `EntryBlock`; `head` is the content of the frame."""

    __slots__ = ("_head",)

    def __init__(self, first: int, last: int, head: bytes, body: bytes | None) -> None:
        super().__init__(first, last, body)
        try:
            self._head = _decode_head(head)
        except msgspec.MsgspecError as error:
            raise build_damage_fault(first, str(error)) from None

    @property
    def names(self) -> list[str | None]:
        """Return the identifier of each entry, None if it has none."""
        names: list[str | None] = self._read(unpack_texts, self._head.consignment_id)
        return names

    def needs_body(self, kinds: str) -> bool:
        """Check whether arrivals have history keys of other kinds, so that keys must be computed from their fields."""
        found = self._head.kinds
        if isinstance(found, list):
            return found.count(kinds) + found.count(None) != len(found)
        return found is not None and found != kinds

    @property
    def hashes(self) -> list[bytes]:
        """Return the hash of each entry."""
        hashes: list[bytes] = self._read(unpack_bytes, self._head.hash)
        return hashes

    def read_rows(self, without: frozenset[str] = frozenset()) -> list[Columns]:
        """Return the columns of all entries, in order; see `EntryBlock`."""
        return list(zip(*self._read(self._list_columns, without), strict=True))

    def read_row(self, place: int, without: frozenset[str] = frozenset()) -> Columns:
        """Return the columns of one entry, as `read_rows` does, without decoding those of the others."""
        if self.body is not None and not without >= BODY_COLUMNS:
            return self.read_rows(without)[place]
        try:
            return self._pick_row(place, without)
        except (IndexError, struct.error) as error:
            raise build_damage_fault(self.first, str(error)) from None

    def _pick_row(self, place: int, without: frozenset[str]) -> Columns:
        head, count = self._head, self.count
        arrives = pick_text(head.kind, count, place) in ARRIVAL_KINDS
        picked = [
            constant if pick is None else pick(getattr(head, name), count, place)
            for name, pick, constant in _plan_row(without, arrives)
        ]
        return (self.first + place, *picked)

    def read_columns(self, *names: str) -> list[Sequence[Any]]:
        """Return some columns of the head: texts, numbers or bytes of each entry."""
        return [self._read(_COLUMNS[name][0], getattr(self._head, name)) for name in names]

    def read_times(self) -> Longs:
        """Return `at_us` of each entry, int64, (n,)."""
        times: Longs = self._read(unpack_longs, self._head.at_us)
        return times

    def read_keys(self, kinds: str, width: int) -> tuple[Flags, Matrix]:
        """Return which entries have history keys of some kinds, bool, (n,), and the first bytes of theirs, uint8, (m, width)."""
        found = self._head.kinds
        if isinstance(found, list):
            same = np.array([each == kinds for each in found], dtype=bool)
        else:
            same = np.full(self.count, found == kinds)
        if not same.any():
            return same, np.empty((0, width), dtype=np.uint8)
        if len(same) != self.count:
            raise build_damage_fault(self.first, "another number of values")
        matrix: Matrix = self._read(lambda column, _: unpack_matrix(column, same, width), self._head.keys)
        return same, matrix

    def _list_columns(self, without: frozenset[str], count: int) -> list[Sequence[Any]]:
        head, none = self._head, [None] * count
        kinds = unpack_texts(head.kind, count)
        plain, sealed, features = self._merge_body(kinds, without)
        given = {
            "sequence": range(self.first, self.last + 1),
            "plain": plain,
            "sealed": sealed,
            "features": features,
        }
        columns: list[Sequence[Any]] = []
        for name in EventRow._fields:
            if name in given:
                columns.append(given[name])
            elif name in without:
                columns.append([NOT_READ] * count if name in _BYTES_COLUMNS else none)
            else:
                columns.append(_COLUMNS[name][0](getattr(head, name), count))
        return columns

    def _merge_body(
        self, kinds: Sequence[Any], without: frozenset[str]
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Return `plain`, `sealed` and `features` of all entries: of arrivals from the body, of others from the head."""
        count = self.count
        plain, sealed = unpack_bytes(self._head.plain, count), unpack_bytes(self._head.sealed, count)
        places = [place for place, kind in enumerate(kinds) if kind in ARRIVAL_KINDS]
        features: list[Any] = [None] * count
        if self.body is None or not places or without >= BODY_COLUMNS:
            for place in places:
                sealed[place] = None
                features[place] = NOT_READ
            return plain, sealed, features
        for place, *values in zip(places, *self._read_body(len(places), without), strict=True):
            plain[place], sealed[place], features[place] = values
        return plain, sealed, features

    def _read_body(self, count: int, without: frozenset[str]) -> tuple[list[Any], list[Any], list[Any]]:
        assert self.body is not None
        check_crc(self.body, self.first)
        content = memoryview(self.body)[CRC_BYTES:]
        end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
        body = _decode_body(decompress(content[LENGTH_BYTES:end], self.first))
        sealed = [None] * count if "sealed" in without else unpack_bytes(_decode_sealed(content[end:]), count)
        features = [NOT_READ] * count if "features" in without else _unpack_features(body, count)
        return unpack_bytes(body.plain, count), sealed, features

    def _read(self, unpack: Any, column: Any) -> Any:
        try:
            return unpack(column, self.count)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise build_damage_fault(self.first, str(error)) from None


@cache
def _plan_row(without: frozenset[str], arrives: bool) -> list[tuple[str, Any, bytes | None]]:
    """List how the columns of an entry are read from the head: their name, and how, or else a constant."""
    constants: dict[str, bytes | None] = {
        name: NOT_READ if name in _BYTES_COLUMNS else None for name in without - BODY_COLUMNS
    }
    constants |= {"features": NOT_READ if arrives else None}
    if arrives:
        constants["sealed"] = None
    return [
        (name, None if name in constants else pick, constants.get(name))
        for name, (_, pick) in _COLUMNS.items()
    ]


def _unpack_features(body: _Body, count: int) -> list[Any]:
    packed = body.packed
    if packed is None:
        return unpack_bytes(body.features, count)
    present = [byte != 0 for byte in packed.present]
    rows, size = sum(present), WORD_BYTES * packed.width
    joined = unpack_words(PackedWords(packed.codes, packed.others), rows, packed.width)
    if len(present) != count:
        raise ValueError("features of another number of entries")
    if rows == count:
        return [joined[start : start + size] for start in range(0, len(joined), size)]
    pieces = iter([joined[start : start + size] for start in range(0, len(joined), size)])
    return [next(pieces) if there else None for there in present]


_TEXTS, _BYTES = (unpack_texts, pick_text), (unpack_bytes, pick_bytes)
_INTS, _FLOATS = (unpack_ints, pick_int), (unpack_floats, pick_float)
_COLUMNS: dict[str, Any] = {
    "kind": _TEXTS, "consignment_id": _TEXTS, "at_us": _INTS, "recorded_us": _INTS, "content": _BYTES, "plain": _BYTES,
    "sealed": _BYTES, "kinds": _TEXTS, "keys": _BYTES, "features": _BYTES, "score": _FLOATS, "band": _TEXTS,
    "reasons": _BYTES, "model": _TEXTS, "model_sha256": _TEXTS, "spec_sha256": _TEXTS, "asked_by": _TEXTS,
    "history_sequence": _INTS,
}  # fmt: skip
"""How a column is unpacked, and how one value of it is; in the order of `EventRow` after the sequence number."""
_BYTES_COLUMNS = frozenset(name for name, forms in _COLUMNS.items() if forms is _BYTES)
