"""Measure the structure of the code: folders, long files, import cycles, wide functions, names, and the files of one request.

    python -m benchmarks.structure [--request]

Reads the product's files as text. With `--request` a service that scores by the rules answers one consignment in this process.
Every call of a function of the product in the thread of the event loop is traced, and the files are counted. The exit code is 1
if a figure is beyond its limit.
"""

import argparse
import ast
import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("consignments", "features", "models", "training", "serving", "cli")
MAX_FILES_IN_A_ROOM = 20
MAX_FILE_LINES = 600
MAX_PARAMETERS = 5
MAX_WIDE_SHARE = 0.015
MIN_VERB_SHARE = 0.85
MAX_PLACES_SHOWN = 40
KERNEL_DECORATORS = {"kernel", "entry_point", "njit"}
VERBS = frozenset((Path(__file__).parent / "verbs.txt").read_text().split())
"""First words of functions that state what they do; `from`, `to`, `is` and `has` are included."""
CONSIGNMENT = {"channel": "postal", "description": "cotton t-shirts"}
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class ProductModule(NamedTuple):
    """A file of the product: its path in the repository, its text and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Dotted name."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def has_kernels(self) -> bool:
        """True if any of its functions is compiled."""
        return any(is_kernel(function) for function, _ in list_functions(self.tree))

    @property
    def lines(self) -> int:
        """Number of lines."""
        return self.text.count("\n")


class ProductFunction(NamedTuple):
    """A function that is not compiled.

    Attributes
    ----------
    path : Path
    node : FunctionDef
    owner : str or None
        Class of a method, "" for a function of a module, None for one inside another or in a private class.
    """

    path: Path
    node: FunctionNode
    owner: str | None

    @property
    def place(self) -> str:
        """Path, line and name."""
        return f"{self.path}:{self.node.lineno} {self.node.name}"

    @property
    def parameters(self) -> int:
        """Number of parameters without `self` and `cls`."""
        own = self.node.args
        named = (*own.posonlyargs, *own.args, *own.kwonlyargs)
        return sum(each.arg not in ("self", "cls") for each in named)

    @property
    def is_public(self) -> bool:
        """True if other code may call it as a function: no property, no leading underscore."""
        if self.owner is None or self.node.name.startswith("_"):
            return False
        decorators = " ".join(ast.unparse(decorator) for decorator in self.node.decorator_list)
        return "property" not in decorators and ".setter" not in decorators

    @property
    def begins_with_verb(self) -> bool:
        """True if the first word of its name is a verb."""
        return self.node.name.split("_")[0] in VERBS


class StructureFigure(NamedTuple):
    """A measured figure, whether it holds, and the places beyond the limit."""

    what: str
    figure: str
    holds: bool
    places: list[str]


class RequestTrace(NamedTuple):
    """Number of files whose functions ran for one request, and of calls from one file into another."""

    files: int
    changes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; return 1 if one is beyond its limit."""
    options = parse_arguments(arguments)
    figures = measure_structure(list(read_modules()))
    for figure in figures:
        print_figure(figure)
    if options.request:
        trace = trace_request()
        print(f"one scored request: {trace.files} files, {trace.changes} changes of file")
    return 0 if all(figure.holds for figure in figures) else 1


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--request", action="store_true", help="also trace one request through the files")
    return parser.parse_args(arguments)


def print_figure(figure: StructureFigure) -> None:
    """Print a figure, and the first places beyond its limit."""
    print(f"{'holds ' if figure.holds else 'MISSED'}  {figure.what}: {figure.figure}")
    if not figure.holds:
        for place in figure.places[:MAX_PLACES_SHOWN]:
            print(f"          {place}")


def read_modules() -> Iterator[ProductModule]:
    """Read every Python file of the product."""
    paths = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    for path in sorted([REPOSITORY / "npsrisk.py", *paths]):
        text = path.read_text(encoding="utf-8")
        yield ProductModule(path.relative_to(REPOSITORY), text, ast.parse(text))


def measure_structure(modules: Sequence[ProductModule]) -> list[StructureFigure]:
    """Measure files, imports, functions and names."""
    functions = [
        ProductFunction(module.path, node, owner)
        for module in modules
        for node, owner in list_functions(module.tree)
        if not is_kernel(node)
    ]
    return [
        measure_rooms(modules),
        measure_files(modules),
        measure_circles(modules),
        measure_parameters(functions),
        measure_verbs(functions),
        measure_class_names(modules),
    ]


def measure_rooms(modules: Sequence[ProductModule]) -> StructureFigure:
    """Count the files of each folder."""
    rooms = Counter(str(module.path.parent) for module in modules if module.path.name != "__init__.py")
    full = [f"{room} {count}" for room, count in rooms.items() if count > MAX_FILES_IN_A_ROOM]
    return StructureFigure(
        f"files in a room, at most {MAX_FILES_IN_A_ROOM}", str(max(rooms.values())), not full, full
    )


def measure_files(modules: Sequence[ProductModule]) -> StructureFigure:
    """Count the lines of each file that has no kernels."""
    plain = [module for module in modules if not module.has_kernels]
    long = [f"{module.path} {module.lines}" for module in plain if module.lines > MAX_FILE_LINES]
    what = f"lines in a file without kernels, at most {MAX_FILE_LINES}"
    return StructureFigure(what, str(max(module.lines for module in plain)), not long, long)


def measure_circles(modules: Sequence[ProductModule]) -> StructureFigure:
    """Find the files that import each other."""
    circles = find_circles(map_imports(modules))
    return StructureFigure("circles of imports", str(len(circles)), not circles, circles)


def measure_parameters(functions: Sequence[ProductFunction]) -> StructureFigure:
    """Find the functions with many parameters."""
    wide = [f"{each.place} {each.parameters}" for each in functions if each.parameters > MAX_PARAMETERS]
    share = len(wide) / len(functions)
    what = f"functions with more than {MAX_PARAMETERS} parameters, at most {MAX_WIDE_SHARE:.1%}"
    figure = f"{share:.2%} ({len(wide)} of {len(functions)})"
    return StructureFigure(what, figure, share <= MAX_WIDE_SHARE, wide)


def measure_verbs(functions: Sequence[ProductFunction]) -> StructureFigure:
    """Find the public functions whose name does not begin with a verb."""
    public = [each for each in functions if each.is_public]
    without = [each.place for each in public if not each.begins_with_verb]
    share = 1 - len(without) / len(public)
    what = f"public functions that begin with a verb, at least {MIN_VERB_SHARE:.0%}"
    return StructureFigure(what, f"{share:.1%} of {len(public)}", share >= MIN_VERB_SHARE, without)


def measure_class_names(modules: Sequence[ProductModule]) -> StructureFigure:
    """Find the class names that are used twice."""
    places = defaultdict(list)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(module.path))
    twice = [f"{name}: {', '.join(paths)}" for name, paths in sorted(places.items()) if len(paths) > 1]
    return StructureFigure("class names that are used twice", str(len(twice)), not twice, twice)


def list_functions(tree: ast.Module) -> Iterator[tuple[FunctionNode, str | None]]:
    """List functions with their owner; see `ProductFunction`."""
    stack: list[tuple[ast.AST, str | None]] = [(tree, "")]
    while stack:
        node, owner = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode):
                yield child, owner
                stack.append((child, None))
            elif isinstance(child, ast.ClassDef):
                is_hidden = owner is None or child.name.startswith("_")
                stack.append((child, None if is_hidden else child.name))
            else:
                stack.append((child, owner))


def is_kernel(function: FunctionNode) -> bool:
    """Check whether numba compiles a function."""
    nodes = (node for decorator in function.decorator_list for node in ast.walk(decorator))
    return any(isinstance(node, ast.Name) and node.id in KERNEL_DECORATORS for node in nodes)


def map_imports(modules: Sequence[ProductModule]) -> dict[str, set[str]]:
    """Map each module to those of the product that it imports, in functions too."""
    known = {module.name for module in modules}
    return {module.name: set(list_imports(module.tree, known)) - {module.name} for module in modules}


def list_imports(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """List the known modules that a syntax tree imports; `from a import b` is `a.b` if that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [
                name for name in (f"{node.module}.{alias.name}" for alias in node.names) if name in known
            ]
            yield from inner or ([node.module] if node.module in known else [])


def find_circles(imports: Mapping[str, set[str]]) -> list[str]:
    """Find the largest groups of modules in which each reaches each by imports."""
    reached = {name: find_reachable(name, imports) for name in imports}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in imports
        if name in reached[name]
    }
    return sorted(" - ".join(sorted(group)) for group in groups)


def find_reachable(name: str, imports: Mapping[str, set[str]]) -> set[str]:
    """Find the modules that a module reaches by imports, including itself if it is in a cycle."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        new = imports[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    return reached


def trace_request() -> RequestTrace:
    """Trace one scored request through a service."""
    from serving.http.app import App
    from serving.process.settings import Settings
    from serving.service import Service

    with TemporaryDirectory() as folder:
        values = {
            "NPSRISK_STATE_DIR": folder,
            "NPSRISK_DATA_KEY_FILE": f"{folder}/data.key",
            "NPSRISK_DATABASE_URL": f"sqlite:///{folder}/events.db",
            "NPSRISK_WITHOUT_MODEL": "rules",
        }
        service = Service(Settings.model_validate(values))
        service.open()
        return asyncio.run(follow_request(App(service)))


async def follow_request(app: Any) -> RequestTrace:
    """Send two requests over a connection and trace the second, when the caches are filled as in a running service."""
    from benchmarks.request_stages import Load

    visited: list[str] = []

    def note_call(frame: Any, event: str, _argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and is_product_file(path) and visited[-1:] != [path]:
            visited.append(path)

    def send_both() -> Iterator[bytes]:
        yield build_request("RB000000017GB")
        sys.setprofile(note_call)
        yield build_request("RB000000025GB")
        sys.setprofile(None)

    await Load(app, send_both(), 1).run()
    return RequestTrace(len(set(visited)), len(visited) - 1)


def is_product_file(path: str) -> bool:
    """Check whether a file belongs to the product: not to the benchmarks, nor to an installed package."""
    return path.startswith(str(REPOSITORY)) and "/.venv/" not in path and "/benchmarks/" not in path


def build_request(consignment_id: str) -> bytes:
    """Build a request to score one consignment."""
    from benchmarks.client import request
    from benchmarks.request_stages import PORT

    body = json.dumps({"consignment_id": consignment_id, **CONSIGNMENT}).encode()
    return request("/v1/scores", body, PORT)


if __name__ == "__main__":
    raise SystemExit(main())
