"""The example of CONTRIBUTING.md, "Add a feature", works as it is written: its blocks are put where the page says, and run."""

import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.described import build_pipeline, describe_group
from support.examples import make_consignment

REPOSITORY = Path(__file__).resolve().parent.parent
MAKEFILE = (REPOSITORY / "Makefile").read_text()
NAME = "route.returns_to_origin"
BLOCK = r"```(\w+)\n(.*?)```"
RUNNER = """
import sys
import msgspec
from support.described import build_pipeline, describe_by_name, describe_group
from support.examples import make_consignment

pipeline, usual = build_pipeline(), make_consignment()
case = msgspec.json.decode(sys.argv[1])
changed = msgspec.convert(msgspec.to_builtins(usual) | case["given"], pipeline.record_type)
found = describe_by_name(pipeline, changed)
assert {name: found[name] for name in case["values"]} == case["values"]
print(describe_group("route", pipeline, usual))
"""
"""Compares the line of test data of the page, as `tests/features/test_groups.py` does."""


def read_section() -> str:
    return (REPOSITORY / "CONTRIBUTING.md").read_text().split("\n## Add a feature\n")[1].split("\n### ")[0]


def read_blocks() -> list[tuple[str, str]]:
    return re.findall(BLOCK, read_section(), flags=re.DOTALL)


def change_product(folder: Path, *, line: bool = True, value: bool = True) -> None:
    """Put the line and the value of the example into a copy of the product."""
    places = ("features.toml", '"route.identifier_unknown"'), ("route.py", "    }\n\n\ndef _describe_places(")
    for (name, before), (_, added), wanted in zip(places, read_blocks(), (line, value), strict=False):
        path = folder / "features" / name
        text = path.read_text()
        assert text.count(before) == 1, before
        path.write_text(text.replace(before, added * wanted + before))


def copy_packages(folder: Path) -> None:
    """Copy what the example changes; the kernels of goods stay where their compiled forms are."""
    for package, ignored in (("features", ("__pycache__", "goods")), ("consignments", ("__pycache__",))):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns(*ignored))
    (folder / "features" / "goods").symlink_to(REPOSITORY / "features" / "goods")


def run_case(folder: Path) -> subprocess.CompletedProcess[str]:
    """Compare the line of test data of the page with a copy of the product; it prints the values of a plain consignment."""
    return run_python(f"{folder}{os.pathsep}{REPOSITORY / 'tests'}", folder, RUNNER, read_blocks()[2][1])


def run_python(path: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", *words]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_the_example_computes_what_its_test_claims_and_moves_no_other_value(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    change_product(tmp_path)
    done = run_case(tmp_path)
    assert done.returncode == 0, done.stderr
    got = eval(done.stdout, {"nan": math.nan})
    usual = describe_group("route", build_pipeline(), make_consignment())
    assert [name for name in got if name not in usual] == ["returns_to_origin"]
    moved = {name: got[name] for name in usual}
    assert moved == pytest.approx(usual, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize(("left_out", "said"), [("line", "no line in features.toml"), ("value", "no value")])
def test_a_line_or_a_value_alone_is_named(tmp_path: Path, left_out: str, said: str) -> None:
    copy_packages(tmp_path)
    change_product(tmp_path, **{left_out: False})
    assert f"KeyError: '{NAME} has {said}'" in run_case(tmp_path).stderr


def test_the_example_has_all_that_a_flag_needs_a_fact_and_files_that_exist() -> None:
    (toml, line), (python, _), (data, _) = read_blocks()
    assert (toml, python, data) == ("toml", "python", "json")
    given = tomllib.loads(line)[NAME]
    assert set(given) == {"unit", "theme", "fact", "true", "false", "missing"}
    assert f'fact = "{given["fact"]}"' in (REPOSITORY / "features" / "features.toml").read_text()
    named = re.findall(r"tests/[\w/]+\.\w+", read_section())
    assert named
    assert all((REPOSITORY / name).exists() for name in named)


def test_the_table_of_commands_names_every_target_of_make() -> None:
    table = (REPOSITORY / "CONTRIBUTING.md").read_text().split("## ")[1]
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", table)) == set(targets)


def test_cleaning_removes_nothing_under_version_control() -> None:
    (removed,) = re.findall(r"^\trm -rf (.+)$", MAKEFILE, re.MULTILINE)
    command = ["git", "ls-files", *removed.split()[1:]]
    assert subprocess.check_output(command, cwd=REPOSITORY) == b""


def test_the_page_names_folders_and_files_that_exist() -> None:
    named = re.findall(r"`([\w.]+/[\w./]*)`", (REPOSITORY / "CONTRIBUTING.md").read_text())
    made = {"dist/", ".venv/clients", ".venv/axe"}
    assert [name for name in named if name not in made and not (REPOSITORY / name).exists()] == []


@pytest.mark.slow
def test_a_new_feature_is_compared_with_the_champion_and_promoted(tmp_path: Path) -> None:
    edited, work = tmp_path / "edited", tmp_path / "work"
    work.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "docs", "benchmarks", "demo")
    shutil.copytree(REPOSITORY, edited, ignore=ignored)
    change_product(edited)

    def run(tree: Path, *words: str) -> str:
        done = run_python(str(tree), work, "from npsrisk import main; main()", *words)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    tables = [f"--{name}=world/{name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    run(REPOSITORY, "simulate", "--out=world", "--prevalence=enriched", "--days=130", "--per-day=120")
    run(REPOSITORY, "train", *tables, "--register")
    run(REPOSITORY, "keys", "create", "--name=reviewer")
    run(REPOSITORY, "promote", "1", "--why=first", "--force")
    run(edited, "train", *tables, "--register")
    compared = run(edited, "compare", "champion", "2", *tables)
    assert "Scores of version 1: the stored scores of its training run" in compared
    assert "Version 2 has the settings of version 1." in compared
    assert "compared with the champion" in run(edited, "gate", "2")
    assert "champion" in run(edited, "promote", "2", "--why=the new feature", "--force")
