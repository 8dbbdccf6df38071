"""Elements of XML messages, read by tables of paths: one pass over an element finds all texts that its reader names.

A path has local names, so prefixes and namespaces do not matter.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from consignments.messages.xml_parsing import Element, get_local_name

Values: TypeAlias = dict[str, Any]
"""Values of an element by path: a text on one line, or None if it is empty; a list if each of several elements is read."""
_Step: TypeAlias = tuple[str, bool, "_Steps | None", tuple[tuple[str, str], ...]]
"""What is read of children of one name: their path; each one or the first; their own children, or None for their text; their
attributes, as path and name."""

MAX_TAGS = 1_000
"""Qualified tags that are remembered at one place of a table; real messages have some dozens."""


class ElementReader:
    """Reads the values of an element by their paths.

    Examples
    --------
    >>> from consignments.messages.xml_parsing import parse_xml
    >>> line = parse_xml(b"<Line><Weight unit='K'> 2.5 </Weight><Origin><ID>KR</ID></Origin><Mark>A</Mark><Mark>B</Mark></Line>", [])
    >>> ElementReader("Weight", "Weight/@unit", "Origin/ID", "Name", each={"Mark": None}).read(line)
    {'Weight': '2.5', 'Weight/@unit': 'K', 'Origin': None, 'Origin/ID': 'KR', 'Mark': ['A', 'B']}
    """

    def __init__(self, *paths: str, each: "Mapping[str, ElementReader | None] | None" = None) -> None:
        self._steps = _build_steps(paths, each or {}, "")

    def read(self, element: Element) -> Values:
        """Read the values of an element; a path that it does not have is left out."""
        return _read_children(element, self._steps, {})


class _Steps(dict[str, _Step | None]):
    """Steps by qualified tag; a tag that comes for the first time is found by its local name, and None is not read."""

    def __init__(self, by_name: Mapping[str, _Step]) -> None:
        self._by_name = by_name

    def __missing__(self, tag: str) -> _Step | None:
        step = self._by_name.get(get_local_name(tag))
        if len(self) < MAX_TAGS:
            self[tag] = step
        return step


def _build_steps(paths: Iterable[str], each: Mapping[str, ElementReader | None], above: str) -> _Steps:
    """Build the steps of the children on the first level of paths."""
    by_name: dict[str, _Step] = {}
    for name in dict.fromkeys(path.split("/")[0] for path in (*paths, *each)):
        path, start = above + name, len(name) + 1
        if name in each:
            reader = each[name]
            by_name[name] = (path, True, None if reader is None else reader._steps, ())
            continue
        below = [rest[start:] for rest in paths if rest.startswith(f"{name}/")]
        each_below = {rest[start:]: reader for rest, reader in each.items() if rest.startswith(f"{name}/")}
        attributes = tuple((f"{path}/{rest}", rest[1:]) for rest in below if rest[0] == "@")
        children = [rest for rest in below if rest[0] != "@"]
        steps = _build_steps(children, each_below, f"{path}/") if children or each_below else None
        by_name[name] = (path, False, steps, attributes)
    return _Steps(by_name)


def _read_children(element: Element, steps: _Steps, values: Values) -> Values:
    for child in element[:]:  # type: ignore[index]  # a slice, which its stub lacks, is faster than an iterator
        step = steps[child.tag]
        if step is None:
            continue
        path, is_each, below, attributes = step
        if is_each:
            value = _read_text(child) if below is None else _read_children(child, below, {})
            if path in values:
                values[path].append(value)
            else:
                values[path] = [value]
        elif path not in values:
            if below is None:
                values[path] = _read_text(child)
            else:
                values[path] = None
                _read_children(child, below, values)
            for attribute_path, attribute in attributes:
                values[attribute_path] = child.get(attribute)
    return values


def _read_text(element: Element) -> str | None:
    text = element.text
    return (" ".join(text.split()) or None) if text else None
