"""The verb doctor: each fault has a line with what to do, and a sound installation has none."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.bad_releases import alter_weights
from support.certificates import make_certificate
from support.databases import execute, state_environment
from support.examples import make_consignment
from support.serving_examples import describe_key, make_bundle, publish, serving, settings_in
from support.verbs import read_json, run_verb

from features.config import FeatureConfig
from features.history.data_keys import DataKeys, encode_data_keys, read_data_keys
from serving.process.clock import read_clock_us

CHECKS = (
    "API keys, TLS, approvers, clock, disk, event log, files, keys, model, model store, rights of approvers, settings, "
    "standby, state directory, versions"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound installation with one decision of today."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    publish(state, make_bundle(tmp_path / "bundle", FeatureConfig(), seed=1), "1")
    settings = settings_in(state)
    (state / "data.key").chmod(0o600)
    with serving(settings, read_clock_us) as client:
        assert client.post("/v1/scores", make_consignment("RB1")).status_code == 200
    return state


def write_key(folder: Path, more: str = "") -> str:
    (folder / "keys.toml").write_text(describe_key("post", "score", more=more))
    return str(folder / "keys.toml")


def examine(folder: Path, **settings: str) -> list[dict[str, Any]]:
    """Run the verb; its exit code says if all is right."""
    done = run_verb("doctor --json", **state_environment(folder) | {"MLFLOW_TRACKING_URI": None} | settings)
    result = read_json(done)
    assert done.exit_code == (0 if result["ok"] else 1)
    return result["checks"]


def find_wrong(folder: Path, **settings: str) -> dict[str, str]:
    checks = examine(folder, **settings)
    return {each["check"]: f"{each['found']}; {each['todo']}" for each in checks if not each["ok"]}


def test_a_sound_installation_has_no_fault(folder: Path) -> None:
    checks = examine(folder)
    assert all(each["ok"] for each in checks)
    assert ", ".join(sorted(each["check"] for each in checks)) == CHECKS


def test_imported_entries_a_single_approver_and_an_address_are_told_as_they_are(folder: Path) -> None:
    execute(folder, "UPDATE events SET kind = 'arrival', recorded_us = NULL, asked_by = 'import'")
    store = "https://user:pass@word@store.example:5000/mlflow"
    found = {each["check"]: each["found"] for each in examine(folder, MLFLOW_TRACKING_URI=store)}
    assert found["clock"].endswith(", no entry of the service yet")
    assert found["approvers"].startswith("1 may approve, 1 of them must sign")
    assert found["model store"] == "https://store.example:5000/mlflow, which was not contacted"


def test_each_fault_is_found_and_the_other_checks_still_run(folder: Path, tmp_path: Path) -> None:
    (folder / "data.key").chmod(0o644)
    keys = read_data_keys(folder / "data.key")
    other = structs.replace(keys, sealing_keys=DataKeys.create().sealing_keys)
    (folder / "data.key").write_bytes(encode_data_keys(other))
    (folder / "approvers.toml").write_text("signatures = 1\n")
    (folder / "models" / "current.json").unlink()
    future = read_clock_us() + 400 * 86_400_000_000
    execute(folder, f"UPDATE events SET recorded_us = {future}")
    keys_file = write_key(tmp_path, "expires_at = 2020-01-01T00:00:00Z")
    wrong = find_wrong(folder, NPSRISK_RATE_LIMT="1/second", NPSRISK_API_KEYS_FILE=keys_file)
    assert "NPSRISK_RATE_LIMIT" in wrong["settings"]
    assert f"chmod 600 {folder / 'data.key'}" in wrong["permissions"]
    assert "restore the newest copy of data.key" in wrong["keys"]
    assert "npsrisk publish" in wrong["model"]
    assert "in the future: correct the system clock" in wrong["clock"]
    assert "expires on 2020-01-01" in wrong["API keys"]
    assert "approvers" in wrong


def test_what_the_service_would_refuse_or_not_be_ready_with_is_wrong(folder: Path, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert "table of offices cannot be used" in find_wrong(folder, NPSRISK_OFFICES_FILE=nowhere)["files"]
    assert nowhere in find_wrong(folder, NPSRISK_MAPPINGS_DIR=nowhere)["files"]
    (release,) = (folder / "models").glob("nps-risk-1-*")
    alter_weights(release)
    execute(folder, "DELETE FROM events")
    wrong = find_wrong(folder)
    assert "the file was altered" in wrong["model"]
    assert "the log lacks entries: a snapshot has 1; restore" in wrong["event log"]


def test_approvers_that_the_service_can_write_are_wrong_with_api_keys(folder: Path, tmp_path: Path) -> None:
    (found,) = [each for each in examine(folder) if each["check"] == "rights of approvers"]
    assert (found["ok"], found["warning"]) == (True, True)
    assert f"can write {folder / 'approvers.toml'}" in found["found"]
    own = {"NPSRISK_API_KEYS_FILE": write_key(tmp_path), "NPSRISK_APPROVERS_FILE": f"{folder}/approvers.toml"}
    assert "let root own the file" in find_wrong(folder, **own)["rights of approvers"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a file to another user")
def test_approvers_of_root_outside_the_state_directory_are_right(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "approvers.toml", tmp_path / "approvers.toml")
    os.chown(folder, 54_321, 54_321)
    outside = f"{tmp_path}/approvers.toml"
    keys_file = write_key(tmp_path)
    assert find_wrong(folder, NPSRISK_API_KEYS_FILE=keys_file, NPSRISK_APPROVERS_FILE=outside) == {}


def test_a_data_key_of_another_log_is_found(folder: Path) -> None:
    (folder / "data.key").write_bytes(encode_data_keys(DataKeys.create()))
    assert "data key" in find_wrong(folder)["keys"]


def test_a_certificate_that_soon_ends_or_whose_key_all_read_is_found(folder: Path, tmp_path: Path) -> None:
    for days, mode, wrong in (
        (90, 0o640, set()), (90, 0o644, {"TLS"}), (20, 0o640, {"TLS"}), (-20, 0o640, {"TLS"})
    ):  # fmt: skip
        crt, key = make_certificate(tmp_path, days=days)
        key.chmod(mode)
        files = {"NPSRISK_TLS_CERT_FILE": str(crt), "NPSRISK_TLS_KEY_FILE": str(key)}
        assert find_wrong(folder, **files).keys() == wrong


def test_the_model_store_of_the_settings_file_is_checked(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "npsrisk.env"
    file.write_text(f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/none.db\n")
    assert "there is no such file" in find_wrong(folder, NPSRISK_SETTINGS=str(file))["model store"]
