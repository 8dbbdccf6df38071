"""The files of deploy/ are accepted by the programs that read them. `make operate` fetches promtool."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from npsrisk import main

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


def test_systemd_accepts_the_weekly_feedback(tmp_path: Path) -> None:
    for name in ("npsrisk-feedback.service", "npsrisk-feedback.timer"):
        text = (DEPLOY / name).read_text().replace("/opt/npsrisk/bin/npsrisk", "/bin/true")
        (tmp_path / name).write_text(text)
    output = run("systemd-analyze", "verify", "--man=no", str(tmp_path / "npsrisk-feedback.timer"))
    output += run("systemd-analyze", "verify", "--man=no", str(tmp_path / "npsrisk-feedback.service"))
    assert "npsrisk-feedback" not in output, output


def test_the_feedback_runs_as_the_service_does_with_a_verb_that_exists() -> None:
    """The same user, state directory and settings file: else it would read another log, or none."""
    service, feedback = [
        dict(line.split("=", 1) for line in (DEPLOY / name).read_text().splitlines() if "=" in line)
        for name in ("npsrisk.service", "npsrisk-feedback.service")
    ]
    for name in ("User", "Group", "EnvironmentFile", "StateDirectory", "UMask", "ProtectSystem"):
        assert feedback[name] == service[name]
    assert "Environment=NPSRISK_STATE_DIR=/var/lib/npsrisk" in (DEPLOY / "npsrisk.service").read_text()
    assert feedback["Environment"] == "NPSRISK_STATE_DIR=/var/lib/npsrisk"
    program, *words = feedback["ExecStart"].split()
    assert program == service["ExecStart"].split()[0]
    done = CliRunner().invoke(main, [*words, "--help"])
    assert (done.exit_code, done.output.startswith("Usage: main exchange feedback")) == (0, True), done.output


def test_the_image_copies_only_files_that_exist_and_runs_as_an_ordinary_user() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert copied == ["requirements.txt", "."]
    assert (REPOSITORY / "requirements.txt").exists()
    assert "USER npsrisk" in lines
    assert lines.index("USER npsrisk") < lines.index('ENTRYPOINT ["npsrisk"]')
