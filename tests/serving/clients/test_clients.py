"""Clients of integrators against a running service: Java, and clients generated for TypeScript and Python.

`make clients` runs them. What they need is installed into `.venv/clients`; a client whose program is missing is skipped.
"""

import json
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import REPOSITORY
from support.serving_examples import publish, running

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
TOOLS = Path(os.environ.get("NPSRISK_CLIENT_TOOLS", REPOSITORY / ".venv" / "clients"))
NODE_PACKAGES = ("openapi-typescript@7", "openapi-fetch@0.17", "typescript@5")
PYTHON_PACKAGES = ("openapi-python-client==0.29.*",)
INSTALL_SECONDS, RUN_SECONDS = 600, 300


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("state")
    publish(folder, bundle, "1")
    with running(folder) as (_, address):
        yield address


def find(*programs: str) -> list[str]:
    """Find programs; skip the test if one is missing."""
    found = [shutil.which(program) for program in programs]
    for program, path in zip(programs, found, strict=True):
        if path is None:
            pytest.skip(f"{program} is not installed")
    return [str(path) for path in found]


def run(*command: str | Path, folder: Path | None = None, seconds: int = RUN_SECONDS) -> str:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [str(each) for each in command], cwd=folder, env=environment if seconds == RUN_SECONDS else None,
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(command: list[str | Path], folder: Path) -> None:
    """Install packages; skip the test if the registry cannot be reached."""
    try:
        run(*command, folder=folder, seconds=INSTALL_SECONDS)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the packages cannot be installed: {str(error)[-500:]}")


@pytest.fixture(scope="module")
def document(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (curl,) = find("curl")
    path = tmp_path_factory.mktemp("interface") / "openapi.json"
    path.write_text(run(curl, "-sf", "--compressed", f"{url}/openapi.json"))
    return path


def test_javas_client_with_its_defaults(url: str, tmp_path: Path) -> None:
    (java,) = find("java")
    shutil.copy(HERE / "Client.java", tmp_path)
    lines = run(java, tmp_path / "Client.java", url).splitlines()
    assert [line[:3] for line in lines] == ["200"] * 4
    scores = [json.loads(line[4:]) for line in lines]
    assert [score["consignment_id"] for score in scores] == ["JAVA0", "JAVA1", "JAVA2", "JAVA0"]


def test_a_generated_client_in_typescript(url: str, document: Path) -> None:
    node, npm = find("node", "npm")
    folder = TOOLS / "typescript"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "openapi-fetch").exists():
        (folder / "package.json").write_text('{"private": true, "type": "commonjs"}')
        install([npm, "install", "--no-fund", "--no-audit", *NODE_PACKAGES], folder)
    programs = folder / "node_modules" / ".bin"
    run(node, programs / "openapi-typescript", document, "-o", folder / "schema.d.ts")
    shutil.copy(HERE / "client.ts", folder)
    target = ["--target", "es2022", "--module", "commonjs", "--lib", "es2022,dom"]
    strict = ["--strict", "--skipLibCheck", *target]
    (folder / "node.d.ts").write_text("declare const process: { argv: string[] };\n")
    run(node, programs / "tsc", *strict, "client.ts", "node.d.ts", folder=folder)
    lines = run(node, folder / "client.js", url).splitlines()
    assert lines[0].startswith("200 TS1")
    assert lines[0].endswith("false")
    assert lines[1:] == ["200 TS1 true", "200 true", "404 Not Found"]


def test_a_generated_client_in_python(url: str, document: Path, tmp_path: Path) -> None:
    folder = TOOLS / "python"
    python = folder / "bin" / "python"
    if not (folder / "bin" / "openapi-python-client").exists():
        venv.create(folder, with_pip=True, clear=True)
        install([python, "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES], TOOLS)
    names = "project_name_override: npsrisk-client\npackage_name_override: npsrisk_client\n"
    (tmp_path / "config.yaml").write_text(names + "post_hooks: []\n")
    said = run(
        folder / "bin" / "openapi-python-client", "generate", "--path", document, "--config", tmp_path / "config.yaml",
        "--output-path", tmp_path / "made",
    )  # fmt: skip
    assert "WARNING" not in said
    assert "Unable" not in said
    shutil.copy(HERE / "generated_client.py", tmp_path / "made")
    band, name, version = run(python, "generated_client.py", url, folder=tmp_path / "made").split()
    assert band in ("high", "elevated", "routine")
    assert (name, version) == ("nps-risk", "1")
