"""Paths into a tree, as mapping files write them: `Sender/Name`, `contents[0].value`, `Party[Role=CZ]/Name`, `//HSCode`.

A path is relative to the record, or to the item inside `[items]`. `/` or `$.` at its beginning goes to the message, `../` one
level up, `//` any level down. Parts are parted by slashes, or by dots if there is no slash; numbers count from 1 with slashes
(XPath) and from 0 with dots (JSONPath) or in a single part. `*` is any name, `@name` an attribute, and `A | B` takes B if A gives nothing.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from consignments.errors import BadSetting
from consignments.messages.content.trees import TEXT, Node
from consignments.messages.content.values import clean_text

STEP = re.compile(r"(?P<name>[^\[\]]*)(?P<filters>(?:\[[^\[\]]*\])*)")
FILTER = re.compile(r"\[([^\[\]]*)\]")
CONDITION = re.compile(r"""\s*([^=]+?)\s*=\s*(["']?)(.*?)\2\s*""")
OUTSIDE_BRACKETS = r"{}(?![^\[\]]*\])"
"""Pattern of a separator that does not stand in a filter."""
HERE = (".", "[*]", "[]")
"""Parts that stay where they are: each element of a list is a value of its own already."""
PLAIN_NAME = re.compile(r"[\w\-]+")
MAX_PATH_LENGTH = 400
MAX_NODES_VISITED = 200_000


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
    """Compile the alternatives of a path."""
    if len(text) > MAX_PATH_LENGTH:
        raise BadSetting(
            "path too long", got=f"{len(text)} characters", expected=f"at most {MAX_PATH_LENGTH}"
        )
    paths = [path for part in text.split("|") for path in _compile_spellings(part.strip())]
    return tuple(paths)


def _compile_spellings(text: str) -> list[Path]:
    """A name with dots in it may be one name or several."""
    if not text:
        raise BadSetting("empty path", todo="give the names that lead to the value")
    found = [_compile_one(text, "/" if _has_slash(text) else ".")]
    if "." in text and not _has_slash(text) and not text.startswith("$") and "[" not in text:
        found.append(_compile_one(text, "/"))
    return found


def _has_slash(text: str) -> bool:
    return "/" in FILTER.sub("", text)


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
    for part in re.split(OUTSIDE_BRACKETS.format(re.escape(separator)), rest) if rest else ():
        if part == "":
            any_depth = True
        elif part not in HERE:
            steps.append(_compile_step(part, any_depth, text, one_based=separator == "/"))
            any_depth = False
    return Path(levels_up, tuple(steps))


def _compile_step(part: str, any_depth: bool, text: str, *, one_based: bool) -> Step:
    found = STEP.fullmatch(part)
    if found is None or not found["name"].strip():
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
    name = found["name"].strip().rsplit(":", 1)[-1].lower()
    return Step(name, any_depth, index, tuple(conditions))


@lru_cache(maxsize=4096)
def _get_plain_name(text: str) -> str | None:
    """Return the name in lower case if a path is one name and nothing else, as most are."""
    return text.lower() if PLAIN_NAME.fullmatch(text) else None


class DeepIndex:
    """Values by name at any depth below nodes, found once for each node; for as long as the nodes live."""

    def __init__(self) -> None:
        self._by_node: dict[int, tuple[Any, Node]] = {}

    def list_below(self, node: Any, name: str) -> list[Any]:
        """List the values of a name at any depth below a node."""
        found = self._by_node.get(id(node))
        if found is None:
            found = self._by_node[id(node)] = (node, _index_below(node))
        return found[1].get(name, [])


def _index_below(value: Any) -> Node:
    index: Node = {}
    for node in _walk(value):
        for key, values in node.items():
            index.setdefault(key, []).extend(values)
    return index


def _walk(value: Any) -> Iterator[Node]:
    """Yield a node and all below it, parents first."""
    stack = [value]
    for _ in range(MAX_NODES_VISITED):
        if not stack:
            return
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(
                each
                for values in reversed(node.values())
                for each in reversed(values)
                if isinstance(each, dict)
            )


def find_values(levels: Sequence[Any], text: str, index: DeepIndex | None = None) -> list[Any]:
    """Find all values of the first alternative of a path that has any."""
    name = _get_plain_name(text)
    if name is not None:
        node = levels[-1]
        return [value for value in node.get(name, ()) if value is not None] if isinstance(node, dict) else []
    return next((found for path in compile_path(text) if (found := _follow(levels, path, index))), [])


def find_nodes(node: Any, path: str) -> list[Node]:
    """Find the nodes on a path below a node."""
    return [value for value in find_values([node], path) if isinstance(value, dict)]


def find_texts(levels: Sequence[Any], text: str) -> list[str]:
    """Find the texts of the first alternative of a path that has any."""
    for path in compile_path(text):
        found = [clean for value in _follow(levels, path, None) if (clean := clean_text(get_leaf(value)))]
        if found:
            return found
    return []


def find_text(levels: Sequence[Any], text: str) -> str | None:
    """Find the first text of the first alternative of a path that has any."""
    return next(iter(find_texts(levels, text)), None)


def _follow(levels: Sequence[Any], path: Path, index: DeepIndex | None) -> list[Any]:
    """Find the values of one alternative."""
    if path.levels_up >= len(levels):
        return []
    values = [levels[0] if path.levels_up < 0 else levels[-1 - path.levels_up]]
    for step in path.steps:
        values = _take_step(values, step, index)
    return [value for value in values if value is not None]


def follow_steps(node: Node, steps: Sequence[Step]) -> list[Any]:
    """Find the values of steps that begin at a node itself, not deeper."""
    values: list[Any] = [node]
    for step in steps:
        values = _take_step(values, step._replace(any_depth=False), None)
    return [value for value in values if value is not None]


def _take_step(values: list[Any], step: Step, index: DeepIndex | None) -> list[Any]:
    found: list[Any] = []
    for value in values:
        here = _list_below(value, step.name, index) if step.any_depth else _list_children(value, step.name)
        kept = [each for each in here if all(_meets(each, *condition) for condition in step.conditions)]
        if step.position is not None:
            kept = kept[step.position : step.position + 1] if step.position >= 0 else []
        found.extend(kept)
    return found


def _list_children(value: Any, name: str) -> list[Any]:
    if not isinstance(value, dict):
        return []
    if name == "*":
        return [each for key, values in value.items() if key[0:1] not in "@#" for each in values]
    found = value.get(name)
    if found is None and name == "text()":
        found = value.get(TEXT)
    return found or []


def _list_below(value: Any, name: str, index: DeepIndex | None) -> list[Any]:
    if index is not None and name != "*":
        return index.list_below(value, name)
    return [each for node in _walk(value) for each in _list_children(node, name)]


def _meets(value: Any, name: str, wanted: str) -> bool:
    if name in (".", "text()"):
        return (clean_text(get_leaf(value)) or "").casefold() == wanted
    return any(
        (clean_text(get_leaf(each)) or "").casefold() == wanted for each in _list_children(value, name)
    )


def get_leaf(value: Any) -> Any:
    """Return a text or number, or the own text of a node."""
    if isinstance(value, dict):
        own = value.get(TEXT)
        return own[0] if own and not isinstance(own[0], dict) else None
    return value
