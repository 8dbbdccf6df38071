"""The files of deploy/ are accepted by the programs that read them. `make operate` fetches promtool."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from consignments.records import Consignment
from npsrisk import main
from serving.http.openapi import build_document
from serving.process.settings import SETTING_NAMES

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOY = REPOSITORY / "deploy"
TIMED = ("npsrisk-feedback", "npsrisk-check", "npsrisk-backup")
UNIT_TESTS = REPOSITORY / "tests" / "support" / "alerts.test.yml"


def run(*command: str) -> str:
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"needs {command[0]}; run make operate")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    tests = tmp_path / "alerts.test.yml"
    tests.write_text(UNIT_TESTS.read_text().replace("RULES", str(DEPLOY / "alerts.yml")))
    assert "SUCCESS" in run("promtool", "test", "rules", str(tests))


@pytest.mark.parametrize("of", ["npsrisk", *TIMED])
def test_systemd_accepts_a_unit_and_its_timer(tmp_path: Path, of: str) -> None:
    files = [path for path in DEPLOY.glob(f"{of}.*") if path.suffix in (".service", ".timer")]
    assert len(files) == (2 if of in TIMED else 1)
    for path in files:
        text = re.sub("^ExecStart=.*", "ExecStart=/bin/true", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text)  # the program need not be installed here
    for path in files:
        output = run("systemd-analyze", "verify", "--man=no", str(tmp_path / path.name))
        assert of not in output, output


def read_unit(name: str) -> dict[str, str]:
    """Read the settings of a unit; of those that occur again, the last."""
    return dict(line.split("=", 1) for line in (DEPLOY / name).read_text().splitlines() if "=" in line)


@pytest.mark.parametrize("of", TIMED)
def test_a_timed_unit_runs_as_the_service_does(of: str) -> None:
    """The same user, state directory and settings file: else it would read another log, or none."""
    service, timed = read_unit("npsrisk.service"), read_unit(f"{of}.service")
    for name in ("User", "Group", "EnvironmentFile", "StateDirectory", "UMask", "ProtectSystem"):
        assert timed[name] == service[name]
    for name in ("npsrisk.service", f"{of}.service"):
        assert "Environment=NPSRISK_STATE_DIR=/var/lib/npsrisk\n" in (DEPLOY / name).read_text()


def test_the_feedback_runs_a_verb_that_exists() -> None:
    program, *words = read_unit("npsrisk-feedback.service")["ExecStart"].split()
    assert read_unit("npsrisk.service")["ExecStart"].split()[:2] == [program, "serve"]
    assert program == "/opt/npsrisk/bin/npsrisk"
    done = CliRunner().invoke(main, [*words, "--help"])
    assert (done.exit_code, done.output.startswith("Usage: main exchange feedback")) == (0, True), done.output


class NightlyCheck:
    """The nightly check with a program that notes its words, prints a head and ends with a code."""

    def __init__(self, folder: Path) -> None:
        self.calls, self.head = folder / "calls", folder / "head"
        self.program = folder / "npsrisk"

    def run(self, head: str, code: int = 0) -> int:
        fails = f'[ "$1" = verify-log ] && exit {code}; exit 0'
        self.program.write_text(f'#!/bin/sh\necho "$@" >> {self.calls}\necho "head {head}"\n{fails}\n')
        self.program.chmod(0o755)
        self.calls.unlink(missing_ok=True)
        environment = {"PATH": f"{self.program.parent}:/usr/bin:/bin", "HEAD_FILE": str(self.head)}
        done = subprocess.run([DEPLOY / "npsrisk-check"], env=environment, capture_output=True, check=False)
        return done.returncode


def test_the_nightly_check_passes_on_the_head_and_keeps_it_if_the_log_is_not_valid(tmp_path: Path) -> None:
    check = NightlyCheck(tmp_path)
    assert (check.run("a"), check.head.read_text()) == (0, "a\n")
    verified, compared = check.calls.read_text().splitlines()
    assert verified == "verify-log"
    assert compared.startswith("parity --from 20")
    assert (check.run("b"), check.head.read_text()) == (0, "b\n")
    assert check.calls.read_text().splitlines()[0] == "verify-log --head a"
    assert (check.run("c", code=1), check.head.read_text()) == (1, "b\n")
    assert check.calls.read_text().splitlines() == ["verify-log --head b"]


def test_the_nightly_backup_keeps_log_and_keys_apart_and_deletes_old_copies(tmp_path: Path) -> None:
    program, words = tmp_path / "npsrisk", tmp_path / "words"
    program.write_text(f'#!/bin/sh\necho "$@" > {words}\n')
    program.chmod(0o755)
    places = {"BACKUP_DIR": "/log", "KEYS_DIR": "/keys", "KEEP_DAYS": "7"}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run([DEPLOY / "npsrisk-backup"], env=environment | places, check=True)
    verb, folder, *rest = words.read_text().split()
    assert (verb, folder.startswith("/log/20")) == ("backup", True)
    assert rest == ["--keys", f"/keys/{Path(folder).name}", "--keep-days", "7"]
    missing = subprocess.run([DEPLOY / "npsrisk-backup"], env=environment, capture_output=True, check=False)
    assert missing.returncode != 0


def test_the_image_has_a_base_that_the_builder_can_fix_files_that_exist_and_an_ordinary_user() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    bases = [line for line in lines if line.startswith("FROM")]
    assert bases == ["FROM ${PYTHON} AS build", "FROM ${PYTHON}"]
    copied = [line.split()[1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert copied == ["requirements.txt", "."]
    assert (REPOSITORY / "requirements.txt").exists()
    assert "USER npsrisk" in lines
    assert lines.index("USER npsrisk") < lines.index('ENTRYPOINT ["npsrisk"]')


def test_each_volume_of_a_container_is_mounted_on_a_folder_that_the_image_gives_to_its_user() -> None:
    """A new volume belongs to root if its folder is not in the image: then the service could not write to it."""
    text = (DEPLOY / "Dockerfile").read_text()
    _, _, folders = text.partition("install -d -m 0700 -o npsrisk -g npsrisk ")
    given = set(folders.splitlines()[0].split())
    compose = read_compose()
    mounted = {
        mount.split(":")[1]
        for service in compose["services"].values()
        if service["image"].startswith("npsrisk")
        for mount in service.get("volumes", [])
        if mount.split(":")[0] in compose["volumes"]
    }
    assert mounted == given == {"/var/lib/npsrisk", "/var/lib/npsrisk-snapshots", "/tables"}


def test_the_folder_of_the_containers_keys_is_neither_committed_nor_built_into_the_image() -> None:
    mounts = {mount for each in read_compose()["services"].values() for mount in each.get("volumes", [])}
    assert "./config:/etc/npsrisk:ro" in mounts  # from the folder of compose.yml
    assert "/deploy/config/" in (REPOSITORY / ".gitignore").read_text().splitlines()
    assert "deploy/config" in (REPOSITORY / ".dockerignore").read_text().splitlines()


POSTGRES = ("USER", "DB", "PASSWORD", "INITDB_ARGS")
OTHER_PROGRAMS = {"PGPASSWORD", "PGDATA", *(f"POSTGRES_{name}" for name in POSTGRES)}
"""Environment variables of PostgreSQL and its image."""


class Container(NamedTuple):
    """A container of a file of deploy/, in the words of Kubernetes."""

    file: str
    name: str
    image: str
    words: list[str]
    environment: set[str]
    paths: set[str]


def read_manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yml")):
        for each in yaml.safe_load_all(path.read_text()):
            yield path.name, each


def read_compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yml").read_text())


def list_containers() -> list[Container]:
    found = []
    for file, each in read_manifests():
        pod = each["spec"].get("template", {}).get("spec", {})
        for given in pod.get("containers", []):
            words = [*given.get("command", []), *given.get("args", [])]
            variables = {variable["name"] for variable in given.get("env", [])}
            probes = [given[name].get("httpGet") for name in given if name.endswith("Probe")]
            paths = {probe["path"] for probe in probes if probe}
            found.append(Container(file, given["name"], given["image"], words, variables, paths))
    for name, given in read_compose()["services"].items():
        words = [*given.get("entrypoint", []), *given.get("command", [])]
        variables = set(given.get("environment", {}))
        found.append(Container("compose.yml", name, given["image"], words, variables, set()))
    return found


@pytest.mark.parametrize("each", list_containers(), ids=lambda each: f"{each.file}-{each.name}")
def test_a_container_has_an_image_settings_that_exist_and_a_verb_that_exists(each: Container) -> None:
    assert each.image in ("npsrisk", "npsrisk-scale", "postgres:16")
    assert each.environment <= {*SETTING_NAMES, *OTHER_PROGRAMS}
    assert each.paths <= set(build_document(Consignment, "0")["paths"])
    if each.words[:1] == ["dask"]:
        assert each.image == "npsrisk-scale"
        assert each.words[1] in ("scheduler", "worker")
    elif each.image.startswith("npsrisk"):
        done = CliRunner().invoke(main, [each.words[0], "--help"])
        assert done.exit_code == 0, done.output
        for word in each.words:
            assert not word.startswith("--") or word in done.output, f"{each.words[0]} has no option {word}"


def test_every_service_reaches_pods_that_exist_by_a_port_that_they_have() -> None:
    manifests = [each for _, each in read_manifests()]
    pods = [each["spec"]["template"] for each in manifests if "template" in each["spec"]]
    for service in (each for each in manifests if each["kind"] == "Service"):
        (pod,) = [each for each in pods if each["metadata"]["labels"] == service["spec"]["selector"]]
        named = {port["name"] for given in pod["spec"]["containers"] for port in given.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for each in manifests:
        if each["kind"] in ("Deployment", "StatefulSet"):
            labels = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"] == labels


def test_a_node_can_be_drained_of_the_active_pod_and_only_the_service_reaches_the_database() -> None:
    kinds = {each["kind"]: each for _, each in read_manifests()}
    # A standby is not ready, so a budget that keeps one of two pods would never let the active one go.
    assert "PodDisruptionBudget" not in kinds
    policy = kinds["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == {"app": "npsrisk-postgres"}
    (rule,) = policy["ingress"]
    assert rule == {"from": [{"podSelector": {"matchLabels": {"app": "npsrisk"}}}], "ports": [{"port": 5432}]}
    assert (policy["policyTypes"], policy.get("egress", [])) == (["Ingress", "Egress"], [])


def test_every_mounted_volume_exists() -> None:
    for _, each in read_manifests():
        pod = each["spec"].get("template", {}).get("spec", {})
        there = {volume["name"] for volume in pod.get("volumes", [])}
        there |= {volume["metadata"]["name"] for volume in each["spec"].get("volumeClaimTemplates", [])}
        for given in pod.get("containers", []):
            assert {mount["name"] for mount in given.get("volumeMounts", [])} <= there
    compose = read_compose()
    for given in compose["services"].values():
        mounted = {each.split(":")[0] for each in given.get("volumes", [])}
        assert {name for name in mounted if name[:1] != "."} <= set(compose["volumes"])


def test_services_that_stand_by_for_each_other_share_database_data_key_and_snapshots() -> None:
    services = read_compose()["services"]
    one, two = services["one"], services["two"]
    assert one["environment"] == two["environment"]
    assert one["environment"]["NPSRISK_STANDBY"] == "true"
    shared = {name for name in one["volumes"] if name in two["volumes"]}
    folder = one["environment"]["NPSRISK_DATA_KEY_FILE"].removesuffix("/data.key")
    assert any(f":{folder}:" in name for name in shared)
    assert f"snapshots:{one['environment']['NPSRISK_SNAPSHOTS_DIR']}" in shared
    assert f"one:{one['environment']['NPSRISK_STATE_DIR']}" not in shared


def test_the_service_without_a_ready_pod_is_not_blocked_by_its_standby() -> None:
    named = [each for _, each in read_manifests() if each["metadata"]["name"] == "npsrisk"]
    (given,) = [each["spec"] for each in named if each["kind"] == "StatefulSet"]
    assert (given["podManagementPolicy"], given["updateStrategy"]["type"]) == ("Parallel", "OnDelete")
    (container,) = given["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
