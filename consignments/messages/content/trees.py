"""Messages as plain trees: XML and JSON in one shape, XML as a stream of records in bounded memory.

A node is a dict from a name in lower case, without namespace, to the list of all values of that name: further nodes, or
texts, numbers, flags. An attribute is `@name`; the text of an XML element that has attributes or children is `#text`.
"""

import json
import re
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from lxml import etree

from consignments.errors import MessageFault
from consignments.identifiers import parse_s10
from consignments.messages import xml_parsing

Node: TypeAlias = dict[str, list[Any]]

CHUNK_BYTES = 1 << 16
MAX_RECORD_BYTES = 20_000_000
"""The largest part of an XML message between two records: one consignment with 10 MB of attached files, as ICS2 allows."""
MAX_RECORD_TAGS = 400_000
"""Tags of that part; a consignment with 10,000 items of 15 elements fits."""
MAX_TREE_TAGS = 800_000
"""Tags of a message that is held as a whole; an answer about 99,999 items fits."""
MAX_TREE_BYTES = 10_000_000
"""The largest message that is held as a whole; XML of records may be larger, and is read as a stream."""
MAX_JSON_CONTAINERS = 400_000
"""Objects and lists of one JSON message; those of 1,000 items for each of 400 declarations fit."""
MAX_JSON_DIGITS = 300
HEAD_BYTES = 65_536
"""How much of a message says what it is, envelopes included and long texts not."""
LONG_TEXT = re.compile(rb"(?<![\w+/=\\\r\n])([\w+/=\\\r\n]{100})[\w+/=\\\r\n]{1900,}")
"""A label or document in base64, which stands before the goods in many interfaces, and its beginning."""
TEXT, KEY = "#text", "@key"
ROOT = re.compile(r"<(?![?!])(?:[^\s<>/:]+:)?([^\s<>/:]+)")
MARKUP = re.compile(r"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>|<(?!\?|!--|!DOCTYPE)", re.DOTALL)
"""An instruction, a comment or a document type that ends, or the beginning of something else."""
NOT_BLANK = re.compile(rb"[^ \t\r\n\0]")
NAME = rb"<(?:[\w.\-]+:)?(%s)(?=[\s/>])"


def take_head(content: bytes) -> bytes:
    """Return the beginning of a message that says what it is, without long texts in it."""
    if len(content) > HEAD_BYTES and LONG_TEXT.search(content, 0, HEAD_BYTES):
        content = LONG_TEXT.sub(rb"\1", content[:MAX_TREE_BYTES])
    return content[:HEAD_BYTES]


def decode_head(content: bytes) -> str:
    """Decode the beginning of a message for detection: without byte-order mark, NUL bytes and leading space."""
    part = take_head(content)
    encoding = "utf-16" if part.startswith(xml_parsing.UTF_16_MARKS) else "utf-8"
    return part.decode(encoding, "replace").replace("\0", "").lstrip("\ufeff \t\r\n")


def name_content(content: bytes) -> str:
    """Return what a message is for an error: its root element, JSON or a text; never a value, which may be personal."""
    text = decode_head(content)
    if text[:1] in ("{", "["):
        return "JSON"
    root = find_root(text) if text.startswith("<") else None
    return f"root element {root[1][:60]}" if root else "a text"


def find_root(text: str) -> re.Match[str] | None:
    """Find the root element behind instructions, comments and a document type, each of which is passed once."""
    place = text.find("<")
    while place >= 0:
        root = ROOT.match(text, place)
        if root is not None:
            return root
        markup = MARKUP.match(text, place)
        if markup is None:
            return ROOT.search(text, place)
        place = text.find("<", markup.end())
    return None


def has_name(text: str, name: str) -> bool:
    """Check whether a name is an element or an attribute of XML, or a key of JSON, in a text."""
    return name in _lower(text) and _compile_name(name).search(text) is not None


_lower = lru_cache(maxsize=1)(str.lower)
"""Many names are looked for in one text; most are not in it, which takes a tenth of the search by pattern."""


@lru_cache(maxsize=1024)
def _compile_name(name: str) -> re.Pattern[str]:
    before = r"""(?:<(?:[\w.\-]+:)?|["'.]|\s)"""
    return re.compile(rf"""{before}{re.escape(name)}(?:[\s/>"']|=["'])""", re.IGNORECASE)


def refuse_large(content: bytes, limit: int = MAX_TREE_BYTES) -> None:
    """Refuse a message that is too large, by default for one that is held in memory as a whole."""
    if len(content) > limit:
        got, expected = f"{len(content):,} bytes", f"at most {limit:,}"
        raise MessageFault("too large", got=got, expected=expected, todo="send several messages")


def prepare_xml(content: bytes, notes: list[str]) -> bytes:
    """Check a message and bring it to an encoding in which tags are plain bytes."""
    if NOT_BLANK.search(content) is None:
        raise MessageFault("empty")
    if content.startswith(xml_parsing.UTF_16_MARKS) or b"\0" in content[:64]:
        content = xml_parsing.rewrite_xml(content, notes)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise xml_parsing.build_hostile_fault()
    return content


def find_tag(content: bytes, names: Sequence[str]) -> str | None:
    """Find the first of several names that is an element of the message, in any case, and return it as it is written."""
    for name in names:
        if found := re.search(NAME % re.escape(name.encode()), content, re.IGNORECASE):
            return found[1].decode()
    return None


def stream_records(content: bytes, tag: str) -> Iterator[Node]:
    """Yield each element of a local name as a tree; only one of them is in memory."""
    for element in _stream_elements(content, tag):
        yield convert_element(element)


def read_frame(content: bytes, tag: str, notes: list[str]) -> tuple[bytes, Node]:
    """Read all that stands outside the elements of a local name as one tree, and return it with the message, repaired if it must be."""
    root: Any = None
    try:
        for element in _stream_elements(content, tag):
            root = element.getroottree().getroot()
    except MessageFault:
        repaired = xml_parsing.repair_xml(content, notes)
        if repaired is not content:  # which has nothing more to repair
            return read_frame(repaired, tag, notes)
    return content, {} if root is None else convert_element(root)


def read_beginning(content: bytes, size: int) -> Node:
    """Read the first bytes of a message as a tree, as far as it is well formed."""
    root: Any = etree.fromstring(content[:size], etree.XMLParser(**xml_parsing.SAFE_SETTINGS, recover=True))
    return {} if root is None else convert_element(root)


def _stream_elements(content: bytes, tag: str) -> Iterator[Any]:
    """Yield elements when they end, and empty them before the next one."""
    parser: Any = etree.XMLPullParser(("end",), tag=f"{{*}}{tag}", **xml_parsing.SAFE_SETTINGS)
    last_end = tags = 0
    try:
        for start in range(0, len(content), CHUNK_BYTES):
            chunk = content[start : start + CHUNK_BYTES]
            parser.feed(chunk)
            tags += chunk.count(b"<")
            for _, element in parser.read_events():
                if element.getroottree().docinfo.internalDTD is not None:
                    raise xml_parsing.build_hostile_fault()
                yield element
                element.clear()
                parent, before = element.getparent(), element.getprevious()
                if before is not None and before.tag == element.tag:
                    parent.remove(before)
                last_end, tags = start, chunk.count(b"<")
            if start - last_end > MAX_RECORD_BYTES or tags > MAX_RECORD_TAGS:
                raise MessageFault(
                    "one consignment is too large",
                    where=f"byte {last_end:,}",
                    expected=f"at most {MAX_RECORD_BYTES:,} bytes and {MAX_RECORD_TAGS:,} tags",
                )
        root: Any = parser.close()
    except etree.XMLSyntaxError as error:
        raise xml_parsing.build_syntax_fault(error, content) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise xml_parsing.build_hostile_fault()


def parse_xml_tree(content: bytes, notes: list[str]) -> tuple[str, Node]:
    """Parse a whole message, repaired if it must be; return the local name of its root, and the tree."""
    refuse_large(content)
    root = xml_parsing.parse_xml(content, notes, MAX_TREE_TAGS)
    return xml_parsing.get_local_name(root.tag), convert_element(root)


def convert_element(element: Any) -> Node:
    """Convert an element and all below it; its own text is `#text`."""
    found = _convert(element)
    return found if isinstance(found, dict) else {TEXT: [found]}


def _convert(element: Any) -> Any:
    text = element.text
    if not len(element) and not element.attrib:
        return text or ""
    node: Node = {}
    for name, value in element.attrib.items():
        node[f"@{xml_parsing.lower_local_name(name)}"] = [value]
    if text and not text.isspace():
        node[TEXT] = [text]
    for child in element:
        tag = child.tag
        if isinstance(tag, str):  # an entity that was not expanded has no name
            node.setdefault(xml_parsing.lower_local_name(tag), []).append(_convert(child))
    return node


def _build_node(pairs: list[tuple[str, Any]]) -> Node:
    """Build a node in which nothing is lost if a name is repeated, as in XML."""
    node: Node = {}
    for name, value in pairs:
        node.setdefault(name.strip().lower(), []).extend(_flatten(value))
    return node


def _flatten(value: Any) -> list[Any]:
    """List a value, or all values of a list and of lists in it; an object is one if its parts are named by numbers or by identifiers.

    An identifier becomes the value `@key` of its part.
    """
    if isinstance(value, list):
        return [each for part in value for each in _flatten(part)]
    if not isinstance(value, dict) or not all(name.isdecimal() or parse_s10(name) for name in value):
        return [value]
    parts = [
        (name, part if name.isdecimal() or isinstance(part, dict) else {TEXT: [part]})
        for name, parts in value.items()
        for part in parts
    ]
    if not parts or not all(isinstance(part, dict) for _, part in parts):
        return [value]
    return [part if name.isdecimal() else {KEY: [name.upper()], **part} for name, part in parts]


def parse_json_tree(content: bytes) -> Node:
    """Decode JSON as a tree; a list at the top stands under `#text`."""
    value = decode_json(content)
    try:
        values = _flatten(value)
        return values[0] if isinstance(value, dict) and len(values) == 1 else {TEXT: values}
    except RecursionError as error:
        raise MessageFault("nested too deep") from error


def decode_json(content: bytes) -> Any:
    """Decode JSON as Python values, its objects as nodes; a number out of range is infinite."""
    _refuse_many(content)
    try:
        text = _decode_text(content).decode("utf-8", "replace").strip(" \t\r\n\0")
        return json.loads(text, parse_int=_parse_integer, object_pairs_hook=_build_node, strict=False)
    except RecursionError as error:
        raise MessageFault("nested too deep") from error
    except json.JSONDecodeError as error:
        where = f"character {error.pos:,}"
        raise MessageFault("not JSON", where=where, got=error.msg, todo="fetch it again") from error
    except ValueError as error:
        raise MessageFault("not JSON", got="of no known encoding", todo="fetch it again") from error


def split_array(content: bytes) -> list[bytes]:
    """Split a JSON array into the texts of its members, none of which is decoded unless it must be repaired."""
    _refuse_many(content)
    try:
        members = msgspec.json.decode(_decode_text(content), type=list[msgspec.Raw])
        return list(map(bytes, members))
    except (RecursionError, msgspec.DecodeError, UnicodeError):
        return [json.dumps(member).encode() for member in decode_json(content)]


def _refuse_many(content: bytes) -> None:
    refuse_large(content)
    count = content.count(b"{") + content.count(b"[")
    if count > MAX_JSON_CONTAINERS:
        raise MessageFault("too many values", got=f"{count:,}", expected=f"at most {MAX_JSON_CONTAINERS:,}")


def _decode_text(content: bytes) -> bytes:
    if content.startswith(xml_parsing.UTF_16_MARKS):
        return content.decode("utf-16").encode()
    return content.removeprefix(b"\xef\xbb\xbf")


def _parse_integer(digits: str) -> float | int:
    return int(digits) if len(digits) <= MAX_JSON_DIGITS else float("inf")


def walk_nodes(node: Any, left_out: Set[int] = frozenset()) -> Iterator[tuple[str, Node]]:
    """Yield each node below one with its name, parents first; not those whose `id` is left out, nor what is below them."""
    stack: list[tuple[str, Any]] = [("", node)]
    while stack:
        name, here = stack.pop()
        if not isinstance(here, dict) or id(here) in left_out:
            continue
        yield name, here
        below = [(key, value) for key, values in here.items() for value in values if isinstance(value, dict)]
        stack.extend(reversed(below))
