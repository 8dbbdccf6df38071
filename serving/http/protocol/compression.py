"""gzip in both directions: bodies of requests within the size limit, and large responses to clients that accept it."""

import zlib

GZIP = b"gzip"
GZIP_WINDOW = zlib.MAX_WBITS | 16  # window of zlib with the header and checksum of gzip
COMPRESSION_LEVEL = 1
MIN_COMPRESSED_BYTES = 8_192
"""Minimum size of a response that is compressed. A score has about 1 kB."""
NON_ZERO = frozenset("123456789")


class CompressionFault(Exception):
    """A body is not valid gzip."""


class InflatedTooLarge(Exception):
    """An inflated body exceeds its limit."""


def inflate(body: bytes, limit: int) -> bytes:
    """Decompress a gzip body of one member; `InflatedTooLarge` if it exceeds the limit, beyond which nothing is inflated."""
    inflater = zlib.decompressobj(GZIP_WINDOW)
    try:
        result = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise CompressionFault("it is damaged, or not gzip") from error
    if len(result) > limit:
        raise InflatedTooLarge
    if not inflater.eof:
        raise CompressionFault("it is cut off")
    if inflater.unused_data:
        raise CompressionFault("bytes follow after its end")
    return result


def deflate(body: bytes) -> bytes:
    """Compress a body with gzip."""
    return zlib.compress(body, COMPRESSION_LEVEL, GZIP_WINDOW)


def accepts_gzip(accept_encoding: bytes | None) -> bool:
    """Check whether the header `Accept-Encoding` allows gzip."""
    if accept_encoding is None:
        return False
    weights: dict[str, str] = {}
    for part in accept_encoding.decode("latin-1").lower().split(","):
        name, _, weight = "".join(part.split()).partition(";q=")
        weights[name] = weight or "1"
    weight = next((weights[name] for name in ("gzip", "x-gzip", "*") if name in weights), "0")
    return not NON_ZERO.isdisjoint(weight)
