"""The packages imported are this repository's, and their imports are as ARCHITECTURE.md draws them."""

import ast
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DRAWN = ("consignments", "features", "models", "training", "serving", "operation", "cli")


@pytest.mark.parametrize("name", [*DRAWN, "npsrisk"])
def test_the_package_imported_is_this_repositorys(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert REPOSITORY in Path(module.__file__).resolve().parents


def test_the_list_of_verbs_imports_no_package_but_that_of_errors() -> None:
    """It names the functions of `cli` as text, and loads a file of it only when a verb is asked for."""
    assert _imported(REPOSITORY / "npsrisk.py") & {*DRAWN} == {"consignments"}


@pytest.mark.parametrize("package", DRAWN)
def test_a_file_of_kernels_imports_nothing_of_the_product(package: str) -> None:
    """Their compiled forms are kept on disk, and only changes of their own file renew them."""
    for path in (REPOSITORY / package).rglob("*kernels.py"):
        if "cache=True" in path.read_text():
            assert not _imported(path) & {*DRAWN}, path


def test_the_drawing_is_in_the_architecture_page() -> None:
    page = (REPOSITORY / "ARCHITECTURE.md").read_text()
    assert "consignments ◄── features ◄── models ◄─┬─ training ◄─┬─ operation ◄── cli ◄── npsrisk.py" in page


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
