"""The files of deploy/ are accepted by the programs that read them. `make operate` fetches promtool."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOY = REPOSITORY / "deploy"
UNIT_TESTS = REPOSITORY / "tests" / "support" / "alerts.test.yml"


def run(*command: str) -> str:
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"needs {command[0]}; run make operate")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_prometheus_accepts_the_rules() -> None:
    rules = (DEPLOY / "alerts.yml").read_text().count("- alert:")
    assert f"{rules} rules found" in run("promtool", "check", "rules", str(DEPLOY / "alerts.yml"))


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    tests = tmp_path / "alerts.test.yml"
    tests.write_text(UNIT_TESTS.read_text().replace("RULES", str(DEPLOY / "alerts.yml")))
    assert "SUCCESS" in run("promtool", "test", "rules", str(tests))


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "npsrisk.service").read_text()
    assert "ExecStart=/opt/npsrisk/bin/npsrisk serve" in text
    unit = tmp_path / "npsrisk.service"
    unit.write_text(text.replace("/opt/npsrisk/bin/npsrisk", "/bin/true"))  # it need not be installed here
    output = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert "npsrisk.service" not in output, output


def test_the_image_copies_only_files_that_exist_and_runs_as_an_ordinary_user() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert copied == ["requirements.txt", "."]
    assert (REPOSITORY / "requirements.txt").exists()
    assert "USER npsrisk" in lines
    assert lines.index("USER npsrisk") < lines.index('ENTRYPOINT ["npsrisk"]')
