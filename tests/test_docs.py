"""What the pages show can be typed and is printed: commands that npsrisk knows, two pages run in their order, quoted messages."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import pytest
from support.pages import FENCE, PAGES, REPOSITORY, commands, files, verbs

from benchmarks.planning import Costs, Prices, format_tables
from npsrisk import main

PROSE = (*PAGES, *(REPOSITORY / f"{name}.md" for name in ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING")))
SHORTER = {"--trials 30": "--trials 2"}
"""What takes longest is asked for less of it."""
REFUSED = (
    'npsrisk promote challenger --why "what convinced you" --consignments world/consignments.parquet '
    "--outcomes world/outcomes.parquet --alerts world/alerts.parquet",
    "npsrisk gate challenger --consignments world/consignments.parquet --outcomes world/outcomes.parquet "
    "--alerts world/alerts.parquet",
)
"""The page says so."""
NOT_RUN = {
    "make install": "installs the repository, which the tests run in",
    "mlflow ui": "runs until it is stopped",
    "mlflow models": "runs until it is stopped; needs a file of consignments: tests/models/test_registry.py",
    "npsrisk keys trust": "needs the public key of another machine: tests/cli/model/test_keys.py",
    "npsrisk export": "needs the service's log: tests/test_loop.py",
    "npsrisk train --consignments exported": "needs the export: tests/test_loop.py",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_pages_is_one_that_npsrisk_takes(page: Path) -> None:
    tables = "--consignments c.parquet --outcomes o.parquet --alerts a.parquet"
    for command in commands(page.read_text()):
        whole = re.sub(r"\$\(date .*?\)", "2026-01-01", command.replace("$tables", tables))
        for words in verbs(whole) if "npsrisk " in whole else ():
            with click.Context(main) as parent:
                main.commands[words[0]].make_context(words[0], words[1:], parent=parent)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_every_relative_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCE.sub("", page.read_text())):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_planning_tables_are_those_that_the_script_prints() -> None:
    assert format_tables(Costs(), Prices()) in (REPOSITORY / "docs" / "sizing.md").read_text()


def test_pages_settings_and_plan_have_one_number_of_bytes_for_a_history_key() -> None:
    size = f"{Costs().table_key_bytes:.0f} bytes"
    for name in ("service", "sizing", "history", "settings"):
        text = (REPOSITORY / "docs" / f"{name}.md").read_text()
        assert any(size in line for line in text.splitlines() if "key" in line), name


def test_the_pages_name_every_benchmark_and_no_other() -> None:
    text = "\n".join(page.read_text() for page in (*PAGES, REPOSITORY / "CONTRIBUTING.md"))
    files = (REPOSITORY / "benchmarks").glob("*.py")
    scripts = {path.stem for path in files if "__main__" in path.read_text()}
    named = set(re.findall(r"python -m benchmarks\.(\w+)", text))
    assert named <= scripts
    assert {name for name in scripts - named if not re.search(rf"`{name}[` ]", text)} == set()


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().split()) <= 700


def test_the_glossary_defines_each_word_once_with_a_source() -> None:
    lines = (REPOSITORY / "docs" / "glossary.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]
    assert all(len(row) == 3 and all(row) for row in rows)
    words = [word for row in rows for word in row[0].split(", ")]
    assert len(words) == len(set(words)) > 30
    assert len(lines) <= 40


def test_the_page_of_the_service_quotes_the_reasons_of_a_refused_snapshot_as_the_service_logs_them() -> None:
    quoted = re.findall(r"\| `(the snapshot [^`…:]+)", (REPOSITORY / "docs" / "service.md").read_text())
    source = (REPOSITORY / "serving" / "state" / "snapshots.py").read_text()
    assert set(quoted) == set(re.findall(r'"(the snapshot [^":]+)', source))


@pytest.mark.slow
def test_the_pages_of_data_scientist_and_reviewer_can_be_typed_from_top_to_bottom(tmp_path: Path) -> None:
    pages = [(REPOSITORY / "docs" / f"{name}.md").read_text() for name in ("data-scientist", "reviewer")]
    for name, text in {name: text for page in pages for name, text in files(page).items()}.items():
        (tmp_path / name).write_text(text)
    lines = [command for page in pages for command in commands(page)]
    script = [line for line in lines if not line.startswith(tuple(NOT_RUN))]
    for refused in REFUSED:
        assert script.count(refused) == 1
        script[script.index(refused)] = f"if {refused}; then exit 9; fi"
    for given, smaller in SHORTER.items():
        script = [line.replace(given, smaller) for line in script]
    own = {name: value for name, value in os.environ.items() if not re.match("NPSRISK_|MLFLOW_", name)}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    command = ["bash", "-euxc", "\n".join(script)]
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (tmp_path / "drift.html").exists()


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    notebook = json.loads((REPOSITORY / "docs" / "retraining.ipynb").read_text())
    names: dict[str, Any] = {}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, source in enumerate(cells, start=1):
        exec(compile(source, f"cell {number} of the notebook", "exec"), names)
    assert all(row["found"] <= row["bound"] for row in names["second"].trained.leaks)
    assert names["record"].forced
    assert names["found"].pair.b.counts.known >= 10
    assert names["registry"].find_version("champion", "nps") is not None
    assert names["drift"].verdict == "investigate data"
