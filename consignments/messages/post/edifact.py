"""EDIFACT interchanges (ISO 9735) as trees: what a segment map in a mapping file needs, and no more.

A message is a node with one entry for each segment tag: a list of nodes. The elements of a segment are `1`, `2`, …; if an element
has several components, they are `1`, `2`, … inside it. So the name in `NAD+CZ+++Shop:Ltd'` is `NAD[1=CZ]/4/1`. `UNH/2/1` is the
type of the message. A segment map groups segments: all that follow a segment of one tag, up to the next, belong to it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from consignments.errors import MessageFault
from consignments.messages.configuration import load_table
from consignments.messages.content.trees import TEXT, Node, refuse_large
from consignments.messages.parsed import Ignored, MessageContext, Parsed, build_mapping_fault

MAX_SEGMENTS = 400_000
MAX_MESSAGE_PARTS = 200_000  # components of one message; an item of 1,000 kinds of goods has some 30,000
MAX_PARTS = 200
"""Elements of a segment, and components of an element; ISO 9735 has no message with more than a few dozen."""
START = re.compile(r"\s*(UNA.{6}\s*)?(UNB|UNG|UNH)(?=[^A-Za-z0-9])", re.DOTALL)
TAG = re.compile(r"[A-Z]{3}", re.ASCII)
ENVELOPE = ("UNB", "UNG", "UNE", "UNZ")  # segments that stand outside of a message
BLANK = "\r\n \t"
FIRST_HELD = 0xFDD0
"""The first of the characters of Unicode that no text has: they hold the places of released separators."""
NO_TEXT = dict.fromkeys((0, *range(FIRST_HELD, FIRST_HELD + 4)))  # characters that are removed
AGAIN = "fetch it again; nothing from there on was read"
MESSAGE_TYPE = re.compile(r"UNH[^A-Za-z0-9][^+]{0,40}\+([A-Z0-9]{3,6})")
DEFAULT_ADVICE = "UNA:+.? '"
"""The service string advice of level A: what parts components and elements, the release, and the end of a segment."""
Segment = list[list[str]]  # elements of components; the first component of the first element is the tag


def looks_like_edifact(head: bytes) -> bool:
    """Check whether a message begins like an EDIFACT interchange or message."""
    return START.match(_decode(head[:200])) is not None


def find_message_type(head: bytes) -> str | None:
    """Find the type of the first message, such as ITMATT; None if it is not at the beginning."""
    found = MESSAGE_TYPE.search(_decode(head[:2000]))
    return found[1] if found else None


def read_edifact(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Name a message; one that declares goods is refused, because only a mapping can read it."""
    del context
    kind, table = find_message_type(content) or "interchange", load_table("post/edifact")
    if kind in table["goods"]:
        raise build_mapping_fault(f"EDIFACT {kind}")
    meaning = table["types"].get(kind, "a message that is not of post")
    yield Ignored(f"EDIFACT {kind}", f"{meaning}; it is read by a segment map in a mapping file only")


def read_interchange(content: bytes, settings: Mapping[str, Sequence[str]]) -> Iterator[Node | MessageFault]:
    """Yield each message of an interchange as a tree; one of another type than the mapping's is a fault, unless it holds no goods.

    The settings are the tags of groups (`group`), those that end a group (`until`), and the types of messages (`types`).
    """
    table, types = load_table("post/edifact"), settings.get("types", ())
    for segments in _split_messages(content):
        kind = segments[0][2][0] if len(segments[0]) > 2 else ""
        if not types or kind in types:
            yield _group_segments(segments, settings.get("group", ()), settings.get("until", ()))
        elif kind in table["goods"] or kind not in table["types"]:
            yield MessageFault("a message of another type", got=kind[:6], expected=" or ".join(types))


def _decode(content: bytes) -> str:
    text = content.decode("utf-8-sig", "replace")
    return (text if "\ufffd" not in text else content.decode("latin-1")).translate(NO_TEXT)


def _split_messages(content: bytes) -> Iterator[list[Segment]]:
    """Split at UNH and UNT, and compare the counts and references of UNT and UNZ with what was read."""
    current: list[Segment] = []
    parts = messages = groups = 0
    last = ""
    for segment in split_segments(content):
        tag = segment[0][0]
        parts = sum(map(len, segment)) + (0 if tag == "UNH" else parts)
        if parts > MAX_MESSAGE_PARTS:
            expected = f"at most {MAX_MESSAGE_PARTS:,} components"
            raise MessageFault("one message is too large", expected=expected)
        if tag == "UNA" and not current:  # another interchange follows on the same line
            continue
        if bool(current) == (tag in (*ENVELOPE, "UNH")):
            where = f"behind message {messages}"
            raise MessageFault("a message lacks its UNH or UNT", where=where, got=tag[:3], todo=AGAIN)
        if tag in ENVELOPE:
            last, groups = tag, groups + (tag == "UNE")
            if tag == "UNZ":
                _check_trailer(segment, groups or messages, [], "UNZ")
            continue
        current.append(segment)
        if tag == "UNT":
            messages += 1
            _check_trailer(segment, len(current), current[0], f"UNT of message {messages}")
            yield current
            current = []
    if current or last not in ("", "UNZ"):
        raise MessageFault("cut in half: it ends before its UNT or UNZ", todo=AGAIN)


def _check_trailer(trailer: Segment, count: int, head: Segment, where: str) -> None:
    """Refuse a trailer whose count is not what was read, or whose reference is not that of the head."""
    counted, reference = (element[0] for element in [*trailer[1:3], [""], [""]][:2])
    if counted.isdecimal() and int(counted) != count:
        raise MessageFault("a wrong count", where=where, got=counted[:9], expected=f"{count}", todo=AGAIN)
    if head[1:] and reference and reference != head[1][0]:
        raise MessageFault("another reference than that of UNH", where=where, todo=AGAIN)


def split_segments(content: bytes) -> Iterator[Segment]:
    """Yield the segments of an interchange."""
    refuse_large(content)
    text = _decode(content)
    begin = START.match(text)
    if begin is None:
        raise MessageFault("not EDIFACT", expected="UNA, UNB or UNH at the beginning")
    advice = begin[1] or DEFAULT_ADVICE
    marks = component, element, release, terminator = advice[3], advice[4], advice[6], advice[8]
    if len(set(marks)) < len(marks):
        raise MessageFault("separators are not different", where="UNA", got=repr(advice.strip()))
    held = {mark: chr(FIRST_HELD + place) for place, mark in enumerate(marks)}
    released = re.compile(f"{re.escape(release)}(.)", re.DOTALL)
    text = released.sub(lambda found: held.get(found[1], found[1]), text[begin.start(2) :])
    plain = str.maketrans({held[mark]: mark for mark in marks})
    *segments, rest = text.split(terminator, MAX_SEGMENTS + 1)
    for number, raw in enumerate(segments, start=1):
        if number > MAX_SEGMENTS:
            raise MessageFault("too many segments", expected=f"at most {MAX_SEGMENTS:,}")
        elements = raw.strip(BLANK).split(element, MAX_PARTS)[:MAX_PARTS]
        parts = [each.split(component, MAX_PARTS)[:MAX_PARTS] for each in elements]
        if parts != [[""]]:
            yield [[part.translate(plain) for part in components] for components in parts]
    if rest.strip():
        where = f"segment {len(segments) + 1}"
        raise MessageFault("cut in half: it ends inside a segment", where=where, todo="fetch it again")


def _group_segments(segments: Sequence[Segment], groups: Sequence[str], until: Sequence[str]) -> Node:
    """Sort each segment into the innermost group that is open."""
    message: Node = {}
    open_nodes: list[Node] = [message]
    for segment in segments:
        tag = segment[0][0].strip().upper()
        if not TAG.fullmatch(tag):
            continue
        node: Node = {}
        for place, components in enumerate(segment[1:], start=1):
            inner: Node = {str(number): [text] for number, text in enumerate(components, start=1) if text}
            if inner:
                node[str(place)] = [inner | {TEXT: [components[0]]}]
        if tag in groups:
            del open_nodes[groups.index(tag) + 1 :]
        elif tag in until:
            del open_nodes[1:]
        open_nodes[-1].setdefault(tag.lower(), []).append(node)
        if tag in groups:
            open_nodes.append(node)
    return message
