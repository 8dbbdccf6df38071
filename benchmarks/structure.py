"""What a stranger meets in the code: rooms, long files, circles, wide functions, names, and the way of one request.

    python -m benchmarks.structure [--request]

Reads the product's files as text. With `--request` a service with the rules in place of a model answers one consignment in this
process; every call of one of the product's functions on the event loop's thread is followed, and the files are counted.
"""

import argparse
import ast
import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
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
KERNEL_DECORATORS = {"kernel", "njit"}
VERBS = frozenset((Path(__file__).parent / "verbs.txt").read_text().split())
"""First words of functions that say what they do; `from`, `to`, `is` and `has` among them."""
BODY = json.dumps({"consignment_id": "RB000000017GB", "channel": "postal", "description": "cotton t-shirts"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
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
    def holds_kernels(self) -> bool:
        """Whether functions of it are compiled."""
        return any(is_kernel(function) for function, _ in list_functions(self.tree))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit code 1 if one is missed."""
    options = parse_arguments(arguments)
    modules = list(read_modules())
    missed = [report(*row) for row in measure(modules)].count(False)
    if options.request:
        files, changes = trace_request()
        print(f"one scored request: {files} files, {changes} changes of file")
    return 1 if missed else 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--request", action="store_true", help="follow one request through the files, too")
    return parser.parse_args(arguments)


def read_modules() -> Iterator[Module]:
    """Read every Python file of the product."""
    paths = [
        REPOSITORY / "npsrisk.py",
        *(p for package in PACKAGES for p in (REPOSITORY / package).rglob("*.py")),
    ]
    for path in sorted(paths):
        text = path.read_text(encoding="utf-8")
        yield Module(path.relative_to(REPOSITORY), text, ast.parse(text))


def measure(modules: list[Module]) -> Iterator[tuple[str, bool, str, list[str]]]:
    """Measure the tree: what, whether it holds, the figure, and the places that miss it."""
    rooms = Counter(str(module.path.parent) for module in modules if module.path.name != "__init__.py")
    full = [f"{room} {count}" for room, count in rooms.items() if count > MAX_FILES_IN_A_ROOM]
    yield f"files in a room, at most {MAX_FILES_IN_A_ROOM}", not full, f"{max(rooms.values())}", full
    lengths = {str(m.path): m.text.count("\n") for m in modules if not m.holds_kernels}
    long = [f"{path} {lines}" for path, lines in lengths.items() if lines > MAX_FILE_LINES]
    yield (
        f"lines in a file without kernels, at most {MAX_FILE_LINES}",
        not long,
        f"{max(lengths.values())}",
        long,
    )
    circles = find_circles(modules)
    yield "circles of imports", not circles, str(len(circles)), circles
    functions = [(m, f, owner) for m in modules for f, owner in list_functions(m.tree) if not is_kernel(f)]
    wide = [
        f"{m.path}:{f.lineno} {f.name} {count_parameters(f)}"
        for m, f, _ in functions
        if count_parameters(f) > MAX_PARAMETERS
    ]
    share = len(wide) / len(functions)
    yield (
        f"functions with more than {MAX_PARAMETERS} parameters, at most {MAX_WIDE_SHARE:.1%}",
        share <= MAX_WIDE_SHARE, f"{share:.2%} ({len(wide)} of {len(functions)})", wide,
    )  # fmt: skip
    public = [(m, f) for m, f, owner in functions if owner is not None and is_public(f)]
    without = [f"{m.path}:{f.lineno} {f.name}" for m, f in public if f.name.split("_")[0] not in VERBS]
    share = 1 - len(without) / len(public)
    yield (
        f"public functions that begin with a verb, at least {MIN_VERB_SHARE:.0%}",
        share >= MIN_VERB_SHARE,
        f"{share:.1%} of {len(public)}",
        without,
    )
    twice = find_repeated_classes(modules)
    yield "class names that stand twice", not twice, str(len(twice)), twice


def report(what: str, holds: bool, figure: str, places: list[str]) -> bool:
    """Print one figure, and the first places that miss it."""
    print(f"{'holds ' if holds else 'MISSED'}  {what}: {figure}")
    if not holds:
        for place in places[:40]:
            print(f"          {place}")
    return holds


def list_functions(tree: ast.Module) -> Iterator[tuple[Function, str | None]]:
    """List functions with where they stand: "" for a module, the class for a method, None for one inside another."""
    stack: list[tuple[ast.AST, str | None]] = [(tree, "")]
    while stack:
        node, owner = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield child, owner
                stack.append((child, None))
            elif isinstance(child, ast.ClassDef):
                hidden = owner is None or child.name.startswith("_")
                stack.append((child, None if hidden else child.name))
            else:
                stack.append((child, owner))


def is_kernel(function: Function) -> bool:
    """Check whether numba compiles it."""
    return any(
        KERNEL_DECORATORS & {n.id for n in ast.walk(d) if isinstance(n, ast.Name)}
        for d in function.decorator_list
    )


def is_public(function: Function) -> bool:
    """Check whether others may call it as a function: no property, no leading underscore."""
    decorators = " ".join(ast.unparse(decorator) for decorator in function.decorator_list)
    return not function.name.startswith("_") and "property" not in decorators and ".setter" not in decorators


def count_parameters(function: Function) -> int:
    """Count parameters; `self` and `cls` are none."""
    a = function.args
    return len([arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs) if arg.arg not in ("self", "cls")])


def find_repeated_classes(modules: list[Module]) -> list[str]:
    """Find names that are classes in two files."""
    places = defaultdict(list)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(module.path))
    return [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def find_circles(modules: list[Module]) -> list[str]:
    """Find groups of files that import each other at their top, by Tarjan's strongly connected components."""
    known = {module.name for module in modules}
    imports = {module.name: set(list_imports(module, known)) - {module.name} for module in modules}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[str] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in imports[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(" - ".join(sorted(group)))

    for name in imports:
        if name not in order:
            visit(name)
    return found


def list_imports(module: Module, known: set[str]) -> Iterator[str]:
    """List the product's modules that a module imports, in functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (
                [name for name in inner if name in known] or ([node.module] if node.module in known else [])
            )


def trace_request() -> tuple[int, int]:
    """Follow one scored request; give the files whose functions ran, and how often the file changed."""
    from serving.http.app import App
    from serving.process.settings import Settings
    from serving.service import Service

    with TemporaryDirectory() as folder:
        state = Path(folder)
        settings = Settings(
            state_dir=state,
            data_key_file=state / "data.key",
            database_url=f"sqlite:///{state}/events.db",
            without_model="rules",
        )  # type: ignore[call-arg]
        service = Service(settings)
        service.open()
        return asyncio.run(_follow(App(service)))


async def _follow(app: Any) -> tuple[int, int]:
    """Let the application answer twice, the second time under observation: caches are filled, as in a service that runs."""
    await _post(app, BODY)
    visited: list[str] = []

    def note(frame: Any, event: str, _arg: Any) -> None:
        name = frame.f_code.co_filename
        inside = name.startswith(str(REPOSITORY)) and "/.venv/" not in name and "/benchmarks/" not in name
        if event == "call" and inside and visited[-1:] != [name]:
            visited.append(name)

    sys.setprofile(note)
    try:
        await _post(app, BODY.replace("17GB", "25GB"))
    finally:
        sys.setprofile(None)
    return len(set(visited)), len(visited) - 1


async def _post(app: Any, body: str) -> None:
    scope = {
        "type": "http", "method": "POST", "path": "/v1/scores", "scheme": "http", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    await app(scope, receive, send)
    if statuses[0] != 200:
        raise SystemExit(f"the request was answered with {statuses[0]}")


if __name__ == "__main__":
    raise SystemExit(main())
