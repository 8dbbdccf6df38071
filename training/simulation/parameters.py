"""Parameters of a simulated world: `world.toml` (its numbers), `people.toml` and `goods.toml` (its texts).

These files define all names. A set of `hard/`, or a file of the user, replaces what it names; a name that they do not have is
refused. A probability of 0 draws no random number, so a part that is off leaves the rest of a world as it was.
"""

import tomllib
from datetime import date
from fnmatch import fnmatch
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Any, Self

from consignments.errors import BadInput, BadSetting, FileFault, UnknownName, explain_failure

HERE = Path(__file__).parent
SETS_FOLDER = HERE / "hard"
HARD, DEFAULT_SET = "hard", "sweden"


class Parameters(dict[str, Any]):
    """A table of parameters; each is an attribute too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the simulated world has no parameter {name!r}") from None


class SimulationParameters(Parameters):
    """All parameters of a simulated world, as in its files: `world.laboratory.never`, `world.people.countries`."""

    def replace(self, **changes: Any) -> Self:
        """Return the world with other values, as `inspection={"xray_share": 0.0}`; raises as `load_parameters` does."""
        _check(changes, self, "replace")
        return type(self)(_freeze(_merge(self, changes)))

    def get_preset(self, name: str) -> Parameters:
        """Return one preset of prevalence by its name; `hard:SET` is the one of the loaded set."""
        preset = name.partition(":")[0]
        if preset not in self.prevalence:
            raise UnknownName.from_candidates(name, self.prevalence, kind="prevalence")
        found: Parameters = self.prevalence[preset]
        return found

    def compute_operation_day(self, days: int, preset: Parameters) -> int:
        """Return the day from the start on which the operation begins in a world of `days` days."""
        return min(int(self.operation.day), int(days * preset.operation_from))

    def get_volume_factor(self, day: date) -> float:
        """Return the factor of the daily volume of one day, by the calendar."""
        calendar = self.calendar
        held = [peak.height for peak in calendar.peaks if peak.first <= f"{day:%m-%d}" <= peak.last]
        return float(calendar.weekly[day.weekday()] * max(held, default=1.0))


def load_parameters(path: Path | None = None, preset: str = "") -> SimulationParameters:
    """Read the parameters of a world.

    The tables of a TOML file at `path` replace entries of the default world, and as a whole those that its list `replaced` names. The preset
    `hard:SET` loads the tables of that set before, `hard` the first set; others change nothing. Raises `FileFault`, `UnknownName` or `BadSetting`.

    >>> load_parameters().laboratory.never
    0.04
    """
    kind, _, name = preset.partition(":")
    files = [_find_hard_set(name)] if kind == HARD else []
    files += [] if path is None else [path]
    return SimulationParameters(_freeze(reduce(_lay_over, files, _read_default())))


def list_hard_sets() -> tuple[str, ...]:
    """List the names of the sets of hard worlds in alphabetical order."""
    return tuple(sorted(path.stem for path in SETS_FOLDER.glob("*.toml")))


def check_size(days: int, per_day: int) -> None:
    """Check that a world has days and traffic."""
    if days < 1 or per_day < 1:
        raise BadInput("a world needs days and traffic", got=f"{days} days, {per_day} a day")


@cache
def _read_default() -> dict[str, Any]:
    texts = {name: _read_toml(HERE / f"{name}.toml") for name in ("people", "goods")}
    return _read_toml(HERE / "world.toml") | texts


def _find_hard_set(name: str) -> Path:
    if name and name not in list_hard_sets():
        raise UnknownName.from_candidates(name, list_hard_sets(), kind="set of hard")
    return SETS_FOLDER / f"{name or DEFAULT_SET}.toml"


def _lay_over(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Merge a file into values, without the tables that it replaces as a whole, since shares of a whole cannot be mixed."""
    changes = _read_toml(path)
    replaced = changes.pop("replaced", [])
    _check(changes, values, str(path))
    return _merge(reduce(_remove, replaced, values), changes)


def _remove(values: dict[str, Any], dotted: str) -> dict[str, Any]:
    first, _, rest = dotted.partition(".")
    left = {name: value for name, value in values.items() if rest or name != first}
    return left | ({first: _remove(values[first], rest)} if rest else {})


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = base | changes
    for name in base.keys() & changes.keys():
        if isinstance(base[name], dict) and isinstance(changes[name], dict):
            merged[name] = _merge(base[name], changes[name])
    return merged


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return Parameters({name: _freeze(held) for name, held in value.items()})
    return tuple(_freeze(each) for each in value) if isinstance(value, list | tuple) else value


def _check(changes: dict[str, Any], known: dict[str, Any], where: str, table: str = "") -> None:
    """Check that changes have the names and the kinds of what they replace, or of the entries that they join."""
    free = any(fnmatch(table, pattern) for pattern in _read_default()["free"])
    for name, value in changes.items():
        if name not in known and not free:
            kind, place = "parameter of the simulated world", f"{where}, {table or 'top'}"
            raise UnknownName.from_candidates(name, known, kind=kind, where=place)
        others = [*known.values()] if free else [known[name]]
        kinds = {_name_kind(other) for other in others} or {_name_kind(value)}
        place = f"{where}, {table}.{name}".replace(", .", ", ")
        if (got := _name_kind(value)) not in kinds:
            expected, todo = " or ".join(sorted(kinds)), "compare with training/simulation/world.toml"
            fault = "bad parameter of the simulated world"
            raise BadSetting(fault, where=place, got=got, expected=expected, todo=todo)
        if isinstance(value, dict):
            tables = [other for other in others if isinstance(other, dict)]
            if name not in known and (lost := set.intersection(*map(set, tables)) - set(value)):
                fault = "a parameter of the simulated world is missing"
                raise BadSetting(fault, where=place, expected=", ".join(sorted(lost)))
            _check(value, reduce(or_, tables), where, f"{table}.{name}".lstrip("."))


def _name_kind(value: Any) -> str:
    """Name the kind of a value; a pair of numbers is another kind than a list of three."""
    if isinstance(value, list | tuple):
        numbers = value and all(isinstance(each, int | float) for each in value)
        return f"a list of {len(value)} numbers" if numbers else "a list"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", date: "a date"}
    return "a table" if isinstance(value, dict) else names.get(type(value), type(value).__name__)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with explain_failure("cannot be read", path, "check the path"):
            return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFault("not a TOML file", where=str(path), got=str(error)) from error
