"""Sources of messages: files, folders, zip archives, and files that hold several messages.

Files are mapped, not loaded, so that a file of a million messages needs the memory of one of them. What a network cut into
parts is joined again.
"""

import codecs
import json
import mmap
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from consignments.errors import BadInput, MessageFault, name_file
from consignments.messages.content.trees import HEAD_BYTES, find_root
from consignments.messages.kinds import BLANK, MAX_STREAM_BYTES, build_code_pattern, list_kinds
from consignments.messages.xml_parsing import UTF_16_MARKS

Buffer = bytes | mmap.mmap

MAX_ARCHIVE_MEMBERS = 2_000_000
FIRST_WINDOW_BYTES, WINDOW_GROWTH = 1_024, 4
"""A JSON value is decoded in windows: most end in the first, and all windows of one are at most 4/3 of the last."""
NO_MEMBER_TIME = (1980, 1, 1, 0, 0, 0)
"""What a zip archive says of a file whose time is not known."""
ZIP_MARK = b"PK\x03\x04"
UNREADABLE = (zipfile.BadZipFile, MessageFault, EOFError, NotImplementedError, RuntimeError, ValueError)
"""Errors of a damaged archive."""
XML_START = re.compile(rb"<\?xml\b")
OPENING_TAG = re.compile(rb"""<(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>""")
MAX_UNENDED_NAMES = 50
"""Behind messages that do not end, with so many different roots, no further is looked for."""
TEXT_START = re.compile(
    rb"^[\x01\x02\x03 \t]*(?:%b|<\?xml\b|<[A-Za-z]|\{|UNA.{6}\s*UNB|UNB)" % build_code_pattern().encode(),
    re.MULTILINE,
)
"""The first line of a message that follows another in one file."""
ENVELOPE = re.compile(
    rb"(?:^[\x01\x02\x03 \t]*(?:Q[A-Z][ \t]+[A-Z0-9]{7}.*|(?:[A-Z0-9]{7}[ \t]*)+|\.[A-Z0-9]{7}.*)\r?\n)+\Z",
    re.MULTILINE,
)
"""Lines of a Type B envelope before a first line."""
MAX_ENVELOPE_BYTES = 2_048
"""An envelope has at most 32 addresses of 7 characters, and an origin."""
BLANK_BYTES = BLANK.encode()
BLANKS = re.compile(rb"[%b]*" % BLANK_BYTES)
QUOTING = (b"FMA", b"FNA", b"UNA", b"UNB")
"""Beginnings of a message that contains another: answers that repeat it, and interchanges that wrap it."""
IMP_HEAD = re.compile(
    rb"^[\x01\x02\x03 \t]*(FWB|FHL)[ \t]*/[ \t]*(\d{1,2})[ \t]*\r?\n[ \t]*([^\r\n]*)", re.MULTILINE
)
IMP_SEGMENTS = re.compile(rb"^([A-Z]{3})(?=/|\r?$)", re.MULTILINE)
ONCE_ONLY = frozenset((b"SHP", b"CNE", b"CVD", b"RTG", b"ISU", b"HBS", b"AGT", b"CER"))
"""Segments of which a message has one: a second part never repeats them."""
IMP_CONTINUATION = re.compile(rb"[\x01\x02\x03\s]*+(?:(?:Q[A-Z][ \t]|[.])[^\n]*\n)*+\s*+(?:/|[A-Z]{3}/)")


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as it came."""

    source: str
    content: bytes
    received_at: datetime | None = None
    fault: str = ""


def list_files(paths: Iterable[Path | str]) -> list[Path]:
    """List the files of paths, those of folders by name; what does not exist is listed too and becomes a reject.

    A link in a folder that leads out of it raises `BadInput`: who may write into the folder may not read other files. Pipes in a folder are left
    out, because a reader would wait for a writer.
    """
    return [file for path in map(Path, paths) for file in (_list_folder(path) if path.is_dir() else [path])]


def _list_folder(top: Path) -> Iterator[Path]:
    root = top.resolve()
    for folder, folders, names in os.walk(top):
        folders.sort()
        for path in (Path(folder) / name for name in sorted(names) if not name.startswith(".")):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise BadInput(
                    "a link leads out of the folder",
                    where=name_file(path),
                    expected="messages in the folder itself",
                    todo="remove the link, or name its target on the command line",
                )
            if not path.is_fifo():
                yield path


def read_file(path: Path) -> Iterator[RawMessage]:
    """Yield the messages of one file; what cannot be read is one with a fault."""
    name = name_file(path)
    try:
        stat = path.stat()
        written = datetime.fromtimestamp(stat.st_mtime, UTC)
        with path.open("rb") as opened:
            is_small = stat.st_size < HEAD_BYTES
            buffer = opened.read() if is_small else mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        is_archive = buffer[:4] == ZIP_MARK
        yield from (_read_archive(path, name, written) if is_archive else read_parts(name, buffer, written))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        yield RawMessage(name, b"", None, f"cannot be read; got {reason or 'an error of the system'}")


def _read_archive(path: Path, name: str, written: datetime) -> Iterator[RawMessage]:
    """Yield the messages of each file of an archive with its own time; a file that cannot be read has a fault."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MAX_ARCHIVE_MEMBERS:
                raise MessageFault("too many files in the archive", got=f"{len(members):,}")
            for member in members:
                moment, inside = written, f"{name}/{member.filename}"
                with suppress(ValueError):
                    if member.date_time > NO_MEMBER_TIME:  # in which zone, the archive does not say
                        moment = min(datetime(*member.date_time, tzinfo=UTC), written)
                content, fault = _unpack(archive, member)
                parts = read_parts(inside, content, moment)
                yield from [RawMessage(inside, b"", moment, fault)] if fault else parts
    except UNREADABLE as error:
        yield RawMessage(name, b"", written, f"the archive cannot be read: {type(error).__name__}")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[bytes, str]:
    """Return the content of a member, and why it cannot be read."""
    try:
        with archive.open(member) as file:
            content = file.read(MAX_STREAM_BYTES + 1)
    except Exception as error:
        return b"", f"cannot be unpacked: {type(error).__name__}"
    if len(content) > MAX_STREAM_BYTES:
        return b"", f"too large; expected at most {MAX_STREAM_BYTES:,} bytes"
    is_archive = content[:4] == ZIP_MARK
    return content, "an archive inside an archive; unpack it first" if is_archive else ""


def read_parts(name: str, buffer: Buffer, written: datetime | None = None) -> Iterator[RawMessage]:
    """Yield the messages of a file, or of bytes in memory without a name."""
    parts = split_messages(buffer)
    split = list(islice(parts, 2)) or [b""]
    for number, part in enumerate(chain(split, parts), start=1):
        is_named = bool(name) and len(split) == 1
        yield RawMessage(name if is_named else f"{name} message {number}".lstrip(), part, written)


def split_messages(buffer: Buffer) -> Iterator[bytes]:
    """Split a buffer into its messages, which may be of mixed kinds."""
    position, size = 0, len(buffer)
    if bytes(buffer[:2]) in UTF_16_MARKS or b"\0<" in buffer[:4] or b"<\0" in buffer[:4]:
        yield bytes(buffer[:])  # UTF-16 is never concatenated
        return
    xml_starts = _XmlStarts(buffer)
    while position < size:
        start = BLANKS.match(buffer, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if start >= size:
            return
        mark = buffer[start : start + 1]
        if mark == b"<":
            end = _find_xml_end(buffer, start, xml_starts)
        elif mark in (b"{", b"["):
            end = _find_json_end(buffer, start, size)
        else:
            start = position
            end = _find_text_end(buffer, start, size)
        yield bytes(buffer[start:end])
        position = max(end, position + 1)


class _XmlStarts:
    """The next XML declaration in a buffer, and the roots and comments that do not end; each is searched once."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer, self._next = buffer, -1
        self.unended: dict[tuple[bytes, int], set[int]] = {}
        self._never: set[tuple[bytes, int]] = set()

    def find(self, position: int) -> int:
        """Find the first declaration from a position on; the end of the buffer if there is none."""
        if self._next < position:
            found = XML_START.search(self._buffer, position)
            self._next = found.start() if found else len(self._buffer)
        return self._next

    def find_end(self, name: bytes, start: int, limit: int) -> int | None:
        """Find the end of an element in which its name may stand again; None if it does not end."""
        tags = re.compile(rb"<!--|<!\[CDATA\[|<(/?)" + re.escape(name) + rb"(?=[\s/>])")
        open_at: list[int] = []
        found = tags.search(self._buffer, start, limit)
        while found is not None:
            end = found.end()
            if found[0][:2] == b"<!":
                mark = b"-->" if found[0] == b"<!--" else b"]]>"
                behind = -1 if (mark, limit) in self._never else self._buffer.find(mark, end, limit)
                if behind < 0:  # no other ends either; what stands in it is looked at
                    self._never.add((mark, limit))
                end = max(end, behind)
            elif found[1]:
                if len(open_at) < 2:  # none is open if the root itself is damaged
                    return self._buffer.find(b">", end, limit) + 1 or limit
                open_at.pop()
            else:
                opening = OPENING_TAG.match(self._buffer, found.start(), limit)
                if opening is None or not opening[0].endswith(b"/>"):
                    open_at.append(found.start())
            found = tags.search(self._buffer, end, limit)
        if len(self.unended) < MAX_UNENDED_NAMES:
            self.unended[name, limit] = set(open_at)
        return None

    def find_next_root(self, name: bytes, start: int, limit: int) -> int:
        """Find where the next message begins behind one that does not end: at its root again, or at another that is known."""
        if len(self.unended) >= MAX_UNENDED_NAMES:
            return limit
        roots = (kind.root.encode() for kind in list_kinds() if kind.root and not kind.shared)
        names = b"|".join(map(re.escape, (name, *roots)))
        pattern = re.compile(rb"<(?:[\w.\-]+:)?(?:" + names + rb")(?=[\s/>])")
        found = pattern.search(self._buffer, start + 1, limit)
        return found.start() if found else limit


def _find_xml_end(buffer: Buffer, start: int, starts: _XmlStarts) -> int:
    """Find where a document ends: behind the end of its root, or where the next document begins."""
    root = find_root(buffer[start : start + HEAD_BYTES].decode("latin-1"))
    limit = starts.find(start + 5)
    if root is None:
        return limit
    begin = start + root.start()
    opening = OPENING_TAG.match(buffer, begin, limit)
    if opening and opening[0].endswith(b"/>"):
        return opening.end()
    named = root[0][1:].encode("latin-1")
    if begin in starts.unended.get((named, limit), ()):
        return starts.find_next_root(named, begin, limit)
    closing = re.compile(rb"</" + re.escape(named) + rb"\s*>").search(buffer, start, limit)
    if closing and buffer.find(b"<" + named, begin + 1, closing.start()) < 0:
        return closing.end()
    return starts.find_end(named, begin, limit) or starts.find_next_root(named, begin, limit)


def _find_json_end(buffer: Buffer, start: int, size: int) -> int:
    """Find where a value ends: at its closing bracket, looked for in windows that grow."""
    window = FIRST_WINDOW_BYTES
    while True:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text = decoder.decode(buffer[start : start + window])
        try:
            _, length = json.JSONDecoder().raw_decode(text)
        except RecursionError:
            return size
        except ValueError:
            if start + window >= size or window >= MAX_STREAM_BYTES:
                return size
            window *= WINDOW_GROWTH
        else:
            return start + len(text[:length].encode("utf-8", "surrogateescape"))


def _find_text_end(buffer: Buffer, start: int, size: int) -> int:
    """Find where a message of lines ends: before the first line of the next, and the envelope of that."""
    first = TEXT_START.search(buffer, start)
    if first is None:
        return size
    if first[0].lstrip(BLANK_BYTES)[:1] in (b"<", b"{"):
        return first.start()
    following, quotes = TEXT_START.search(buffer, first.end()), first[0].strip()[:3] in QUOTING
    if following is not None and quotes and b"UNZ" in buffer[first.start() : following.start()]:
        quotes = False
    while following is not None:
        begin = max(first.end(), following.start() - MAX_ENVELOPE_BYTES)
        envelope = ENVELOPE.search(buffer[begin : following.start()])
        if not quotes or envelope:
            return begin + envelope.start() if envelope else following.start()
        following, quotes = TEXT_START.search(buffer, following.end()), False
    return size


def join_continuations(messages: Iterable[RawMessage]) -> Iterator[RawMessage]:
    """Join what a network cut at its greatest length: a Cargo-IMP message, and the part that goes on with it."""
    pending: RawMessage | None = None
    for message in messages:
        body = None if pending is None else _find_continuation(pending, message)
        if pending is not None and body is not None:
            between = b"" if pending.content.endswith(b"\n") else b"\n"
            message = replace(pending, content=pending.content + between + body)
        elif pending is not None:
            yield pending
        pending = message
    if pending is not None:
        yield pending


def _find_continuation(first: RawMessage, second: RawMessage) -> bytes | None:
    """Return what a second part adds to a message; None if it is a message of its own."""
    if not first.content or second.fault or second.content[:1] in (b"<", b"{", b"["):
        return None
    head = IMP_HEAD.search(first.content[:HEAD_BYTES])
    if head is None or first.content.lstrip(BLANK_BYTES)[:1] in (b"<", b"{", b"["):
        return None
    again = IMP_HEAD.search(second.content[:HEAD_BYTES])
    if again is None:
        continues = IMP_CONTINUATION.match(second.content) and not TEXT_START.search(second.content)
        return second.content if continues else None
    same = (again[1], again[2], again[3].strip()) == (head[1], head[2], head[3].strip())
    before, added = (set(IMP_SEGMENTS.findall(each.content)) for each in (first, second))
    if not same or before & added & ONCE_ONLY or not added - {b"FLT", b"MBI"}:
        return None
    return second.content[again.end() :]
