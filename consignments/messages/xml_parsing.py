"""Parsing of XML messages; a hostile message is refused.

The tree is lxml's, which stops at 256 levels. A message is repaired only after it could not be parsed: bytes that are not
of its encoding, control characters and bare ampersands are what real senders get wrong.
"""

import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

from lxml import etree

from consignments.errors import MessageFault

Element = etree._Element

MAX_TAGS = 400_000
"""About four times what 1,000 houses of a manifest need."""
FORBIDDEN_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
BARE_AMPERSAND = re.compile(r"&(?!(?:#\d{1,7}|#x[0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);)")
DECLARATION = re.compile(r"[\s\ufeff]*<\?xml[^>]*\?>")
ENCODING = re.compile(rb"""<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig"} | dict.fromkeys(UTF_16_MARKS, "utf-16")
SECOND_ENCODING = "cp1252"
"""What senders that call themselves UTF-8 most often are."""


def get_local_name(tag: str) -> str:
    """Return the local name of a qualified tag."""
    return tag[tag.rfind("}") + 1 :]


@lru_cache(maxsize=5_000)
def lower_local_name(tag: str) -> str:
    """Return the local name of a qualified tag in small letters."""
    return get_local_name(tag).lower()


def parse_xml(data: bytes, notes: list[str], max_tags: int = MAX_TAGS) -> Element:
    """Parse a message."""
    if not data.strip(b" \t\r\n\0"):
        raise MessageFault("empty")
    if len(data) > max_tags and data.count(b"<") > max_tags:
        raise MessageFault("too many elements", expected=f"at most {max_tags:,} tags")
    try:
        return _parse(data)
    except etree.XMLSyntaxError as error:
        last, repairs = getattr(error.error_log, "last_error", None), list[str]()
        too_deep = last is not None and last.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT
        repaired = data if too_deep else repair_xml(data, repairs)
        if repaired is not data:
            with suppress(etree.XMLSyntaxError):
                root = _parse(repaired)
                notes += repairs
                return root
        raise build_syntax_fault(error, data) from error


SAFE_SETTINGS: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
"""Settings of every parser of messages: it expands, fetches and loads nothing."""
_PARSER = etree.XMLParser(**SAFE_SETTINGS)


def _parse(data: bytes) -> Element:
    if b"!" in data and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):  # one byte is found much faster
        raise build_hostile_fault()
    root = etree.fromstring(data, _PARSER)
    if root.getroottree().docinfo.internalDTD is not None:  # in another encoding than that of the check above
        raise build_hostile_fault()
    return root


def build_hostile_fault() -> MessageFault:
    """Build the fault of a message that declares a document type or entities."""
    return MessageFault(
        "a document type or entities are declared",
        expected="none: these messages have no use for them",
        todo="treat its sender as hostile or broken",
    )


def repair_xml(data: bytes, notes: list[str]) -> bytes:
    """Write a message again if there is something to repair in it; else return it as it is."""
    noted = len(notes)
    repaired = rewrite_xml(data, notes)
    return repaired if len(notes) > noted else data


def rewrite_xml(data: bytes, notes: list[str]) -> bytes:
    """Write a message in UTF-8 without what no XML may hold, and note what was repaired."""
    text, decoded = _decode(data)
    clean = FORBIDDEN_CHARACTERS.sub("", text)
    escaped = BARE_AMPERSAND.sub("&amp;", clean)
    done = {
        decoded: decoded != "",
        "control characters were left out": clean != text,
        "bare ampersands were read as text": escaped != clean,
    }
    if any(done.values()):
        notes.append("repaired: " + ", ".join(what for what, is_done in done.items() if is_done))
    declaration = DECLARATION.match(escaped)
    body = escaped[declaration.end() if declaration else 0 :].lstrip("\ufeff \t\r\n")
    return body.encode("utf-8", "replace")


def _decode(data: bytes) -> tuple[str, str]:
    """Decode by byte-order mark, declaration or UTF-8, else as Windows-1252; give what was odd."""
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    declared = ENCODING.match(data.lstrip(b"\xef\xbb\xbf \t\r\n"))
    for name in filter(None, (marked, declared and declared[1].decode(), "utf-8")):
        with suppress(LookupError, UnicodeError, ValueError):
            return data.decode(name), "its encoding is UTF-8" if declared and name == "utf-8" else ""
    return data.decode(SECOND_ENCODING, "replace"), "read as Windows-1252: it is not of its own encoding"


def build_syntax_fault(error: etree.XMLSyntaxError, data: bytes) -> MessageFault:
    """Build the fault of a message that is not well formed, with its line and never with its content."""
    last: Any = getattr(error.error_log, "last_error", None)  # its stub has none
    where = f"line {error.lineno}"
    code = None if last is None else last.type
    if code == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return MessageFault("nested too deep, or a text too long", where=where)
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith((b"<", *UTF_16_MARKS)):
        return MessageFault("no XML", where="line 1", got="a text that does not begin with <")
    if code == etree.ErrorTypes.ERR_TAG_NOT_FINISHED or not data.rstrip(b" \t\r\n\0").endswith(b">"):
        return MessageFault("cut in half: it ends inside an element", where=where, todo="fetch it again")
    return MessageFault(
        "not well-formed XML",
        where=where,
        got="" if last is None else last.type_name.removeprefix("ERR_").replace("_", " ").lower(),
    )
