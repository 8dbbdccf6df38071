"""Parity: a log that the service wrote comes out equal to the last bit, and whatever is changed in it is found."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.databases import copy_state, execute, reader_of
from support.serving_examples import KEY_ID, make_bundle, vault_in
from support.serving_world import live_through_a_world
from support.site import Site, run

from consignments.errors import BundleRefused
from features.history.data_keys import DataKeys, encode_data_keys
from models.bundle import Bundle, load_bundle
from serving.event_log.event_codec import decode_features
from serving.event_log.packed_features import pack_rows, unpack_row
from serving.maintenance.parity import DecisionFilter, Difference, ParityCheck, ParityReport
from serving.scoring.loaded_model import PastModels


@pytest.fixture
def state(lived_world: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    copy_state(lived_world, tmp_path / "state")
    return tmp_path / "state"


def compare(state_dir: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code, output = run(state_dir, "parity", *words, "--json")
    return code, json.loads(output.splitlines()[-1])


def damage(state_dir: Path, statement: str, **values: Any) -> None:
    assert execute(state_dir, statement, **values) == 1


def read(state_dir: Path, what: str, where: str) -> Any:
    return execute(state_dir, f"SELECT {what} FROM events WHERE {where}")[0][0]


def test_a_log_that_the_service_wrote_is_equal_to_the_last_bit_however_it_is_cut_into_pieces(
    lived_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = compare(lived_world)
    assert (code, told["equal"], told["differences"], told["not_compared"]) == (0, True, {}, {})
    assert told["decisions"] == told["compared"] > 100
    with reader_of(lived_world) as log:
        decisions = list(log.read_decisions())
    assert {event.model for event in decisions} == {"nps-risk/1", "nps-risk/2"}
    # features, keys and counterparts of each, its score and its band
    expected = sum(len(decode_features(e)) + len(e.keys or b"") // 8 + 2 for e in decisions)
    assert told["values"] == expected
    monkeypatch.setattr("serving.maintenance.recomputation.CHUNK_ARRIVALS", 7)
    assert compare(lived_world) == (0, told)


def test_what_is_changed_in_a_decision_is_found_and_named(state: Path, bundle: Path, tmp_path: Path) -> None:
    names = load_bundle(bundle).spec.names
    rows = execute(
        state,
        "SELECT sequence FROM events WHERE kind = 'decision' AND model = 'nps-risk/1' AND sequence > 40 ORDER BY sequence",
    )
    one_bit, other_nan, missing, score, band, key, unread = (row[0] for row in rows[:14:2])

    def change(at: int, column: str, value: Any) -> None:
        damage(state, f"UPDATE events SET {column} = :value WHERE sequence = :at", value=value, at=at)

    def read_row(at: int) -> Any:
        return unpack_row(read(state, "features", f"sequence = {at}")).copy()

    row, place = read_row(one_bit), list(names).index("history.sender.arrivals_7d")
    before = row[place]
    row[place : place + 1].view(np.uint32)[:] ^= 1
    change(one_bit, "features", pack_rows(row[None])[0])
    nan = read_row(other_nan)
    nan[np.flatnonzero(np.isnan(nan))[:1]] = np.array([0xFFC12345], np.uint32).view(
        np.float32
    )  # no difference
    change(other_nan, "features", pack_rows(nan[None])[0])
    hole = read_row(missing)
    filled, emptied = np.flatnonzero(np.isnan(hole))[0], np.flatnonzero(hole == 0)[0]
    hole[filled], hole[emptied] = 0.0, np.nan
    change(missing, "features", pack_rows(hole[None])[0])
    change(score, "score", float(np.nextafter(read(state, "score", f"sequence = {score}"), 2)))
    change(band, "band", "high?")
    keys = np.frombuffer(read(state, "keys", f"sequence = {key}"), dtype=np.uint64).copy()
    keys[0] ^= np.uint64(1)
    keys[len(keys) // 2] ^= np.uint64(1)
    change(key, "keys", keys.tobytes())
    change(unread, "sealed", KEY_ID + os.urandom(80))
    code, told = compare(state, "--out", str(tmp_path / "d.parquet"))
    expected = {names[place]: 1, names[filled]: 1, names[emptied]: 1, "score": 1, "band": 1}
    assert (code, told["differences"]) == (1, expected | {"key sender": 1, "counterpart of sender": 1})
    example = told["examples"][0]
    assert (example["sequence"], example["value"]) == (one_bit, names[place])
    assert (example["logged"], example["recomputed"]) == (str(row[place]), str(before))
    assert example["decision_id"].endswith(f"-{one_bit}")
    assert pd.read_parquet(tmp_path / "d.parquet").to_dict("records") == told["examples"]
    assert told["not_compared"] == {"personal fields cannot be decrypted": 1}
    assert told["not_compared_examples"][0].endswith(f"-{unread}")
    assert told["unread"] == {"decision: personal fields cannot be decrypted": 1}


def test_an_arrival_taken_out_is_found_in_those_that_came_after(state: Path) -> None:
    name = read(state, "consignment_id", "kind = 'decision' AND sequence > 60 ORDER BY sequence")
    execute(state, "DELETE FROM events WHERE consignment_id = :name", name=name)
    code, told = compare(state)
    assert code == 1
    assert any(value.startswith("history.") for value in told["differences"])


def test_an_outcome_and_an_alert_moved_in_the_log_are_found(state: Path) -> None:
    last = read(state, "max(sequence)", "1 = 1")
    for number, kind in enumerate(("alert", "outcome"), start=1):
        first = read(state, "sequence", f"kind = '{kind}' ORDER BY sequence")
        damage(state, "UPDATE events SET sequence = :to WHERE sequence = :at", to=last + number, at=first)
    code, told = compare(state)
    assert code == 1
    for group in ("alerts.", "history."):
        assert any(value.startswith(group) for value in told["differences"])


def test_a_missing_bundle_leaves_its_decisions_out_with_the_reason(state: Path, other_bundle: Path) -> None:
    gone = load_bundle(other_bundle).sha256
    shutil.rmtree(next((state / "models").glob(f"*-{gone[:12]}")))
    code, told = compare(state)
    assert code == 1
    assert told["differences"] == {}
    many = read(state, "count(*)", "model = 'nps-risk/2'")
    assert (told["decisions"] - told["compared"], list(told["not_compared"].values())) == (many, [many])
    (reason,) = told["not_compared"]
    assert "nps-risk/2" in reason
    assert "there is no such file" in reason
    assert len(told["not_compared_examples"]) == 10
    assert compare(state, "--model", "nps-risk/1")[0] == 0


def test_an_altered_bundle_is_not_used(state: Path, other_bundle: Path) -> None:
    folder = next((state / "models").glob(f"*-{load_bundle(other_bundle).sha256[:12]}"))
    trees = folder / "bundle" / "trees.txt"
    trees.write_text(trees.read_text().replace("leaf_value=0", "leaf_value=1", 1) + " ")
    code, told = compare(state, "--model", "nps-risk/2")
    assert (code, told["compared"]) == (1, 0)
    assert "altered" in next(iter(told["not_compared"]))


def test_a_bundle_that_is_only_in_mlflow_is_fetched_once(state: Path, other_bundle: Path) -> None:
    model = load_bundle(other_bundle)
    shutil.rmtree(next((state / "models").glob(f"*-{model.sha256[:12]}")))
    asked: list[tuple[str, str]] = []

    def fetch(name: str, version: str) -> Bundle:
        asked.append((name, version))
        return model

    assert findings(state, PastModels(state, fetch)).equal
    assert asked == [("nps-risk", "2")]


def test_another_bundle_of_the_same_version_is_refused(state: Path, bundle: Path, other_bundle: Path) -> None:
    sha256 = load_bundle(other_bundle).sha256
    bundles = PastModels(state / "nowhere", lambda _name, _version: load_bundle(bundle))
    with pytest.raises(BundleRefused, match=f"another digest.*expected {sha256[:12]}"):
        bundles.find("nps-risk/2", sha256)


def findings(state_dir: Path, bundles: PastModels) -> ParityReport:
    with reader_of(state_dir) as log:
        comparison = ParityCheck(log, vault_in(state_dir), bundles, DecisionFilter())
        assert all(
            isinstance(each, Difference) for piece in comparison.iterate_differences() for each in piece
        )
    return comparison.findings


def test_a_part_of_the_decisions_is_compared_with_all_history_before(lived_world: Path, state: Path) -> None:
    half = read(lived_world, "recorded_us", "kind = 'decision' AND sequence > 150 ORDER BY sequence")
    moment = pd.Timestamp(half, unit="us", tz="UTC").isoformat()
    first, second = compare(lived_world, "--until", moment)[1], compare(lived_world, "--from", moment)[1]
    assert first["equal"]
    assert second["equal"]
    assert first["decisions"] + second["decisions"] == compare(lived_world)[1]["decisions"]
    # what is broken before the part shows in the part
    execute(state, "DELETE FROM events WHERE kind = 'arrival'")
    assert compare(state, "--from", moment)[0] == 1


def test_an_unknown_model_is_named_with_the_nearest_and_another_data_key_refused(
    state: Path,
) -> None:
    code, output = run(state, "parity", "--model", "nps-risk/3")
    assert (code, "did you mean 'nps-risk/2'" in output) == (2, True)
    (state / "data.key").write_bytes(encode_data_keys(DataKeys.create()))
    code, output = run(state, "parity")
    assert (code, "written with another data key" in output) == (2, True)


def test_a_running_service_is_compared_also_before_its_first_decision(site: Site) -> None:
    with site.serve() as client:
        for decisions in range(2):
            told = site.told("parity")
            assert told["compared"] == told["decisions"] == decisions
            client.score("RB1")


def test_models_of_one_configuration_share_a_history(tmp_path: Path, other_bundle: Path) -> None:
    twin = make_bundle(tmp_path / "twin", load_bundle(other_bundle).config, seed=9)
    lived = live_through_a_world(tmp_path / "state", other_bundle, twin, arrivals=40, seed=8)
    assert compare(lived)[0] == 0
