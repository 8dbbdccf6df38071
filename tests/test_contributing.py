"""The example of CONTRIBUTING.md, "Add a feature", works as it is written: its blocks are put where the page says, and run."""

import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.described import build_pipeline, describe_group
from support.examples import make_consignment

REPOSITORY = Path(__file__).resolve().parent.parent
NAME = "route.returns_to_origin"
BLOCK = r"```(\w+)\n(.*?)```"
# Runs the test of the page on kernels that are not compiled.
RUNNER = """
from support.described import build_pipeline, describe_group
from support.examples import make_consignment
from support.uncompiled import prepare_pipeline

PIPELINE = prepare_pipeline(build_pipeline())

def values(consignment_id="RB123456785GB", **changes):
    return describe_group("{group}", PIPELINE, make_consignment(consignment_id, **changes))

"""


def read_blocks() -> list[tuple[str, str]]:
    """Read the code blocks of the section as language and text."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    section = page.split("\n## Add a feature\n")[1].split("\n### ")[0]
    return re.findall(BLOCK, section, flags=re.DOTALL)


def insert_blocks(path: Path, changes: Iterable[tuple[str, str]]) -> None:
    """Put blocks before some places of a file."""
    text = path.read_text()
    for before, added in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, added + before)
    path.write_text(text)


def build_example_changes() -> list[tuple[str, str]]:
    """Return the blocks of the example of the route, each after the place that it stands before."""
    (_, definition), (_, position), (_, value), *_ = read_blocks()
    return [
        ('    Feature(\n        "route.identifier_unknown"', f"    {definition}"),
        (" IDENTIFIER_UNKNOWN, CHECK_DIGIT_WRONG,", f" {position.strip()}"),
        ("\n\n@kernel\ndef _write_identifier(", value),
    ]


def run_changed(folder: Path, file: str, changes: Iterable[tuple[str, str]], group: str, test: str) -> str:
    """Run a test on a copy of the product in which blocks stand before some places of a file. Return what it printed."""
    for package in ("features", "consignments"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    insert_blocks(folder / "features" / file, changes)
    calls = (
        f"{RUNNER.format(group=group)}{test}\n{re.findall(r'def (test_.*?)[(]', test)[0]}()\nprint(values())"
    )
    done = subprocess.run(
        [sys.executable, "-c", calls],
        env=os.environ
        | {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY / 'tests'}", "NUMBA_DISABLE_JIT": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_blocks_of_the_example_are_a_definition_a_position_a_value_a_text_and_a_test() -> None:
    assert [language for language, _ in read_blocks()] == ["python", "python", "python", "toml", "python"]


def test_the_example_computes_what_its_test_claims_and_moves_no_other_value(tmp_path: Path) -> None:
    *_, (_, test) = read_blocks()
    got = eval(run_changed(tmp_path, "route.py", build_example_changes(), "route", test), {"nan": math.nan})
    usual = describe_group("route", build_pipeline(), make_consignment())
    assert [name for name in got if name not in usual] == ["returns_to_origin"]
    assert all(
        got[name] == pytest.approx(number, rel=0, abs=0, nan_ok=True) for name, number in usual.items()
    )


def test_the_text_of_the_example_has_all_that_a_flag_needs() -> None:
    (text,) = [block for language, block in read_blocks() if language == "toml"]
    assert set(tomllib.loads(text)[NAME]) == {"true", "false", "missing"}


def test_the_page_names_a_reason_code_and_a_file_of_tests_that_exist() -> None:
    (_, definition), *_ = read_blocks()
    code = re.findall(r'"(\w+)"\)', definition)[0]
    assert f'"{code}"' in (REPOSITORY / "features" / "route.py").read_text()
    assert (REPOSITORY / "tests" / "features" / "test_route.py").exists()


def test_the_example_of_the_parties_computes_what_its_test_claims(tmp_path: Path) -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    section = page.split("\n### Add a feature of the parties\n")[1].split("\n## ")[0]
    flags, definition, position, missing, value, test = [
        text for _, text in re.findall(BLOCK, section, flags=re.DOTALL)
    ]
    changes = (
        ("# The phrases as groups.\n", flags),
        ("    )\n\n\nPARTY_FEATURES = (", definition),
        ("\n\n@kernel\ndef write_completeness(", position),
        ("    line = start\n    for place in range(start, end):", missing),
        ("\n\n@kernel\ndef write_phone_values(", value),
    )
    run_changed(tmp_path, "parties.py", changes, "parties", test)


@pytest.mark.slow
def test_a_new_feature_is_compared_with_the_champion_and_promoted(tmp_path: Path) -> None:
    edited, work = tmp_path / "edited", tmp_path / "work"
    work.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "docs", "benchmarks", "demo")
    shutil.copytree(REPOSITORY, edited, ignore=ignored)
    insert_blocks(edited / "features" / "route.py", build_example_changes())
    (text,) = [block for language, block in read_blocks() if language == "toml"]
    texts = edited / "models" / "reason_texts" / "en.toml"
    texts.write_text(texts.read_text().replace("[feature]\n", f"[feature]\n{text}", 1))

    def run(tree: Path, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", "from npsrisk import main; main()", *words],
            env=os.environ | {"PYTHONPATH": str(tree)},
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
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
    assert "compared with the champion" in run(edited, "gate", "2")
    assert "champion" in run(edited, "promote", "2", "--why=the new feature", "--force")
