"""Paths into a tree, as mapping files write them: `Sender/Name`, `contents[0].value`, `Party[Role=CZ]/Name`, `//HSCode`.

A path is relative to the record, or to the item inside `[items]`. `/` or `$.` at its beginning goes to the message, `../` one
level up, `//` any level down. Parts are parted by slashes, or by dots if there is no slash; numbers count from 1 with slashes
(XPath) and from 0 with dots (JSONPath) or in a single part. `*` is any name, `@name` an attribute, and `A | B` takes B if A gives nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from consignments.errors import BadSetting
from consignments.messages.content.trees import TEXT, Node, walk_nodes
from consignments.messages.content.values import Doubts, Fields, clean_text, parse_number, read_country
from consignments.records import Consignment, Item, get_fields

STEP = re.compile(r"\s*(?P<name>[^\[\]]*[^\[\]\s])\s*(?P<filters>(?:\[[^\[\]]*\])*)")
FILTER = re.compile(r"\[([^\[\]]*)\]")
CONDITION = re.compile(r"""\s*([^=]+?)\s*=\s*(["']?)(.*?)\2\s*""")
OUTSIDE_FILTERS = r"(?![^\[\]]*\])"  # stands behind a separator that is not inside a filter
HERE = (".", "[*]", "[]")
"""Parts that stay where they are: each element of a list is a value of its own already."""
MAX_PATH_LENGTH = 400
NumberReader = Callable[[str | None, Doubts, str], float | None]
NUMBERS = frozenset(
    field.name for record in (Consignment, Item) for field in get_fields(record) if field.kind == "number"
)


class Step(NamedTuple):
    """One part of a path."""

    name: str
    any_depth: bool
    position: int | None
    conditions: tuple[tuple[str, str], ...]


class Path(NamedTuple):
    """A compiled path: how many levels it goes up first (-1: to the message), and its steps."""

    levels_up: int
    steps: tuple[Step, ...]


@lru_cache(maxsize=4096)
def compile_path(text: str) -> tuple[Path, ...]:
    """Compile the alternatives of a path; a name with dots in it may be one name or several."""
    if len(text) > MAX_PATH_LENGTH:
        got, expected = f"{len(text)} characters", f"at most {MAX_PATH_LENGTH}"
        raise BadSetting("path too long", got=got, expected=expected)
    paths: list[Path] = []
    for part in map(str.strip, text.split("|")):
        if not part:
            raise BadSetting("empty path", todo="give the names that lead to the value")
        has_slash = "/" in FILTER.sub("", part)
        paths.append(_compile_one(part, "/" if has_slash else "."))
        if "." in part and not has_slash and not part.startswith("$") and "[" not in part:
            paths.append(_compile_one(part, "/"))
    return tuple(paths)


def _compile_one(text: str, separator: str) -> Path:
    levels_up, rest = 0, text
    if rest.startswith("$"):
        levels_up, rest = -1, rest[1:].removeprefix(".")
    elif rest.startswith("/") and not rest.startswith("//"):
        levels_up, rest = -1, rest[1:]
    while rest == ".." or rest.startswith("../"):
        levels_up, rest = levels_up + 1, rest[3:]
    steps: list[Step] = []
    any_depth = False
    for part in re.split(re.escape(separator) + OUTSIDE_FILTERS, rest) if rest else ():
        if part == "":
            any_depth = True
        elif part not in HERE:
            steps.append(_compile_step(part, any_depth, text, one_based=separator == "/"))
            any_depth = False
    return Path(levels_up, tuple(steps))


def _compile_step(part: str, any_depth: bool, text: str, *, one_based: bool) -> Step:
    found = STEP.fullmatch(part)
    if found is None:
        raise BadSetting("not a path", got=repr(text), expected="names parted by / or ., such as Sender/Name")
    index: int | None = None
    conditions: list[tuple[str, str]] = []
    for inner in FILTER.findall(found["filters"]):
        condition = CONDITION.fullmatch(inner)
        if condition:
            conditions.append((condition[1].lower(), condition[3].casefold()))
        elif inner.strip().isdecimal() and len(inner) < 7:
            index = int(inner) - (1 if one_based else 0)
        elif inner.strip() not in ("", "*"):
            raise BadSetting("not a path", got=repr(text), expected="[1], [*] or [Name=value] behind a name")
    return Step(found["name"].rsplit(":", 1)[-1].lower(), any_depth, index, tuple(conditions))


class PathTrace:
    """The names that paths looked for, each with the `id` of its node, or None if at any depth; for as long as the nodes live."""

    def __init__(self) -> None:
        self.sought: set[tuple[int | None, str]] = set()
        self._below: dict[int, Node] = {}

    def list_below(self, node: Any, name: str) -> list[Any]:
        """List the values of a name at any depth below a node, parents first; they are found once for each node."""
        index = self._below.get(id(node))
        if index is None:
            index = self._below[id(node)] = {}
            for _, below in walk_nodes(node):
                for key, values in below.items():
                    index.setdefault(key, []).extend(values)
        return index.get(name, [])


def find_values(levels: Sequence[Any], text: str, trace: PathTrace | None = None) -> list[Any]:
    """Find all values of the first alternative of a path that has any; the others are in the trace, too."""
    paths = iter(compile_path(text))
    values = next((found for path in paths if (found := follow_path(levels, path, trace))), [])
    for path in paths if trace is not None else ():
        follow_path(levels, path, trace)
    return values


def find_nodes(node: Any, path: str) -> list[Node]:
    """Find the nodes on a path below a node."""
    return [value for value in find_values([node], path) if isinstance(value, dict)]


def find_texts(levels: Sequence[Any], text: str) -> list[str]:
    """Find the texts of the first alternative of a path that has any."""
    paths = compile_path(text)
    return next((found for path in paths if (found := list_texts(follow_path(levels, path)))), [])


def find_text(levels: Sequence[Any], text: str) -> str | None:
    """Find the first text of the first alternative of a path that has any."""
    return next(iter(find_texts(levels, text)), None)


def follow_path(levels: Sequence[Any], path: Path, trace: PathTrace | None = None) -> list[Any]:
    """Find the values of one alternative of a path; the last of the levels is the node that it begins at."""
    if path.levels_up >= len(levels):
        return []
    values = [levels[0 if path.levels_up < 0 else -1 - path.levels_up]]
    for name, any_depth, position, conditions in path.steps:
        found: list[Any] = []
        for value in values:
            if not any_depth:
                here = _list_children(value, name)
            elif trace is not None and name != "*":
                here = trace.list_below(value, name)
            else:
                here = [each for _, node in walk_nodes(value) for each in _list_children(node, name)]
            if trace is not None:
                trace.sought.add((None if any_depth else id(value), name))
            if conditions:
                if trace is not None:
                    trace.sought.update((id(each), name) for each in here for name, _ in conditions)
                here = [each for each in here if all(_meets(each, *condition) for condition in conditions)]
            if position is not None:
                here = here[position : position + 1] if position >= 0 else []
            found.extend(here)
        values = found
    return [value for value in values if value not in (None, "")]


def _list_children(value: Any, name: str) -> list[Any]:
    if not isinstance(value, dict):
        return []
    if name == "*":
        return [each for key, values in value.items() if key[0:1] not in "@#" for each in values]
    return value.get(name) or (value.get(TEXT) if name == "text()" else None) or []


def _meets(value: Any, name: str, wanted: str) -> bool:
    values = [value] if name in (".", "text()") else _list_children(value, name)
    return bool(values) and wanted in map(str.casefold, list_texts(values) or [""])


def list_texts(values: Sequence[Any]) -> list[str]:
    """List the texts of values: of texts, of numbers, and of nodes their own one."""
    own = (next(iter(value.get(TEXT, ())), None) if isinstance(value, dict) else value for value in values)
    return [text for value in own if (text := clean_text(value))]


def convert_text(
    column: str, text: str | None, doubts: Doubts, of: str = "", read_number: NumberReader = parse_number
) -> Any:
    """Convert a text to the value of a column: a number, the code of a country, or the text as it is."""
    if column in NUMBERS:
        return read_number(text, doubts, of + column)
    return read_country(text, of + column, doubts) if column.endswith("country") else text


def read_columns(levels: Sequence[Any], paths: Mapping[str, str], doubts: Doubts, of: str = "") -> Fields:
    """Read all columns of a table; `of` begins their fields in warnings."""
    return {
        column: convert_text(column, find_text(levels, path), doubts, of) for column, path in paths.items()
    }
