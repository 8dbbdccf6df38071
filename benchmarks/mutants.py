"""Share of killed mutants: change one operator or constant at a time, and run tests that execute the changed line.

    python -m pytest --numprocesses 2 --dist loadfile --cov=. --cov-branch --cov-context=test    # writes .coverage
    python -m benchmarks.mutants --mutants 300 --seed 1 --coverage .coverage --out mutants.json

The mutants are spread over all rooms by their number of lines, at least one each, and are tried in random order. A mutant
is killed if one of at most `--tests` tests that execute its line fails, or if they take more than `--seconds`; both are
counted. Lines that no test executes count as survivors, apart from compiled kernels: coverage does not see their lines, so
the tests of the kernel's room are run. Every mutant changes a file of the current folder and restores it, so run it in a
clone that nobody uses. `--out` is written after each mutant, and the same command goes on from there. `--within` tries
the mutants of some rooms first, for example of those whose tests have been measured.
"""

import ast
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from coverage import CoverageData

from benchmarks.script import parse_options

SWAPS: dict[type[ast.AST], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*",
    ast.And: "or", ast.Or: "and", ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
KERNEL_MARKS = ("@njit", "@kernel", "@entry_point")
NOT_PRODUCT = ("tests", "benchmarks", "docs")


class Mutant(NamedTuple):
    """One change: the text between two offsets of a file is replaced."""

    file: str
    line: int
    start: int
    end: int
    text: str


def list_product_files() -> list[str]:
    """List the product's files."""
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split() if name.split("/")[0] not in NOT_PRODUCT]


def iterate_mutants(file: str) -> Iterator[Mutant]:
    """Yield every possible mutant inside the functions of a file."""
    source = Path(file).read_text(encoding="utf-8")
    lines = [0]
    for text in source.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(text))

    def locate(node: ast.expr, *, end: bool = False) -> int:
        row, column = (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)
        assert row is not None
        assert column is not None
        return lines[row - 1] + column

    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in (each for statement in function.body for each in ast.walk(statement)):
            sign: ast.AST | None = None
            if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
                sign, left, right = node.ops[0], node.left, node.comparators[0]
            elif isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
                sign, left, right = node.op, node.left, node.right
            elif isinstance(node, ast.BoolOp):
                sign, left, right = node.op, node.values[0], node.values[1]
            if sign is not None:
                places = locate(left, end=True), locate(right)
                yield Mutant(file, left.lineno, *places, f" {SWAPS[type(sign)]} ")
            elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
                changed = (not node.value) if isinstance(node.value, bool) else node.value + 1
                yield Mutant(file, node.lineno, locate(node), locate(node, end=True), repr(changed))
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                yield Mutant(file, node.lineno, locate(node), locate(node.operand), "")


def apply(mutant: Mutant) -> bytes | None:
    """Return the changed source, or None if it is no valid Python or the operator stands between brackets."""
    source = Path(mutant.file).read_bytes()
    removed = source[mutant.start : mutant.end]
    if removed.count(b"(") != removed.count(b")") or b"#" in removed or b"\n" in removed:
        return None
    changed = source[: mutant.start] + mutant.text.encode() + source[mutant.end :]
    try:
        compile(changed, mutant.file, "exec")
    except SyntaxError:
        return None
    return None if changed == source else changed


def draw_mutants(number: int, seed: int) -> list[Mutant]:
    """Draw mutants from every room, by its number of lines."""
    rooms: dict[str, list[Mutant]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for file in list_product_files():
        room = str(Path(file).parent)
        sizes[room] += len(Path(file).read_text(encoding="utf-8").splitlines())
        found = {(mutant.start, mutant.end): mutant for mutant in iterate_mutants(file)}
        rooms[room] += found.values()
    rng = random.Random(seed)
    drawn: list[Mutant] = []
    for room in sorted(room for room in rooms if rooms[room]):
        wanted = max(1, round(number * sizes[room] / sum(sizes.values())))
        shuffled = rng.sample(rooms[room], len(rooms[room]))
        drawn += islice((mutant for mutant in shuffled if apply(mutant) is not None), wanted)
    return drawn


def list_tests(data: CoverageData, mutant: Mutant, most: int) -> list[str]:
    """List tests that execute the line of a mutant, those of the same package first."""
    contexts = data.contexts_by_lineno(str(Path(mutant.file).resolve())).get(mutant.line, [])
    tests = sorted({context.partition("|")[0] for context in contexts if "::" in context})
    random.Random(repr(mutant)).shuffle(tests)
    path = Path(mutant.file)
    parts = path.with_suffix("").parts
    found = sorted(tests, key=lambda test: -sum(part in test for part in parts))[:most]
    if not found and any(mark in path.read_text(encoding="utf-8") for mark in KERNEL_MARKS):
        room = Path("tests") / path.parent
        found = [str(each) for each in sorted(room.glob("test_*.py"))]
    return found


def try_mutant(mutant: Mutant, tests: list[str], seconds: float) -> str:
    """Change the file, run the tests and restore the file; return `killed`, `survived` or `timed out`."""
    path, changed = Path(mutant.file), apply(mutant)
    assert changed is not None
    if not tests:
        return "survived"
    source = path.read_bytes()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    try:
        path.write_bytes(changed)
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return "timed out"
    finally:
        path.write_bytes(source)
    return "killed" if done.returncode else "survived"


def main() -> None:
    """Draw the mutants, try each, and write the counts of each package."""
    options = parse_options(
        __doc__, mutants=300, seed=1, coverage=Path(".coverage"), tests=25, seconds=180.0, within=[""],
        out=Path("mutants.json"),
    )  # fmt: skip
    data = CoverageData(str(options.coverage))
    data.read()
    drawn = draw_mutants(options.mutants, options.seed)
    random.Random(options.seed).shuffle(drawn)
    rows = json.loads(options.out.read_text()) if options.out.is_file() else []
    tried = {Mutant(*(row[name] for name in Mutant._fields)) for row in rows}
    if not tried <= set(drawn):
        raise SystemExit(f"{options.out} has other mutants; give another file")
    left = [each for each in drawn if each not in tried and each.file.startswith(tuple(options.within))]
    for number, mutant in enumerate(left, start=1):
        tests = list_tests(data, mutant, options.tests)
        result = try_mutant(mutant, tests, options.seconds)
        rows.append({**mutant._asdict(), "tests": len(tests), "result": result})
        print(f"{number} of {len(left)}: {mutant.file}:{mutant.line} {result}", flush=True)
        options.out.write_text(json.dumps(rows, indent=1))
    print_shares(rows)


def print_shares(rows: list[dict[str, object]]) -> None:
    """Print how many mutants of each package were killed, how many of them by the time, and how many no test executes."""
    packages = {str(row["file"]).split("/")[0] for row in rows}
    for package in (*sorted(packages), "all"):
        mine = [row for row in rows if package in ("all", str(row["file"]).split("/")[0])]
        late = sum(row["result"] == "timed out" for row in mine)
        killed = sum(row["result"] == "killed" for row in mine) + late
        untested = sum(not row["tests"] for row in mine)
        print(
            f"{package:14s} {killed} of {len(mine)} ({late} by time; {untested} of the others without a test)"
        )


if __name__ == "__main__":
    main()
