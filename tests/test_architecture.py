"""The packages imported are this repository's, and ARCHITECTURE.md draws and says what their folders, files and imports are."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "ARCHITECTURE.md").read_text()
_, DRAWING, TEXT = PAGE.split("```\n")
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = {each["containers"][0]: each for each in CONTRACTS if "containers" in each}
DRAWN = re.findall(r"^([a-z]+) {2}", DRAWING, re.MULTILINE)


@pytest.mark.parametrize("name", [*DRAWN, "npsrisk"])
def test_the_package_imported_is_this_repositorys(name: str) -> None:
    module = importlib.import_module(name)
    assert REPOSITORY in Path(module.__file__).resolve().parents


def test_the_list_of_verbs_imports_no_package_but_that_of_errors() -> None:
    """It names the functions of `cli` as text, and loads a file of it only when a verb is asked for."""
    assert _imported(REPOSITORY / "npsrisk.py") & {*DRAWN} == {"consignments"}


def test_a_file_of_kernels_imports_nothing_of_the_product() -> None:
    """Their compiled forms are kept on disk, and only changes of their own file renew them."""
    for path in _list_files():
        if path.name.endswith("kernels.py") and "cache=True" in path.read_text():
            assert not _imported(path) & {*DRAWN}, path


def test_the_drawing_has_the_packages_in_the_order_of_their_imports() -> None:
    (order,) = (each["layers"] for each in CONTRACTS if each["type"] == "layers" and "containers" not in each)
    *above, both, third, second, first = order
    upper, lower = both.split(" | ")
    last = " ◄── ".join(reversed(above))
    row = f"{first} ◄── {second} ◄── {third} ◄─┬─ {upper} ◄─┬─ {last} ◄── npsrisk.py\n"
    fork = " " * row.index("┬") + f"└─ {lower:{len(upper)}} ◄─┘\n"
    assert DRAWING.startswith(row + fork)
    assert _list_words(" | ".join(order)) == set(DRAWN) == _list_packages(REPOSITORY)


@pytest.mark.parametrize("package", re.findall(r"^([a-z_.]+) {2}", DRAWING, re.MULTILINE))
def test_the_drawn_rooms_are_the_folders_and_their_floors_those_of_the_contract(package: str) -> None:
    lines = re.search(rf"^{re.escape(package)} {{2}}.*\n((?: .*\n)+)", DRAWING, re.MULTILINE)
    drawn = [re.split(r" {2,}", line.strip())[0] for line in lines[1].splitlines()]
    folder = REPOSITORY.joinpath(*package.split("."))
    rooms = _list_packages(folder)
    if contract := LAYERS.get(package):
        floors = [_list_words(floor) for line in drawn for floor in line.split(" > ")]
        assert floors == [_list_words(floor) for floor in contract["layers"]]
        assert set.union(*floors) == rooms | (_list_modules(folder) if contract.get("exhaustive") else set())
    else:
        assert set(", ".join(drawn).split(", ")) == rooms


@pytest.mark.parametrize(
    ("libraries", "places"), re.findall(r"^\| ([a-z, ]+) \| (`.*`) \|$", TEXT, re.MULTILINE)
)
def test_a_library_is_imported_where_the_page_says_and_nowhere_else(libraries: str, places: str) -> None:
    named = tuple(places.strip("`").split("`, `"))
    importing = [path for path in _list_files() if _imported(path) & set(libraries.split(", "))]
    paths = [str(path.relative_to(REPOSITORY)) for path in importing]
    assert {next((place for place in named if path.startswith(place)), path) for path in paths} == {*named}


def test_the_contract_of_a_library_holds_for_every_package() -> None:
    contracts = [each for each in CONTRACTS if "ignore_imports" in each]
    assert len(contracts) == TEXT.split("## ")[0].count("\n| ") - 1
    assert all(set(each["source_modules"]) == set(DRAWN) for each in contracts)


def test_the_page_names_files_and_types_that_exist() -> None:
    named = re.findall(r"`([\w./]+/[\w./]+)`", TEXT)
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
    source = "".join(path.read_text() for path in _list_files())
    assert [name for name in re.findall(r"`([A-Z][a-z]\w+)`", TEXT) if f"\nclass {name}" not in source] == []


def test_the_page_is_one_screen_of_drawing_and_one_page_of_words() -> None:
    assert len(DRAWING.splitlines()) <= 50
    assert len(re.findall(r"\S*\w\S*", TEXT)) <= 900
    assert max(map(len, PAGE.splitlines())) <= 170


def test_the_service_needs_at_most_24_000_lines() -> None:
    """Also of what it imports inside functions; readers of messages and pages are added by the command that runs it."""
    found, waiting = set[Path](), [REPOSITORY / "serving" / "http" / "server.py"]
    while waiting:
        found.add(path := waiting.pop())
        waiting += _find_imported_files(path) - found
    lines = sum(len(path.read_text().splitlines()) for path in found)
    assert 20_000 < lines <= 24_000


def _find_imported_files(path: Path) -> set[Path]:
    """Find the files that a file imports, apart from imports for the types alone."""
    names = set[str]()
    nodes: list[ast.AST] = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes += ast.iter_child_nodes(node)
    folders = [REPOSITORY.joinpath(*name.split(".")) for name in names if name.split(".")[0] in DRAWN]
    files = {file for folder in folders for file in (folder.with_suffix(".py"), folder / "__init__.py")}
    return {file for file in files if file.exists()}


def _list_words(floor: str) -> set[str]:
    return set(floor.split(" | "))


def _list_packages(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")} - {"tests", "benchmarks", "docs"}


def _list_modules(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


def _list_files() -> Iterable[Path]:
    return (path for package in DRAWN for path in sorted((REPOSITORY / package).rglob("*.py")))


@cache
def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
