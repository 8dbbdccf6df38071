"""The kinds of messages, and which of them a message is: by its content, never by its file name. `kinds.toml` is the registry."""

import importlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import unwrap_interchange
from consignments.messages.configuration import load_table
from consignments.messages.content import trees
from consignments.messages.parsed import Ignored, MessageContext, Parsed, build_mapping_fault
from consignments.messages.post.mapped import measure_match, read_mapped
from consignments.messages.post.mapping import MessageMapping
from consignments.messages.xml_parsing import parse_xml

MAX_STREAM_BYTES = 300_000_000
"""Bound of the kinds that are read as a stream: 99,999 postal items in one declaration."""
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of compressed files. Zip archives are opened by `consignments.messages.sources`."""


class MessageKind(NamedTuple):
    """One kind of message: what recognises it, and what reads it (`module:function`), or why nothing does."""

    name: str
    root: str = ""
    shared: bool = False
    codes: tuple[str, ...] = ()
    bare: bool = False
    test: str = ""
    pattern: str = ""
    goods: str = ""
    reader: str = ""
    reason: str = ""
    newest: int | None = None
    max_bytes: int = trees.MAX_TREE_BYTES
    page: str = ""
    mapping: MessageMapping | None = None


LINKED = "ONE Record"  # the kind whose documents are read together, because their objects link to each other
WRAPPED_IMP = re.compile(r"UN[AB].{0,600}?(?:CIMF[A-Z]{2}|^[^\S\n]*F(?:WB|HL)/\d)", re.DOTALL | re.MULTILINE)
"""A Cargo-IMP message in an EDIFACT interchange."""


@cache
def list_kinds() -> list[MessageKind]:
    """List the kinds of the registry; of several codes each is one."""
    given = load_table("kinds")["kind"]
    return [
        MessageKind(**{"name": code} | each | {"codes": (code,)})
        for each in given
        for code in each.get("codes", ("",))
    ]


@cache
def build_code_pattern() -> str:
    """Build the pattern of the first line of a text with a code: one of the registry, or of another message of cargo."""
    bare = {kind.codes[0]: kind.bare for kind in list_kinds() if kind.codes[0]}
    versioned, alone = ("|".join(code for code in bare if bare[code] == is_bare) for is_bare in (False, True))
    return rf"(?:F[A-Z]{{2}}|{versioned})[ \t]*/[ \t]*\d{{1,2}}\b|(?:{alone})[ \t]*\r?$"


@cache
def _index_kinds() -> dict[str, MessageKind]:
    """Index the kinds by their root element behind a `<`, or by their code."""
    return {f"<{kind.root}" if kind.root else kind.codes[0]: kind for kind in list_kinds()}


BLANK = " \t\r\n\0\x01\x02\x03\ufeff"
"""What may stand around a message: blanks, a byte-order mark, and characters by which networks control a line."""
UNKNOWN_KIND = "unknown kind of message"


@cache
def _load_function(name: str) -> Any:
    """Load a function when the first message needs it."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"consignments.messages.{module}"), function)


def detect_kind(content: bytes, mappings: Sequence[MessageMapping] = ()) -> MessageKind:
    """Determine the kind of a message; the mappings of a run go before all others for the messages that they are for, the one that matches best."""
    head = trees.take_head(content)
    shares = [measure_match(head, mapping) for mapping in mappings]
    if any(shares):
        mapping = mappings[shares.index(max(shares))]
        return MessageKind(f"mapped by {mapping.name}", max_bytes=MAX_STREAM_BYTES, mapping=mapping)
    text = trees.decode_head(head)
    start = text.lstrip(BLANK)
    root = trees.find_root(start) if start[:1] == "<" else None
    kind = _index_kinds().get(f"<{root[1]}") if root else None
    if kind is not None and kind.reader and not kind.shared:
        return kind
    for mark, name in COMPRESSIONS.items():
        if head.startswith(mark):
            expected = "a message as it is, or a zip archive"
            raise MessageFault("compressed", got=name, expected=expected, todo="decompress it")
    if not start:
        raise MessageFault("empty")
    if WRAPPED_IMP.match(start):
        return _detect_text(unwrap_interchange(start))
    if start[0] == "<" and root is None:
        return MessageKind("XML", reader="kinds:refuse_unknown")
    tested = (each for each in list_kinds() if _passes_test(head, text, each))
    if (found := next(tested, kind)) is not None:
        return found
    if root is not None:
        raise _build_unknown_fault(f"root element {root[1][:60]!r}")
    if start[0] in "{[":
        is_record = '"consignment_id"' in start or '"consignments"' in start
        own = "a record of the service, which is sent as application/json"
        raise _build_unknown_fault(own if is_record else "JSON without a known key")
    return _detect_text(text)


def _passes_test(head: bytes, text: str, kind: MessageKind) -> bool:
    if kind.pattern:
        return re.search(kind.pattern, text) is not None
    return bool(kind.test and _load_function(kind.test)(head))


def refuse_unknown(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Refuse XML whose root could not be found before it was parsed."""
    parse_xml(content, context.notes)
    raise _build_unknown_fault("XML without a known root element")


def _build_unknown_fault(got: str) -> MessageFault:
    return MessageFault(
        UNKNOWN_KIND,
        got=got,
        expected="Cargo-XML, Cargo-IMP, ONE Record, ICS2 or a postal declaration",
        todo="leave it out, or draft a mapping for it (npsrisk read --draft-mapping; in the service NPSRISK_MAPPINGS_DIR)",
    )


def _detect_text(text: str) -> MessageKind:
    for line in text.splitlines():
        found = re.match(build_code_pattern(), line.strip(BLANK), re.ASCII)
        if found:
            code = found[0].partition("/")[0].rstrip()
            other = MessageKind(code, reason="a message of cargo that holds no goods")
            return _index_kinds().get(code, other)
    raise _build_unknown_fault("a text without a known first line")


def read_message_parts(content: bytes, context: MessageContext, kind: MessageKind) -> Iterator[Parsed]:
    """Yield what a message of a kind holds."""
    trees.refuse_large(content, kind.max_bytes)
    if kind.mapping is not None:
        yield from read_mapped(content, context, kind.mapping)
    elif kind.reader:
        yield from _load_function(kind.reader)(content, context)
    elif kind.goods and re.search(kind.goods.encode(), content):
        raise build_mapping_fault(kind.name)
    else:
        yield Ignored(kind.name, kind.reason)
