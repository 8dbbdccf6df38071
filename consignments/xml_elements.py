"""Elements of an XML message, found by their local names, and the numbers and weights in them; a hostile message is refused."""

import re
from functools import cache
from typing import Any

from lxml import etree

from consignments.errors import MessageFault

Element = etree._Element

MAX_TAGS = 200_000
"""About four times what a house with the 1,000 items of a record needs."""
KILOGRAMS = {"KGM": 1.0, "LBR": 0.45359237, "GRM": 0.001, "ONZ": 0.028349523125, "TNE": 1000.0}
"""Kilograms in one unit, by its code in UN/ECE Recommendation 20."""
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def parse_tree(data: bytes) -> Element:
    """Parse a message; one that declares entities, is too large, cut or not well formed is refused."""
    if not data.strip():
        raise MessageFault("empty")
    if data.count(b"<") > MAX_TAGS:
        raise MessageFault("too many elements", expected=f"at most {MAX_TAGS:,} tags")
    hostile = MessageFault(
        "a document type or entities are declared",
        expected="none: Cargo-XML has no use for them",
        todo="treat its sender as hostile or broken",
    )
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise hostile
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _build_syntax_fault(error, data) from error
    if (
        root.getroottree().docinfo.internalDTD is not None
    ):  # in an encoding other than that of the check above
        raise hostile
    return root


def _build_syntax_fault(error: etree.XMLSyntaxError, data: bytes) -> MessageFault:
    log: Any = error.error_log  # its stub has no last_error
    kind, where = log.last_error, f"line {error.lineno}"
    code = None if kind is None else kind.type
    if code == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return MessageFault("nested too deep, or a text too long", where=where)
    if code == etree.ErrorTypes.ERR_TAG_NOT_FINISHED or not data.rstrip(b" \t\r\n\0").endswith(b">"):
        return MessageFault("cut in half: it ends inside an element", where=where, todo="fetch it again")
    return MessageFault("not well-formed XML", where=where, got="" if kind is None else kind.type_name)


@cache
def _any_namespace(path: str) -> str:
    return "/".join(f"{{*}}{name}" for name in path.split("/"))


def find_element(element: Element, path: str) -> Element | None:
    """Find the first element on a path of local names, or None."""
    return element.find(_any_namespace(path))


def find_elements(element: Element, path: str) -> list[Element]:
    """Find all elements on a path of local names."""
    return element.findall(_any_namespace(path))


def find_required(element: Element, path: str) -> Element:
    """Find the one element on a path; a missing or repeated one is a `MessageFault`."""
    found = find_elements(element, path)
    if len(found) != 1:
        raise MessageFault(
            "an element is missing" if not found else "an element is repeated",
            where=etree.QName(element).localname,
            got=f"{len(found)} x {path}",
            expected="one",
        )
    return found[0]


def read_text(element: Element, path: str) -> str | None:
    """Read the text of the first element on a path; None if there is none."""
    found = find_element(element, path)
    return None if found is None else join_text(found)


def join_text(element: Element) -> str | None:
    """Give an element's text on one line; None where there is none."""
    return " ".join((element.text or "").split()) or None


def read_number(element: Element, path: str) -> float | None:
    """Read a number; another text is a `MessageFault`."""
    text = read_text(element, path)
    if text is None:
        return None
    if not DECIMAL.fullmatch(text):
        raise MessageFault("not a number", where=path, got=repr(text[:20]))
    return float(text)


def read_kilograms(element: Element, path: str) -> float | None:
    """Give a weight in kilograms; without a unit it is kilograms, as the standard has it."""
    weight, found = read_number(element, path), find_element(element, path)
    if weight is None or found is None:
        return None
    unit = found.get("unitCode", "KGM")
    if unit not in KILOGRAMS:
        raise MessageFault(
            "unknown unit of weight", where=path, got=repr(unit), expected=", ".join(KILOGRAMS)
        )
    return weight * KILOGRAMS[unit]


def is_true(text: str) -> bool:
    """Check whether the text of an indicator says yes."""
    return text.lower() in ("true", "1")
