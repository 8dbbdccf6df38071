"""Heads of HTTP/1 requests: what RFC 9112 forbids beyond the parser's checks, and the removal of an upgrade."""

import re
from http import HTTPStatus

from serving.http.problems import Refusal

Headers = list[tuple[bytes, bytes]]
"""Header fields in their order, with lower-case names."""
HOST_FORM = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
"""Form of the header `Host`: `uri-host [ ":" port ]` of RFC 9112, section 3.2."""
SINGLE_FIELDS = (
    "host",
    "authorization",
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
)
"""Fields that may occur only once: with two, a proxy and the service could each obey another one."""
FIELD_LINE_BYTES = len(": \r\n")
CLOSE_HEADERS = {"connection": "close"}


def find_head_fault(headers: Headers, http_version: str) -> Refusal | None:
    """Return the refusal of a head that RFC 9112 forbids, or None; `http_version` is that of the request line."""
    if http_version not in ("1.0", "1.1"):
        return _refuse_head(505, f"HTTP/{http_version} is not supported. Send HTTP/1.1.")
    fields = dict(headers)
    if len(fields) < len(headers):
        names = [name.decode("latin-1") for name, _ in headers]
        repeated = [name for name in SINGLE_FIELDS if names.count(name) > 1]
        if repeated:
            return _refuse_head(400, f"The request has more than one header {repeated[0].title()}. Send one.")
    host = fields.get(b"host")
    if host is None and http_version == "1.1":
        return _refuse_head(400, "The header Host is missing. HTTP/1.1 requires it.")
    if host is not None and not HOST_FORM.fullmatch(host):
        return _refuse_head(400, "The header Host is invalid. Expected a host name, with or without a port.")
    return _check_transfer_encoding(fields.get(b"transfer-encoding"), http_version)


def _check_transfer_encoding(value: bytes | None, http_version: str) -> Refusal | None:
    if value is None:
        return None
    if http_version == "1.0":
        return _refuse_head(400, "HTTP/1.0 has no header Transfer-Encoding. Send HTTP/1.1.")
    if value.strip().lower() != b"chunked":
        return _refuse_head(
            501, "Only Transfer-Encoding: chunked is supported. Compress with Content-Encoding: gzip."
        )
    return None


def _refuse_head(status: int, detail: str) -> Refusal:
    return Refusal(HTTPStatus(status), detail, headers=CLOSE_HEADERS)


def measure_head(url: bytes, headers: Headers) -> int:
    """Return the size of a head in bytes, without its request line's method and version."""
    return len(url) + sum(len(name) + len(value) + FIELD_LINE_BYTES for name, value in headers)


def write_head_without_upgrade(method: bytes, url: bytes, http_version: str, headers: Headers) -> bytes:
    """Write the head of a request again, without the request for another protocol.

    Examples
    --------
    >>> write_head_without_upgrade(b"GET", b"/", "1.1", [(b"host", b"a"), (b"upgrade", b"h2c")])
    b'GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n'
    """
    lines = [b"%s %s HTTP/%s" % (method, url, http_version.encode())]
    for name, value in headers:
        if name == b"upgrade":
            continue
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
        lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
