"""The packages imported are this repository's, and their imports are as ARCHITECTURE.md draws them."""

import ast
import importlib
from pathlib import Path

import pytest

from features.rows import kernels as row_kernels

REPOSITORY = Path(__file__).resolve().parent.parent
DRAWN = {
    "consignments": set(),
    "features": {"consignments"},
    "models": {"consignments", "features"},
    "training": {"consignments", "features", "models"},
    "serving": {"consignments", "features", "models"},
    "cli": {"consignments", "features", "models", "training", "serving"},
}


@pytest.mark.parametrize("name", [*DRAWN, "npsrisk"])
def test_the_package_imported_is_this_repositorys(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert REPOSITORY in Path(module.__file__).resolve().parents


@pytest.mark.parametrize("package", DRAWN)
def test_a_package_imports_only_what_the_drawing_allows(package: str) -> None:
    used = {
        name
        for path in (REPOSITORY / package).rglob("*.py")
        for name in _imported(path)
        if name in DRAWN or name == "npsrisk"
    }
    assert used - {package} <= DRAWN[package]


def test_the_list_of_verbs_imports_no_package_but_that_of_errors() -> None:
    """It names the functions of `cli` as text, and loads a file of it only when a verb is asked for."""
    assert _imported(REPOSITORY / "npsrisk.py") & DRAWN.keys() == {"consignments"}


@pytest.mark.parametrize("package", DRAWN)
def test_a_file_of_kernels_imports_nothing_of_the_product(package: str) -> None:
    """Their compiled forms are kept on disk, and only changes of their own file renew them. Kernels of a row have a digest of all."""
    for path in (REPOSITORY / package).rglob("*kernels.py"):
        if "cache=True" in path.read_text():
            assert not _imported(path) & DRAWN.keys(), path


def test_the_digest_of_the_kernels_of_a_row_has_every_file_that_they_import() -> None:
    rows, digested = "features.rows.kernels", {module.__name__ for module in row_kernels.DIGESTED}
    seen, todo = set(), [rows]
    while todo:
        name = todo.pop()
        seen.add(name)
        todo += [other for other in _imported_modules(name) if other not in seen]
    assert seen - {rows} <= digested


def test_python_calls_kernels_of_a_row_with_lengths_that_are_checked() -> None:
    """Whoever adds an entry point says here what bounds its arguments, and tests it on hostile texts."""
    text = "features.goods.kernels: encode_text cuts the text, check_weights and the callers create the other arrays"
    bounds = {
        "describe_rows": "features.rows.described_rows: what it packs and allocates, and the columns of the plan; read_row checks each text",
        **dict.fromkeys(("locate_terms", "score_text", "count_buckets"), text),
        "hash_texts": "features.history.numbered_texts: scratch for the longest text; offsets of Arrow arrays that were validated",
        "_write_rows": "features.rows.packed_rows: room for the longest result; offsets of Arrow arrays that were validated",
        "_split_columns": "features.feature_columns: what it allocates, and places that it checks",
    }
    found = {
        node.name
        for path in (REPOSITORY / "features").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(each, ast.Name) and each.id == "entry_point" for each in node.decorator_list)
    }
    assert found == bounds.keys()


def test_the_drawing_is_in_the_architecture_page() -> None:
    page = (REPOSITORY / "ARCHITECTURE.md").read_text()
    assert "consignments ◄── features ◄── models ◄─┬─ training ◄─┬─ cli ◄── npsrisk.py" in page


def _imported_modules(name: str) -> set[str]:
    """Return the modules of `features` that a module of it imports, without its packages."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    names = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("features"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return set(filter(_is_file, names))


def _is_file(name: str) -> bool:
    return (REPOSITORY / f"{name.replace('.', '/')}.py").exists()


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
