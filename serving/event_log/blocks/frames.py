"""Compressed and checked bytes in the blobs of a block."""

from zlib import crc32

import pyarrow as pa

from consignments.errors import ServiceFault

DENSE_LEVEL = 1
"""Level of zstd for blocks that no request waits for. They are a tenth smaller than with LZ4, which takes half the time."""
MIN_COMPRESSED_BYTES = 64
MAX_FRAME_BYTES = 1 << 30
"""Maximum size of a decompressed frame, far above what MAX_BLOCK_BYTES allows; a larger one is damage."""
CRC_BYTES, SIZE_BYTES = 4, 5
RAW, LZ4, ZSTD = b"\0", b"\1", b"\2"
_CODECS = {LZ4: pa.Codec("lz4_raw"), ZSTD: pa.Codec("zstd", compression_level=DENSE_LEVEL)}


class DamagedBlock(ServiceFault):
    """A block of the log does not hold what was written."""


def build_damage_fault(first: int, got: str) -> DamagedBlock:
    """Build the fault of a block that cannot be decoded; `first` is its first sequence number."""
    return DamagedBlock(
        "the event log is damaged: a block of entries cannot be read",
        where=f"log entry {first}",
        got=got,
        expected="unchanged bytes",
        todo="run npsrisk verify-log, then restore the log from its backup (npsrisk restore)",
    )


def add_crc(content: bytes) -> bytes:
    """Return the content after its CRC-32."""
    return crc32(content).to_bytes(CRC_BYTES, "little") + content


def check_crc(blob: bytes, first: int) -> None:
    """Check the CRC-32 at the beginning of a blob.

    Raises
    ------
    DamagedBlock
        A byte was changed.
    """
    if len(blob) < CRC_BYTES or int.from_bytes(blob[:CRC_BYTES], "little") != crc32(
        memoryview(blob)[CRC_BYTES:]
    ):
        raise build_damage_fault(first, "another checksum")


def make_frame(content: bytes, method: bytes) -> bytes:
    """Return a frame: method, size of the content, and the content, compressed if that makes it smaller (RAW: never)."""
    size = len(content).to_bytes(SIZE_BYTES - 1, "little")
    if method != RAW and len(content) >= MIN_COMPRESSED_BYTES:
        packed: bytes = _CODECS[method].compress(content, asbytes=True)
        if len(packed) < len(content):
            return method + size + packed
    return RAW + size + content


def decompress(frame: bytes | memoryview, first: int) -> bytes:
    """Return the content of a frame.

    Raises
    ------
    DamagedBlock
        It is not a frame.
    """
    size, content = int.from_bytes(frame[1:SIZE_BYTES], "little"), frame[SIZE_BYTES:]
    method = bytes(frame[:1])
    if method == RAW and size == len(content):
        return bytes(content)
    if method not in _CODECS or size > MAX_FRAME_BYTES:
        raise build_damage_fault(first, "an unknown frame")
    try:
        unpacked: bytes = _CODECS[method].decompress(content, size, asbytes=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise build_damage_fault(first, error.__class__.__name__) from None
    if len(unpacked) != size:
        raise build_damage_fault(first, "a frame of another size")
    return unpacked
