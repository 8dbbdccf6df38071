"""Elements of XML messages, read by tables of paths: one pass over an element finds all values that a table names.

A path has local names, so prefixes and namespaces do not matter.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

from consignments.messages.configuration import load_table
from consignments.messages.xml_parsing import Element, get_local_name

Values: TypeAlias = dict[str, Any]
"""Values of an element by name: a text on one line, or None if it is empty; a list if each of several elements is read."""
_Step: TypeAlias = "tuple[str, bool, ElementReader | None, str]"
"""What is read of children of one name: the name of their value; each one or the first; their own children, or None for their text;
the attribute that is their unit."""

MAX_TAGS = 1_000
"""Qualified tags that are remembered at one place of a table; real messages have some dozens."""


class ElementReader(dict[str, "_Step | None"]):
    """Steps by qualified tag; a tag that comes for the first time is found by its local name, and None is not read."""

    def __init__(self, by_name: Mapping[str, _Step]) -> None:
        self._by_name = by_name

    def __missing__(self, tag: str) -> "_Step | None":
        step = self._by_name.get(get_local_name(tag))
        if len(self) < MAX_TAGS:
            self[tag] = step
        return step

    def read(self, element: Element, values: Values) -> Values:
        """Add the values of an element; what it does not have is left out, and what is on the way stands under its own path."""
        for child in element[:]:  # type: ignore[index]  # a slice, which its stub lacks, is faster than an iterator
            step = self[child.tag]
            if step is None:
                continue
            name, is_each, below, unit = step
            if is_each:
                value = _read_text(child) if below is None else below.read(child, {})
                if name in values:
                    values[name].append(value)
                else:
                    values[name] = [value]
            elif name not in values:
                if below is None:
                    values[name] = _read_text(child)
                else:
                    values[name] = None
                    below.read(child, values)
                if unit:
                    values[f"{name}_unit"] = child.get(unit)
        return values


@cache
def load_reader(*tables: str) -> ElementReader:
    """Load the reader of some tables of `cargo_xml.toml`, which are read in one pass."""
    known = load_table("air/cargo_xml")
    names: dict[str, str] = {}
    each: dict[str, _Step] = {}
    for table in tables:
        names |= {path: name for name, path in known[table].items() if name != "each"}
        for name, (path, *below) in known[table].get("each", {}).items():
            each[path] = (name, True, load_reader(*below) if below else None, "")
    return _build_reader(names, each, "")


def _build_reader(names: Mapping[str, str], each: Mapping[str, _Step], above: str) -> ElementReader:
    """Build the reader of the children on the first level of paths; `above` is the path to them."""
    steps: dict[str, _Step] = {}
    for first in dict.fromkeys(path.split("/")[0] for path in (*names, *each)):
        if first in each:
            steps[first] = each[first]
            continue
        lead = f"{first}/"
        below = {path[len(lead) :]: name for path, name in names.items() if path.startswith(lead)}
        each_below = {path[len(lead) :]: step for path, step in each.items() if path.startswith(lead)}
        unit = next((path for path in below if path[0] == "@"), "")
        name = names.get(first) or below.pop(unit, above + first)
        reader = _build_reader(below, each_below, above + lead) if below or each_below else None
        steps[first] = (name, False, reader, unit[1:])
    return ElementReader(steps)


def _read_text(element: Element) -> str | None:
    text = element.text
    return (" ".join(text.split()) or None) if text else None
