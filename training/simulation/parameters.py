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

from consignments.errors import BadInput, BadSetting, FileFault, UnknownName

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

    Parameters
    ----------
    path : Path, optional
        A TOML file whose tables replace entries of the default world. Its list `replaced` names tables that it replaces as a
        whole.
    preset : str
        `hard:SET` loads the tables of that set, and the file's replace them; `hard` loads the first set; other names change nothing.

    Raises
    ------
    FileFault, UnknownName, BadSetting
        For a file that is not TOML, a name that the world does not have, and a value of another kind than the one it replaces.

    Examples
    --------
    >>> load_parameters().laboratory.never
    0.04
    """
    values = _read_default()
    if preset.partition(":")[0] == HARD:
        values = _lay_over(values, _find_set(preset))
    if path is not None:
        values = _lay_over(values, path)
    return SimulationParameters(_freeze(values))


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


def _find_set(preset: str) -> Path:
    name = preset.partition(":")[2] or DEFAULT_SET
    if name not in list_hard_sets():
        raise UnknownName.from_candidates(name, list_hard_sets(), kind="set of hard")
    return SETS_FOLDER / f"{name}.toml"


def _lay_over(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Merge a file into values, without the tables that it replaces as a whole, since shares of a whole cannot be mixed."""
    changes = _read_toml(path)
    replaced = changes.pop("replaced", [])
    _check(changes, values, str(path))
    return _merge(_remove(values, replaced), changes)


def _remove(values: dict[str, Any], dotted: list[str]) -> dict[str, Any]:
    kept = dict(values)
    for name in dotted:
        first, _, rest = name.partition(".")
        if rest:
            kept[first] = _remove(kept[first], [rest])
        else:
            del kept[first]
    return kept


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merge(base[name], changes[name])
        for name in base.keys() & changes.keys()
        if isinstance(base[name], dict) and isinstance(changes[name], dict)
    }
    return base | changes | both


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return Parameters({name: _freeze(held) for name, held in value.items()})
    return tuple(_freeze(each) for each in value) if isinstance(value, list | tuple) else value


def _check(changes: dict[str, Any], known: dict[str, Any], where: str, table: str = "") -> None:
    """Check that changes have the names and the kinds of what they replace, or of the entries that they join."""
    free = any(fnmatch(table, pattern) for pattern in _read_default()["free"])
    for name, value in changes.items():
        if name not in known and not free:
            raise UnknownName.from_candidates(
                name, known, kind="parameter of the simulated world", where=f"{where}, {table or 'top'}"
            )
        others = [*known.values()] if free else [known[name]]
        kinds = {_name_kind(other) for other in others} or {_name_kind(value)}
        if _name_kind(value) not in kinds:
            raise BadSetting(
                "bad parameter of the simulated world",
                where=f"{where}, {table}.{name}".replace(", .", ", "),
                got=_name_kind(value),
                expected=" or ".join(sorted(kinds)),
                todo="compare with training/simulation/world.toml",
            )
        if isinstance(value, dict):
            tables = [other for other in others if isinstance(other, dict)]
            if name not in known and (lost := set.intersection(*map(set, tables)) - set(value)):
                raise BadSetting(
                    "a parameter of the simulated world is missing",
                    where=f"{where}, {table}.{name}",
                    expected=", ".join(sorted(lost)),
                )
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
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFault(
            "cannot be read", where=str(path), got=error.strerror or "", todo="check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFault("not a TOML file", where=str(path), got=str(error)) from error
