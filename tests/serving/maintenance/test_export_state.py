"""The state that is exported from a log is that of a batch over its exported tables, byte for byte."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.databases import state_environment
from support.serving_examples import DATA_KEY

from consignments.records import Alert, Outcome
from consignments.tables import read_table
from features.batch import FeatureParameters, Tables
from features.history.kept_state import StateRun
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.history.state_files import StateFolder, StoredState
from features.streams import FeatureInputs, stream_features
from models.bundle import load_bundle
from npsrisk import main


def run(lived_world: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words, env=state_environment(lived_world))
    return done.exit_code, done.output


def run_batch(exported: Path, folder: Path, bundle: Path) -> StoredState:
    """Leave the state of a batch over exported tables."""
    config = load_bundle(bundle).config
    kinds: dict[str, Any] = {"consignments": config.build_record_type(), "outcomes": Outcome, "alerts": Alert}
    tables = Tables(
        *(read_table(exported / f"{name}.parquet", kind, strict=True).frame for name, kind in kinds.items())
    )
    parameters = FeatureParameters(config, pseudonyms=Pseudonyms(DATA_KEY))
    with StateFolder(folder).begin({"consignments": "exported"}) as draft:
        batch = StateRun(None, list_key_kinds(config), parameters.pseudonyms, draft)
        inputs = replace(FeatureInputs.from_tables(tables), state_run=batch)
        for _ in stream_features(inputs, parameters):
            pass
        draft.commit(batch.state)
    return StoredState.read(folder / "00000001")


@pytest.mark.parametrize("entries", [4096, 1])
def test_the_state_of_a_log_is_that_of_a_batch_over_its_tables(
    lived_world: Path, other_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr("serving.maintenance.recomputation.CHUNK_ARRIVALS", entries)
    code, told = run(lived_world, "export", "--out", str(tmp_path / "tables"), "--personal")
    assert code == 0, told
    expected = run_batch(tmp_path / "tables", tmp_path / "batch", other_bundle)
    code, told = run(lived_world, "export", "--state", str(tmp_path / "state"), "--json")
    assert code == 0, told
    found = StoredState.read(tmp_path / "state" / "00000001")
    assert found.manifest.header == expected.manifest.header
    assert found.manifest.files == expected.manifest.files, "SHA-256 of each file"
    assert found.manifest.segments == expected.manifest.segments
    states = np.concatenate([segment.open().state for segment in found.state.segments])
    assert (states["standing"] | states["cancelled"]).sum() > 10
    assert states["arrived"].sum() > 50
    said = json.loads(told.splitlines()[-1])
    assert said["last_sequence"] == found.manifest.header.last_sequence
    assert said["keys"] > 50


def test_the_same_log_is_exported_once_and_another_state_is_left_alone(
    lived_world: Path, other_bundle: Path, tmp_path: Path
) -> None:
    words = ("export", "--state", str(tmp_path / "state"))
    assert run(lived_world, *words)[0] == 0
    before = [(path, path.stat().st_mtime_ns) for path in sorted((tmp_path / "state").rglob("*.npy"))]
    assert run(lived_world, *words)[0] == 0
    assert [(path, path.stat().st_mtime_ns) for path in sorted((tmp_path / "state").rglob("*.npy"))] == before
    assert run(lived_world, "export", "--out", str(tmp_path / "tables"), "--personal")[0] == 0
    run_batch(tmp_path / "tables", tmp_path / "batch", other_bundle)
    code, told = run(lived_world, "export", "--state", str(tmp_path / "batch"))
    assert code == 2
    assert "another state of history already" in told
    code, told = run(lived_world, *words, "--out", str(tmp_path / "tables"))
    assert code == 2
    assert "--out DIR [--personal], or --state DIR" in told
