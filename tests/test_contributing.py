"""The example of CONTRIBUTING.md, "Add a feature", works as it is written: its blocks are put where the page says, and run."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

from support.examples import make_consignment

from features.described_rows import normalize_consignment

REPOSITORY = Path(__file__).resolve().parent.parent
NAME = "route.returns_to_origin"
BLOCK = r"```(\w+)\n(.*?)```"
# Runs the test of the page on kernels that are not compiled, whose records numpy must give attributes.
RUNNER = """
import numpy as np
from support.examples import make_consignment
from features import described_rows
from features.normalization.tables import create_tables
from features.parties import PARTY_FEATURES

described_rows.create_tables = lambda: create_tables().view(np.recarray)
no_keys = described_rows.NO_KEYS._replace(record=described_rows.NO_KEYS.record.view(np.recarray))

def values(**changes):
    described = described_rows.describe([make_consignment(**changes)], no_keys)
    names = [feature.name.removeprefix("parties.") for feature in PARTY_FEATURES]
    return dict(zip(names, described.values[0].tolist(), strict=True))

"""


def read_blocks() -> list[tuple[str, str]]:
    """Read the code blocks of the section as language and text."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    section = page.split("\n## Add a feature\n")[1].split("\n### ")[0]
    return re.findall(BLOCK, section, flags=re.DOTALL)


def change_route(definition: str, value: str) -> ModuleType:
    """Load `features/route.py` with the definition after `route.consignee_elsewhere`, and the value at the end of the tuple."""
    text = (REPOSITORY / "features" / "route.py").read_text()
    text, definitions = re.subn(
        r'(Feature\(\s*"route\.consignee_elsewhere",.*?\),\n)',
        lambda at: at[1] + definition,
        text,
        flags=re.DOTALL,
    )
    body = text.index("def _compare_route(")
    end = text.index("\n    )\n", text.index("    return (", body)) + 1
    changed = ModuleType("changed_route")
    exec(compile(text[:end] + value + text[end:], "features/route.py, changed", "exec"), changed.__dict__)
    assert definitions == 1
    return changed


def test_the_blocks_of_the_example_are_a_definition_a_value_a_text_and_a_test() -> None:
    assert [language for language, _ in read_blocks()] == ["python", "python", "toml", "python"]


def test_the_example_computes_what_its_test_claims_and_moves_no_other_value() -> None:
    (_, definition), (_, value), _, (_, test) = read_blocks()
    route = change_route(definition, value)

    def values(consignment_id: str = "RB123456785GB", **changes: Any) -> dict[str, float]:
        group = route.RouteFeatures()
        c = make_consignment(consignment_id, **changes)
        names = [feature.name.removeprefix("route.") for feature in group.features]
        return dict(zip(names, group.compute(c, normalize_consignment(c)), strict=True))

    space: dict[str, Any] = {"values": values}
    exec(compile(test, "the test of CONTRIBUTING.md", "exec"), space)
    (written,) = [each for name, each in space.items() if name.startswith("test_")]
    written()
    assert values(origin_country="CN", destination_country="KR")["returns_to_origin"] == 0
    before = change_route("", "").RouteFeatures()
    c = make_consignment("RB123456785GB")
    others = {name: number for name, number in values().items() if name != "returns_to_origin"}
    names = [feature.name.removeprefix("route.") for feature in before.features]
    unchanged = dict(zip(names, before.compute(c, normalize_consignment(c)), strict=True))
    assert others.keys() == unchanged.keys()
    assert all(
        a == b or (a != a and b != b) for a, b in zip(others.values(), unchanged.values(), strict=True)
    )


def test_the_text_of_the_example_has_all_that_a_flag_needs() -> None:
    (text,) = [block for language, block in read_blocks() if language == "toml"]
    assert set(tomllib.loads(text)[NAME]) == {"true", "false", "missing"}


def test_the_page_names_a_reason_code_and_a_file_of_tests_that_exist() -> None:
    (_, definition), *_ = read_blocks()
    code = re.findall(r'"(\w+)"\)', definition)[0]
    assert f'"{code}"' in (REPOSITORY / "features" / "route.py").read_text()
    assert (REPOSITORY / "tests" / "features" / "test_route.py").exists()


def test_the_example_in_a_kernel_computes_what_its_test_claims(tmp_path: Path) -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    section = page.split("\n### Add a feature of the parties\n")[1].split("\n## ")[0]
    flags, definition, position, missing, value, test = [
        text for _, text in re.findall(BLOCK, section, flags=re.DOTALL)
    ]
    for package in ("features", "consignments"):
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    path = tmp_path / "features" / "parties.py"
    text = path.read_text()
    for before, added in (
        ("# The phrases as groups.\n", flags),
        ("    )\n\n\nPARTY_FEATURES = (", definition),
        ("\n\n@kernel\ndef write_completeness(", position),
        ("    line = start\n    for place in range(start, end):", missing),
        ("\n\n@kernel\ndef write_phone_values(", value),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, added + before)
    path.write_text(text)
    calls = f"{RUNNER}{test}\n{re.findall(r'def (test_.*?)[(]', test)[0]}()\n"
    done = subprocess.run(
        [sys.executable, "-c", calls],
        env=os.environ
        | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY / 'tests'}", "NUMBA_DISABLE_JIT": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
