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
HEAVY = "numpy pandas pyarrow numba mlflow starlette sqlalchemy tqdm serving training operation"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_a_sentence_and_an_example_that_works(verb: str) -> None:
    command = main.commands[verb]
    done = CliRunner().invoke(main, [verb, "--help"], terminal_width=80)
    assert (done.exit_code, command.name) == (0, verb)
    assert re.search(r"\n  [A-Z][^\n]{20,}", done.output)
    assert [o.name for o in command.params if isinstance(o, click.Option) and not o.help] == []
    if isinstance(command, click.Group):
        _, _, listed = done.output.partition("Commands:\n")
        assert [line for line in listed.splitlines() if not line.endswith(".") or "..." in line] == []
    examples = re.split(r"\bExamples?:\n", command.help or "")[1].replace("\\\n", "")
    calls = [call for line in examples.splitlines() if "npsrisk " in line for call in verbs(line)]
    assert verb in {call[0] for call in calls}
    for words in calls:
        with click.Context(main) as parent:
            main.commands[words[0]].make_context(words[0], words[1:], parent=parent)


def test_the_page_of_commands_lists_every_verb_and_no_other() -> None:
    named = re.findall(r"\| `npsrisk ([\w-]+)` \|", (REPOSITORY / "docs" / "verbs.md").read_text())
    assert sorted(named) == sorted(VERBS)


def test_no_line_of_the_list_of_verbs_is_cut_on_a_terminal_of_80_columns() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=80).output.splitlines()
    below = lines[lines.index(f"{next(iter(SECTIONS))}:") :]
    listed = [line for line in below if line.startswith("  ")]
    assert [line.split()[0] for line in listed] == VERBS
    assert [line for line in listed if not line.endswith(".")] == []
    assert [line for line in listed if "..." in line or "…" in line] == []
    assert [line for line in below if line and line not in listed] == [f"{name}:" for name in SECTIONS]


def test_every_command_of_the_verbs_files_is_listed() -> None:
    for path in (REPOSITORY / "cli").rglob("*.py"):
        found = re.findall(r"(?ms)^@(?:verb|click\.group\([^)]*\))$.*?^def (\w+)", path.read_text())
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        listed = [verb for verb in VERBS if MODULES[verb] == module]
        assert sorted(name.strip("_").replace("_", "-") for name in found) == sorted(listed)


def test_a_mistyped_verb_is_refused_and_the_nearest_is_named() -> None:
    done = CliRunner().invoke(main, ["verify-logs"])
    assert done.exit_code == 2
    assert "No such command 'verify-logs'. Did you mean 'verify-log'?" in done.output


def test_help_loads_no_package_that_takes_long_and_of_a_verb_its_own_file_alone() -> None:
    for words in (["--help"], ["serve", "--help"]):
        loaded = _list_loaded_modules(words)
        assert {name.split(".")[0] for name in loaded}.isdisjoint(HEAVY.split())
    assert set(MODULES.values()) & loaded == {"cli.service.service"}


def _list_loaded_modules(words: list[str]) -> set[str]:
    script = f"""
import sys
from npsrisk import main
main({words}, standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stderr.split())
