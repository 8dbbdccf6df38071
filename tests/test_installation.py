"""What a user meets who installs the wheel: types, all files, extras named in one line, and folders that hide a package."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from click.testing import CliRunner
from hatchling.builders.wheel import WheelBuilder

from npsrisk import EXTRAS, main

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
MLFLOW_PARTS = {"mlflow-skinny", "mlflow-tracing"}
"""Distributions that mlflow requires and that share its module."""
PACKAGES = PROJECT["tool"]["importlinter"]["root_packages"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    (built,) = WheelBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(built)


def test_every_package_of_the_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_the_wheel_has_every_file_of_the_packages_and_no_test(wheel: zipfile.ZipFile) -> None:
    ours = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".nbi", ".nbc")
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours | {"npsrisk.py"}


def test_each_module_of_an_extra_is_known_by_the_extra_that_installs_it() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    distributions = packages_distributions()
    for extra, modules in EXTRAS.items():
        wanted = {_normalize(requirement) for requirement in extras[extra]}
        known = {_normalize(each) for module in modules.split() for each in distributions.get(module, [])}
        assert known - MLFLOW_PARTS <= wanted, extra
        # Several distributions have the files of mlflow.
        assert not wanted - known - {"mlflow", "psycopg", "uvloop"}, extra


def _normalize(requirement: str) -> str:
    return re.split("[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize(
    ("module", "verb", "extra"), [("scipy", "train", "train"), ("uvicorn", "serve", "serve")]
)
def test_a_missing_extra_is_named_in_one_line(module: str, verb: str, extra: str, tmp_path: Path) -> None:
    call = f"import sys; sys.modules[{module!r}] = None; from npsrisk import main; main(sys.argv[1:])"
    words = [verb]
    if verb == "train":
        for name in ("consignments", "outcomes"):
            (tmp_path / f"{name}.csv").write_text("consignment_id\n")
            words += [f"--{name}", str(tmp_path / f"{name}.csv")]
    done = _run(["-c", call, *words], tmp_path, [REPOSITORY])
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"npsrisk {verb}: the package {module} is not installed; install npsrisk with the extra [{extra}], "
        f"from the wheel of your release: pip install 'npsrisk-VERSION.whl[{extra}]'"
    )
    assert "Traceback" not in done.stderr


def test_another_missing_module_stays_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cli.model.keys", None)
    assert isinstance(CliRunner().invoke(main, ["keys"]).exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("hidden", "words", "begins"),
    [
        ("models", ["-c", "import training.runs.train"], "consignments.errors.BadInput: "),
        ("features", ["-m", "npsrisk", "train", "--help"], "npsrisk train: "),
    ],
    ids=["by an import", "by a verb"],
)
def test_a_folder_that_hides_one_is_named(hidden: str, words: list[str], begins: str, tmp_path: Path) -> None:
    (tmp_path / hidden).mkdir()
    (tmp_path / hidden / "__init__.py").write_text("")
    done = _run(words, tmp_path, [tmp_path, REPOSITORY])
    assert done.stderr.splitlines()[-1] == (
        f"{begins}{tmp_path / hidden / '__init__.py'}: another package named {hidden} hides the package "
        f"{hidden} of npsrisk; expected {REPOSITORY / hidden}; rename that folder, or run from another folder"
    )
    assert "Traceback" not in done.stderr or "-c" in words


def test_a_folder_without_init_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert _run(["-c", "import training"], tmp_path, [tmp_path, REPOSITORY]).returncode == 0


def _run(words: list[str], folder: Path, places: list[Path]) -> "subprocess.CompletedProcess[str]":
    environment = {"PYTHONPATH": ":".join(map(str, places)), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
