"""Options, kept results, tables in Markdown and calls of npsrisk, which all scripts of the benchmarks share."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
NPSRISK = str(Path(sys.executable).with_name("npsrisk"))


def parse_options(doc: str | None, **defaults: Any) -> Any:
    """Parse an option for each default, of its type: False is a flag, a list takes several values, `Path` alone has no default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        option = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(option, action="store_true")
        elif isinstance(default, list):
            parser.add_argument(option, nargs="+", type=type(default[0]) if default else str, default=default)
        elif default is Path:
            parser.add_argument(option, type=Path)
        else:
            parser.add_argument(option, type=type(default), default=default)
    return parser.parse_args()


def read_or_measure(path: Path | None, kind: type[T], measure: Callable[[], T]) -> T:
    """Read the result of an earlier run from a JSON file, or measure and write it."""
    if path is not None and path.exists():
        return msgspec.json.decode(path.read_bytes(), type=kind)
    found = measure()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(found))
    return found


def format_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a table in Markdown."""
    head, *lines = (f"| {' | '.join(map(str, cells))} |" for cells in (columns, *rows))
    return "\n".join([head, "|" + "---|" * len(columns), *lines])


def run_verb(settings: Mapping[str, str], *words: str, folder: Path | None = None) -> None:
    """Run a verb of npsrisk; what it prints is left out."""
    environment = {**os.environ, **settings}
    subprocess.run([NPSRISK, *words], env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def say(what: str) -> None:
    """Print what begins now to standard error."""
    print(f"{what} …", file=sys.stderr, flush=True)
