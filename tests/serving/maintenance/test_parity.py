"""Parity: a log that the service wrote comes out equal to the last bit, and whatever is changed in it is found."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.databases import copy_state, execute, reader_of
from support.serving_examples import KEY_ID
from support.site import Site, run, told

from consignments.errors import BundleRefused
from features.history.data_keys import DataKeys, encode_data_keys
from models.bundle import load_bundle
from serving.event_log.event_codec import decode_features
from serving.event_log.packed_features import pack_rows, unpack_row
from serving.scoring.loaded_model import PastModels


def damage(state_dir: Path, statement: str, **values: Any) -> None:
    assert execute(state_dir, statement, **values) == 1


def read(state_dir: Path, what: str, where: str) -> Any:
    return execute(state_dir, f"SELECT {what} FROM events WHERE {where}")[0][0]


def test_a_log_that_the_service_wrote_is_equal_to_the_last_bit_however_it_is_cut_into_pieces(
    lived_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(lived_world, "parity")
    assert (found["equal"], found["differences"], found["not_compared"]) == (True, {}, {})
    assert found["decisions"] == found["compared"] > 100
    with reader_of(lived_world) as log:
        decisions = list(log.read_decisions())
    assert {event.model for event in decisions} == {"nps-risk/1", "nps-risk/2"}
    # features, keys and counterparts of each, its score and its band
    expected = sum(len(decode_features(e)) + len(e.keys or b"") // 8 + 2 for e in decisions)
    assert found["values"] == expected
    monkeypatch.setattr("serving.maintenance.recomputation.CHUNK_ARRIVALS", 7)
    assert told(lived_world, "parity") == found


def test_what_is_changed_in_a_decision_is_found_and_named(state: Path, bundle: Path, tmp_path: Path) -> None:
    names = load_bundle(bundle).spec.names
    late = "kind = 'decision' AND model = 'nps-risk/1' AND sequence > 40"
    rows = execute(state, f"SELECT sequence FROM events WHERE {late} ORDER BY sequence")
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
    another_nan = np.array([0xFFC12345], np.uint32).view(np.float32)  # no difference
    nan[np.flatnonzero(np.isnan(nan))[:1]] = another_nan
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
    found = told(state, "parity", "--out", str(tmp_path / "d.parquet"), code=1)
    expected = {names[place]: 1, names[filled]: 1, names[emptied]: 1, "score": 1, "band": 1}
    assert found["differences"] == expected | {"key sender": 1, "counterpart of sender": 1}
    example = found["examples"][0]
    assert (example["sequence"], example["value"]) == (one_bit, names[place])
    assert (example["logged"], example["recomputed"]) == (str(row[place]), str(before))
    assert example["decision_id"].endswith(f"-{one_bit}")
    assert pd.read_parquet(tmp_path / "d.parquet").to_dict("records") == found["examples"]
    assert found["not_compared"] == {"personal fields cannot be decrypted": 1}
    assert found["not_compared_examples"][0].endswith(f"-{unread}")
    assert found["unread"] == {"decision: personal fields cannot be decrypted": 1}


def test_an_arrival_taken_out_or_an_outcome_or_alert_moved_is_found(state: Path, tmp_path: Path) -> None:
    copy_state(state, tmp_path / "moved")
    name = read(state, "consignment_id", "kind = 'decision' AND sequence > 60 ORDER BY sequence")
    execute(state, "DELETE FROM events WHERE consignment_id = :name", name=name)
    assert any(value.startswith("history.") for value in told(state, "parity", code=1)["differences"])
    last = read(tmp_path / "moved", "max(sequence)", "1 = 1")
    move = "UPDATE events SET sequence = :to WHERE sequence = :at"
    for number, kind in enumerate(("alert", "outcome"), start=1):
        first = read(tmp_path / "moved", "sequence", f"kind = '{kind}' ORDER BY sequence")
        damage(tmp_path / "moved", move, to=last + number, at=first)
    found = told(tmp_path / "moved", "parity", code=1)["differences"]
    for group in ("alerts.", "history."):
        assert any(value.startswith(group) for value in found)


def test_a_missing_or_altered_bundle_leaves_its_decisions_out_with_the_reason(
    state: Path, bundle: Path, other_bundle: Path
) -> None:
    sha256 = load_bundle(other_bundle).sha256
    folder = next((state / "models").glob(f"*-{sha256[:12]}"))
    trees = folder / "bundle" / "trees.txt"
    trees.write_text(trees.read_text().replace("leaf_value=0", "leaf_value=1", 1) + " ")
    found = told(state, "parity", "--model", "nps-risk/2", code=1)
    assert (found["compared"], "altered" in next(iter(found["not_compared"]))) == (0, True)
    shutil.rmtree(folder)
    found = told(state, "parity", code=1)
    assert found["differences"] == {}
    many = read(state, "count(*)", "model = 'nps-risk/2'")
    assert (found["decisions"] - found["compared"], list(found["not_compared"].values())) == (many, [many])
    (reason,) = found["not_compared"]
    assert ("nps-risk/2" in reason, "there is no such file" in reason) == (True, True)
    assert len(found["not_compared_examples"]) == 10
    assert told(state, "parity", "--model", "nps-risk/1")["equal"]
    bundles = PastModels(state / "nowhere", lambda _name, _version: load_bundle(bundle))
    with pytest.raises(BundleRefused, match=f"not the one that was approved.*expected {sha256[:12]}"):
        bundles.find("nps-risk/2", sha256)


def test_a_part_of_the_decisions_is_compared_with_all_history_before(lived_world: Path, state: Path) -> None:
    half = read(lived_world, "recorded_us", "kind = 'decision' AND sequence > 150 ORDER BY sequence")
    moment = pd.Timestamp(half, unit="us", tz="UTC").isoformat()
    asked = ((), ("--until", moment), ("--from", moment))
    whole, first, second = (told(lived_world, "parity", *words) for words in asked)
    assert (first["equal"], second["equal"]) == (True, True)
    assert first["decisions"] + second["decisions"] == whole["decisions"]
    # what is broken before the part shows in the part
    execute(state, "DELETE FROM events WHERE kind = 'arrival'")
    assert not told(state, "parity", "--from", moment, code=1)["equal"]


def test_an_unknown_model_is_named_with_the_nearest_and_another_data_key_refused(state: Path) -> None:
    code, output = run(state, "parity", "--model", "nps-risk/3")
    assert (code, "did you mean 'nps-risk/2'" in output) == (2, True)
    (state / "data.key").write_bytes(encode_data_keys(DataKeys.create()))
    code, output = run(state, "parity")
    assert (code, "written with another data key" in output) == (2, True)


def test_a_running_service_is_compared_also_before_its_first_decision(site: Site) -> None:
    with site.serve() as client:
        for decisions in range(2):
            found = site.told("parity")
            assert found["compared"] == found["decisions"] == decisions
            client.score("RB1")
