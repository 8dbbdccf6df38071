"""Elements of XML messages, read by tables of paths: one pass over an element finds all values that its reader names.

A path has local names, so prefixes and namespaces do not matter.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

from consignments.messages.configuration import load_table
from consignments.messages.xml_parsing import Element, get_local_name

Values: TypeAlias = dict[str, Any]
"""Values of an element by name: a text on one line, or None if it is empty; a list if each of several elements is read."""
Each: TypeAlias = "tuple[str, ElementReader | None]"
"""Elements that are read one by one: their path, and the reader of each, or None for their text."""
_Step: TypeAlias = tuple[str, bool, "_Steps | None", tuple[tuple[str, str], ...]]
"""What is read of children of one name: the name of their value; each one or the first; their own children, or None for their text;
their attributes, as name and attribute."""

MAX_TAGS = 1_000
"""Qualified tags that are remembered at one place of a table; real messages have some dozens."""


class ElementReader:
    """Reads the values of an element by their paths; what is on the way to them stands under its own path."""

    def __init__(self, paths: Mapping[str, str], each: Mapping[str, Each] | None = None) -> None:
        names = {path: name for name, path in paths.items()}
        self._steps = _build_steps(
            names, names, {path: (name, reader) for name, (path, reader) in (each or {}).items()}, ""
        )

    def read(self, element: Element) -> Values:
        """Read the values of an element; what it does not have is left out."""
        return _read_children(element, self._steps, {})


@cache
def load_reader(*tables: str) -> ElementReader:
    """Load the reader of some tables of `cargo_xml.toml`, which are read in one pass."""
    known = load_table("air/cargo_xml")
    paths: dict[str, str] = {}
    each: dict[str, Each] = {}
    for table in tables:
        paths |= {name: path for name, path in known[table].items() if name != "each"}
        for name, (path, *below) in known[table].get("each", {}).items():
            each[name] = path, load_reader(*below) if below else None
    return ElementReader(paths, each)


class _Steps(dict[str, _Step | None]):
    """Steps by qualified tag; a tag that comes for the first time is found by its local name, and None is not read."""

    def __init__(self, by_name: Mapping[str, _Step]) -> None:
        self._by_name = by_name

    def __missing__(self, tag: str) -> _Step | None:
        step = self._by_name.get(get_local_name(tag))
        if len(self) < MAX_TAGS:
            self[tag] = step
        return step


def _build_steps(
    paths: Iterable[str], names: Mapping[str, str], each: Mapping[str, Each], above: str
) -> _Steps:
    """Build the steps of the children on the first level of paths; `names` and what is above are of whole paths."""
    by_name: dict[str, _Step] = {}
    for name in dict.fromkeys(path.split("/")[0] for path in (*paths, *each)):
        path, start = above + name, len(name) + 1
        if name in each:
            key, reader = each[name]
            by_name[name] = (key, True, None if reader is None else reader._steps, ())
            continue
        below = [rest[start:] for rest in paths if rest.startswith(f"{name}/")]
        each_below = {rest[start:]: found for rest, found in each.items() if rest.startswith(f"{name}/")}
        attributes = tuple((names[f"{path}/{rest}"], rest[1:]) for rest in below if rest[0] == "@")
        children = [rest for rest in below if rest[0] != "@"]
        steps = _build_steps(children, names, each_below, f"{path}/") if children or each_below else None
        by_name[name] = (names.get(path, path), False, steps, attributes)
    return _Steps(by_name)


def _read_children(element: Element, steps: _Steps, values: Values) -> Values:
    for child in element[:]:  # type: ignore[index]  # a slice, which its stub lacks, is faster than an iterator
        step = steps[child.tag]
        if step is None:
            continue
        name, is_each, below, attributes = step
        if is_each:
            value = _read_text(child) if below is None else _read_children(child, below, {})
            if name in values:
                values[name].append(value)
            else:
                values[name] = [value]
        elif name not in values:
            if below is None:
                values[name] = _read_text(child)
            else:
                values[name] = None
                _read_children(child, below, values)
            for attribute_name, attribute in attributes:
                values[attribute_name] = child.get(attribute)
    return values


def _read_text(element: Element) -> str | None:
    text = element.text
    return (" ".join(text.split()) or None) if text else None
