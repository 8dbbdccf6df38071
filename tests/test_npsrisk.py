"""The command line: every verb has help, docs/verbs.md lists every verb, and only the file of the verb asked for is loaded."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.pages import verbs

from npsrisk import MODULES, SECTIONS, main

REPOSITORY = Path(__file__).resolve().parent.parent
VERBS = list(main.commands)
HEAVY = {
    "numpy",
    "pandas",
    "pyarrow",
    "numba",
    "mlflow",
    "starlette",
    "sqlalchemy",
    "tqdm",
    "serving",
    "training",
    "operation",
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_begins_with_a_sentence(verb: str) -> None:
    done = CliRunner().invoke(main, [verb, "--help"])
    assert done.exit_code == 0
    assert re.search(r"\n  [A-Z][^\n]{20,}", done.output)
    untold = [o.name for o in main.commands[verb].params if isinstance(o, click.Option) and not o.help]
    assert untold == []


def test_no_line_of_the_list_of_verbs_is_cut_on_a_terminal_of_80_columns() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=80).output.splitlines()
    below = lines[lines.index(f"{next(iter(SECTIONS))}:") :]
    listed = [line for line in below if line.startswith("  ")]
    assert [line.split()[0] for line in listed] == VERBS
    assert [line for line in listed if not line.endswith(".")] == []
    assert [line for line in listed if "..." in line or "…" in line] == []
    assert [line for line in below if line and line not in listed] == [f"{name}:" for name in SECTIONS]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if isinstance(main.commands[verb], click.Group)])
def test_no_line_of_the_list_of_commands_of_a_verb_is_cut(verb: str) -> None:
    lines = CliRunner().invoke(main, [verb, "--help"], terminal_width=80).output.splitlines()
    listed = lines[lines.index("Commands:") + 1 :]
    assert [line for line in listed if not line.endswith(".") or "..." in line] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_shows_an_example_that_npsrisk_takes(verb: str) -> None:
    text = main.commands[verb].help or ""
    examples = re.split(r"\bExamples?:\n", text)[1].replace("\\\n", "")
    calls = [call for line in examples.splitlines() if "npsrisk " in line for call in verbs(line)]
    assert verb in {call[0] for call in calls}
    for words in calls:
        with click.Context(main) as parent:
            main.commands[words[0]].make_context(words[0], words[1:], parent=parent)


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_commands_lists_every_verb(verb: str) -> None:
    assert f"| `npsrisk {verb}` |" in (REPOSITORY / "docs" / "verbs.md").read_text()


def test_the_page_of_commands_lists_no_verb_that_does_not_exist() -> None:
    named = re.findall(r"\| `npsrisk ([\w-]+)` \|", (REPOSITORY / "docs" / "verbs.md").read_text())
    assert sorted(named) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_listed_under_the_name_of_its_command(verb: str) -> None:
    assert main.commands[verb].name == verb


def test_every_command_of_the_verbs_files_is_listed() -> None:
    for path in (REPOSITORY / "cli").rglob("*.py"):
        found = re.findall(
            r"^@(?:verb|click\.group\([^)]*\))$.*?^def (\w+)", path.read_text(), re.MULTILINE | re.DOTALL
        )
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        listed = [verb for verb in VERBS if MODULES[verb] == module]
        assert sorted(name.strip("_").replace("_", "-") for name in found) == sorted(listed)


def test_a_mistyped_verb_is_refused_and_the_nearest_is_named() -> None:
    done = CliRunner().invoke(main, ["verify-logs"])
    assert done.exit_code == 2
    assert "No such command 'verify-logs'. Did you mean 'verify-log'?" in done.output


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"]], ids=" ".join)
def test_help_loads_nothing_but_options(words: list[str]) -> None:
    loaded = _list_loaded_modules(words)
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()


def test_only_the_file_of_the_verb_asked_for_is_loaded() -> None:
    assert set(MODULES.values()) & _list_loaded_modules(["serve", "--help"]) == {"cli.service.service"}


def _list_loaded_modules(words: list[str]) -> set[str]:
    """List the modules that a call of the command line has imported."""
    script = f"""
import sys
from npsrisk import main
main({words}, standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())
