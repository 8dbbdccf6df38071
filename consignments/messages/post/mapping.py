"""Mapping files: how an administration says, without code, where in its own feed the columns of a consignment stand.

A file is TOML. `[record]` has a path for each column, or a list of paths that are joined; `each` is the path of a declaration if
one message has many. `[items]` is the same for the kinds of goods. `[units]` says the unit of weights, and whether weights and
values are per unit or total. `[codes]` says what the feed's codes mean. docs/formats_post.md has the reference.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from consignments.errors import BadSetting, FileFault, UnknownName, explain_failure
from consignments.messages.content.paths import Path as ValuePath
from consignments.messages.content.paths import compile_path
from consignments.messages.content.values import ITEM_COLUMNS, get_unit_factor
from consignments.records import Channel, Consignment, Level, get_fields

Format = Literal["", "xml", "json", "csv", "edifact"]

NOT_FROM_MESSAGE = ("channel", "received_at", "items", "level", "quality", "issued_at")
COLUMNS = tuple(field.name for field in get_fields(Consignment) if field.name not in NOT_FROM_MESSAGE)
POUNDS_AND_OUNCES = "lb+oz"
BASES = ("total", "per unit")
BASES_OF = ("weight_basis", "value")
TABLES = {
    "record": ("column", (*COLUMNS, "each", "issued_at", "purpose", "weight_unit", "postage_currency")),
    "items": ("column", (*ITEM_COLUMNS, "each", "currency", "weight_unit")),
    "units": ("unit", ("weight", "gross_weight", "net_weight", "amounts", *BASES_OF)),
    "codes": ("column", (*COLUMNS, "purpose")),
    "segments": ("setting", ("group", "until", "types")),
}
"""Tables of a file: what their names are, and which there are."""
TOP_LEVEL = ("name", "channel", "level", "format", "detect", *TABLES)
MAX_FILE_BYTES = 1_000_000
LITERAL = "="


@dataclass(frozen=True)
class Source:
    """The source of a column in a message: the first of its parts that gives a text; the paths of a part are joined."""

    parts: tuple[tuple[str, ...], ...]
    join: str | None = None

    def list_paths(self) -> list[tuple[ValuePath, ...]]:
        """List the alternatives of each of its paths, without the values that it gives itself."""
        return [compile_path(path) for part in self.parts for path in part if not path.startswith(LITERAL)]


@dataclass(frozen=True, eq=False)
class MessageMapping:
    """A mapping file, checked."""

    name: str
    channel: str
    level: Level
    format: Format
    detect: tuple[str, ...]
    each: tuple[str, ...]
    items_each: tuple[str, ...]
    record: Mapping[str, Source]
    items: Mapping[str, Source]
    units: Mapping[str, str]
    codes: Mapping[str, Mapping[str, str]]
    segments: Mapping[str, tuple[str, ...]]

    @property
    def is_searched(self) -> bool:
        """Return whether it leaves open where declarations stand."""
        return "." in self.each

    @cached_property
    def each_names(self) -> list[str]:
        """The names of the elements that may be declarations."""
        paths = [path for each in self.each for path in compile_path(each)]
        return [path.steps[-1].name for path in paths if path.steps]

    @cached_property
    def paths(self) -> list[tuple[ValuePath, ...]]:
        """The alternatives of each path of a column of the declaration or of its goods."""
        sources = (*self.record.values(), *self.items.values())
        return [path for source in sources for path in source.list_paths()]

    @cached_property
    def names(self) -> set[str]:
        """The names in the paths of columns."""
        steps = [step for alternatives in self.paths for path in alternatives for step in path.steps]
        return {step.name for step in steps} | {name for step in steps for name, _ in step.conditions}

    @cached_property
    def ends(self) -> set[frozenset[str]]:
        """The names that the paths of columns end in; a path with dots may be one name."""
        ends = ([step.name for each in path for step in each.steps[-1:]] for path in self.paths)
        return {
            frozenset(name.removeprefix("@") for name in names)
            for names in ends
            if names and "*" not in names
        }


def load_mapping(path: Path | str) -> MessageMapping:
    """Read and check a mapping file; `BadSetting` or `UnknownName` if it is no TOML, or names what does not exist."""
    file = Path(path)
    with explain_failure("cannot be read", file):
        content = file.read_bytes()
    if len(content) > MAX_FILE_BYTES:
        raise FileFault("too large", where=str(file), expected=f"at most {MAX_FILE_BYTES:,} bytes")
    return parse_mapping(content.decode("utf-8-sig", "replace"), str(file))


def load_mappings(folder: Path | str) -> tuple[MessageMapping, ...]:
    """Read and check all mapping files of a folder; `BadSetting` if it does not exist."""
    if not Path(folder).is_dir():
        where, todo = "NPSRISK_MAPPINGS_DIR", "create it, or unset the variable"
        raise BadSetting("there is no folder of mappings", where=where, got=str(folder), todo=todo)
    return tuple(map(load_mapping, list_mapping_files(folder)))


def list_mapping_files(folder: Path | str) -> list[Path]:
    """List the mapping files of a folder, by name."""
    return sorted(Path(folder).glob("*.toml"))


def parse_mapping(text: str, where: str) -> MessageMapping:
    """Check the text of a mapping file; `where` is its name in errors."""
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadSetting("not TOML", where=where, got=str(error), todo="correct the line") from error
    _refuse_unknown(given, TOP_LEVEL, "setting", where)
    record, items, units, codes, segments = (_get_table(given, name, where) for name in TABLES)
    if not record:
        raise BadSetting("no table [record]", where=where, expected="column = path")
    each, items_each = record.pop("each", "."), items.pop("each", None)
    if items and items_each is None:
        expected = "each = path of one kind of goods"
        raise BadSetting("no path of the items", where=f"{where}, items.each", expected=expected)
    return MessageMapping(
        name=str(given.get("name", Path(where).stem)),
        channel=_choose(given, "channel", get_args(Channel), where),
        level=_choose(given, "level", get_args(Level), where),  # type: ignore[arg-type]
        format=_choose(given, "format", get_args(Format), where),  # type: ignore[arg-type]
        detect=_read_names(given.get("detect", []), f"{where}, detect"),
        each=_read_paths(each, f"{where}, record.each"),
        items_each=_read_paths(items_each, f"{where}, items.each") if items_each else (),
        record={name: _read_source(value, f"{where}, record.{name}") for name, value in record.items()},
        items={name: _read_source(value, f"{where}, items.{name}") for name, value in items.items()},
        units={name: _check_unit(name, value, f"{where}, units.{name}") for name, value in units.items()},
        codes={name: _read_codes(value, f"{where}, codes.{name}") for name, value in codes.items()},
        segments={
            name: tuple(map(str.upper, _read_names(tags, f"{where}, segments.{name}")))
            for name, tags in segments.items()
        },
    )


def _read_names(value: Any, where: str) -> tuple[str, ...]:
    """Read the names that tell a message: a text, or a list of texts."""
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise BadSetting("not a list of names", where=where, got=repr(value), expected='["Name", "Other"]')
    return tuple(name.lower() for name in names)


def _get_table(given: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    table, place = given.get(name, {}), f"{where}, {name}"
    if not isinstance(table, dict):
        raise BadSetting("not a table", where=place, got=type(table).__name__, expected=f"[{name}]")
    kind, known = TABLES[name]
    _refuse_unknown(table, known, kind, place)
    return dict(table)


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], kind: str, where: str) -> None:
    for name in given:
        if name not in known:
            raise UnknownName.from_candidates(name, known, kind=kind, where=where)


def _choose(given: Mapping[str, Any], name: str, choices: tuple[str, ...], where: str) -> str:
    value = given.get(name, choices[0])
    if value not in choices:
        expected = f"one of {', '.join(filter(None, choices))}"
        raise BadSetting(f"bad {name}", where=f"{where}, {name}", got=repr(value), expected=expected)
    return str(value)


def _read_source(value: Any, where: str) -> Source:
    if isinstance(value, dict):
        _refuse_unknown(value, ("path", "first", "join", "value"), "setting", where)
        join = value.get("join")
        if join is not None and not isinstance(join, str):
            raise BadSetting("not a text", where=f"{where}.join", got=repr(join))
        if "value" in value:
            return Source(((f"{LITERAL}{value['value']}",),), join)
        alternatives = value.get("first", [value.get("path")])
        if not isinstance(alternatives, list) or not alternatives:
            raise BadSetting("not a list of paths", where=f"{where}.first", got=repr(alternatives))
        return Source(tuple(_read_paths(each, where) for each in alternatives), join)
    return Source((_read_paths(value, where),))


def _read_paths(value: Any, where: str) -> tuple[str, ...]:
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise BadSetting("not a path", where=where, got=repr(value), expected="a text, or a list of texts")
    try:
        for path in paths:
            if not path.startswith(LITERAL):
                compile_path(path)
    except BadSetting as error:
        parts = {"got": error.got, "expected": error.expected, "todo": error.todo}
        raise BadSetting(error.what, where=where, **parts) from error
    return tuple(paths)


def _check_unit(name: str, value: Any, where: str) -> str:
    if name in BASES_OF:
        is_known, expected = value in BASES, " or ".join(BASES)
    elif name == "amounts":
        is_known, expected = value == "cents", "cents, or no such line"
    else:
        is_known = value == POUNDS_AND_OUNCES or get_unit_factor(str(value)) is not None
        expected = "kg, g, lb, oz or lb+oz"
    if not is_known:
        raise BadSetting("unknown unit", where=where, got=repr(value), expected=expected)
    return str(value)


def _read_codes(table: Any, where: str) -> dict[str, str]:
    if not isinstance(table, dict):
        expected = "{ code = meaning }"
        raise BadSetting("not a table of codes", where=where, got=repr(table), expected=expected)
    return {str(code).lower(): str(meaning) for code, meaning in table.items()}
