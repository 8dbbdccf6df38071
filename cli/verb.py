"""A verb: a function whose parameters are its options, each written once, and one way to run it.

    @verb
    def trace(consignment_id: str = argument("ID"), depth: int = option("Most links.", 2)) -> Result: ...

An option has the name of its parameter (`from_` is --from) and the type of its annotation: `tuple[T, ...]` may be repeated, and an option is required unless
it has a default or may be None. A type `Annotated[T, TYPE, METAVAR]` has a type of click, and what the help calls its value. A parameter
`progress` receives the display of long work. A verb that returns a `Result` has the option --json.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import click

from cli.progress import Progress as Progress
from cli.progress import show_progress_bar
from consignments.errors import BadInput

Function = Callable[..., "Result | None"]


class Result(NamedTuple):
    """The result of a verb: values for JSON, and a text. Notes go to standard error; a failed check has exit code 1."""

    values: Mapping[str, Any]
    text: str
    failed: bool = False
    notes: tuple[str, ...] = ()


class TimeType(click.DateTime):
    """A time in ISO 8601, in UTC if it has no zone."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse the time; raise `BadInput` with the name of the option if it is not ISO 8601."""
        del ctx
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            where, expected = param.opts[0] if param else "", "ISO 8601, for example 2024-03-04T09:00:00Z"
            raise BadInput("bad time", where=where, got=repr(value), expected=expected) from None
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


TYPES: dict[Any, tuple[Any, str | None]] = {
    str: (click.STRING, None),
    int: (click.INT, "N"),
    float: (click.FLOAT, "SHARE"),
    Path: (click.Path(path_type=Path), "FILE"),
    datetime: (TimeType(), "TIME"),
}
"""The type and the metavar of an option by the type of its parameter."""


@dataclass(frozen=True)
class VerbOption:
    """An option or an argument. Its name and type are those of the parameter whose default it is."""

    is_argument: bool
    attributes: dict[str, Any]

    def build(self, parameter: str, annotation: Any) -> list[click.Parameter]:
        """Build the parameter of click."""
        attributes = read_annotation(annotation) | self.attributes
        is_list = attributes.pop("multiple")
        if self.is_argument:
            return [click.Argument([parameter], nargs=-1 if is_list else 1, **attributes)]
        default = attributes.get("default")
        if is_list or default is not None or "is_flag" in attributes:
            attributes["required"] = self.attributes.get("required", False)
        shown = default not in (None, "", ()) and not callable(default)
        names = [f"--{parameter.strip('_').replace('_', '-')}", parameter]
        return [click.Option(names, multiple=is_list, show_default=shown, **attributes)]

    def read(self, parameter: str, given: dict[str, Any]) -> Any:
        """Read the value of the parameter from those of a call."""
        return given[parameter]


@dataclass(frozen=True)
class OptionGroup:
    """Options that a verb receives as one value. `kind` makes the value, and its annotations are the types."""

    kind: Callable[..., Any]
    options: Mapping[str, Any]

    def build(self, _: str, annotation: Any) -> list[click.Parameter]:
        """Build the parameters of click."""
        types = inspect.get_annotations(annotation)
        return [built for name, each in self.options.items() for built in each.build(name, types[name])]

    def read(self, _: str, given: dict[str, Any]) -> Any:
        """Read the values of all options from those of a call, as one value."""
        return self.kind(**{name: given[name] for name in self.options})


def option(text: str, default: Any = None, **attributes: Any) -> Any:
    """Define an option: its help, its default, and attributes of click."""
    given = {} if default is None else {"default": default}
    return VerbOption(False, {"help": text, **given, **attributes})


def argument(metavar: str | None = None, **attributes: Any) -> Any:
    """Define an argument; a tuple takes any number of words."""
    return VerbOption(True, {"metavar": metavar, **attributes})


def read_annotation(annotation: Any) -> dict[str, Any]:
    """Read the attributes of click from the type of a parameter."""
    is_optional = get_origin(annotation) in (Union, UnionType)
    annotation = get_args(annotation)[0] if is_optional else annotation
    is_list = get_origin(annotation) is tuple
    annotation = get_args(annotation)[0] if is_list else annotation
    attributes: dict[str, Any] = {"required": not is_optional, "multiple": is_list}
    if annotation is bool:
        return attributes | {"is_flag": True}
    if get_origin(annotation) is Literal:
        return attributes | {"type": click.Choice(get_args(annotation))}
    kind, *own = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    return attributes | dict(zip(("type", "metavar"), (*own, *TYPES[kind][len(own) :]), strict=True))


JSON = option("Print the result as one JSON object on the last line of standard output.")


def verb(function: Function, group: click.Group | None = None) -> click.Command:
    """Make the command of a verb, in a group if one is given, from its function, which is named like the verb."""
    signature = inspect.signature(function)
    specs = {name: each.default for name, each in signature.parameters.items() if name != "progress"}
    has_progress, has_result = "progress" in signature.parameters, signature.return_annotation is Result
    parameters: list[click.Parameter] = []
    for name, spec in specs.items():
        parameters += spec.build(name, signature.parameters[name].annotation)
    if has_result:
        parameters += JSON.build("json_", bool)

    def run(json_: bool = False, **given: Any) -> None:
        values = {name: spec.read(name, given) for name, spec in specs.items()}
        with show_progress_bar() if has_progress else nullcontext() as progress:
            result = function(**values, **({"progress": progress} if has_progress else {}))
        if result is None:
            return
        for note in result.notes:
            click.echo(note, err=True)
        click.echo(json.dumps(result.values, default=str) if json_ else result.text)
        if result.failed:
            click.get_current_context().exit(1)

    name = function.__name__.strip("_").replace("_", "-")
    command = click.Command(name, callback=run, params=parameters, help=function.__doc__)
    if group is not None:
        group.add_command(command)
    return command


def sub_verb(group: click.Group) -> Callable[[Function], click.Command]:
    """Make a decorator that adds a verb to a group."""
    return partial(verb, group=group)
