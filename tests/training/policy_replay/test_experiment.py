"""Claims about whole contests by the command line: killed and taken up again, over tables, logged."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from support.stores import create_store
from support.verbs import read_json, succeed

from training.policy_replay.environments import describe_simulation
from training.policy_replay.experiment import ExperimentPlan, run_experiment
from training.policy_replay.replay import ReplaySettings

NPSRISK = Path(sys.executable).with_name("npsrisk")
WORLD = ["--world", "operation", "--days", "70", "--per-day", "120", "--capacity", "4"]
LOOP = ["--warm-up-days", "42", "--retrain-days", "14", "--target", "any_offence"]
CONFIG = """
[split]
validation_days = 7
label_delay_days = 5
[model]
trees = 20
[weights]
background_share = 1.0
"""


def start(folder, *words):
    (folder / "loop.toml").write_text(CONFIG)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NPSRISK_", "MLFLOW_"))}
    command = [NPSRISK, "replay", *words, *LOOP, "--jobs", "2", "--config", "loop.toml"]
    own = kept | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = pipes | {"text": True, "start_new_session": True}
    return subprocess.Popen(command, cwd=folder, env=own, **options)


def finished(process):
    out, told = process.communicate()
    assert process.returncode == 0, told[-3000:]
    return json.loads(out.splitlines()[-1])


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_all_policies_run_are_killed_and_end_with_the_same_bytes(tmp_path):
    whole = finished(start(tmp_path, *WORLD, "--out", "whole", "--json"))
    assert len(whole["found"]) == 8
    assert max(whole["found"], key=whole["found"].get) == "oracle"
    killed = start(tmp_path, *WORLD, "--out", "killed")
    while not list((tmp_path / "killed").rglob("openings.parquet")):
        assert killed.poll() is None
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "replay.html").exists()
    finished(start(tmp_path, *WORLD, "--out", "killed", "--json"))
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_the_command_replays_the_policies_that_were_asked_for(tmp_path):
    (tmp_path / "loop.toml").write_text(CONFIG)
    size = "--world operation --days 24 --per-day 40 --capacity 4 --warm-up-days 14 --target any_offence --jobs 1"
    files = f"--config {tmp_path}/loop.toml --out {tmp_path}/out"
    words = f"replay {size} --policy officer --policy rules {files} --json"
    done = succeed(words, MLFLOW_TRACKING_URI=create_store(tmp_path))
    assert set(read_json(done)["found"]) == {"officer", "rules"}
    openings = pd.read_parquet(tmp_path / "out" / "replays" / "officer-seed-1" / "openings.parquet")
    assert not openings.loc[openings["within_capacity"], "selected_by"].eq("intelligence").any()
    assert (tmp_path / "out" / "replay.html").exists()


@pytest.mark.quick
def test_workers_of_a_cluster_replay_the_same_weeks(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed; run make scale")
    factory = describe_simulation(None, days=50, per_day=40, prevalence="operation")
    settings = ReplaySettings(capacity=2, warm_up_days=42, target="any_offence")
    plan = ExperimentPlan(factory, ("random", "officer"), (1,), settings)
    here = run_experiment(plan, tmp_path / "here")
    there = run_experiment(plan, tmp_path / "there", cluster="local:2")
    pd.testing.assert_frame_equal(there.openings, here.openings)
    assert bytes_of(tmp_path / "there") == bytes_of(tmp_path / "here")
