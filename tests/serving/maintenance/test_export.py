"""Export: the log as tables that train, score and come back as the same history; personal columns only where asked for."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
from support.databases import execute, reader_of
from support.examples import day, make_outcome
from support.serving_examples import DATA_KEY, KEY_ID, Client, settings_in, vault_in
from support.site import Site, entries, run, told

from consignments.files.folders import lock_folder
from consignments.records import Alert, Consignment, Outcome, get_fields
from consignments.tables import read_table
from features.batch import FeatureParameters, Tables
from features.history.data_keys import DataKeys, encode_data_keys
from features.history.kept_state import StateRun
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.history.state_files import StateFolder, StoredState
from features.streams import FeatureInputs, compute_feature_matrix, stream_features
from models.batch_scoring import build_feature_parameters
from models.bundle import Bundle, load_bundle
from serving.event_log.event_codec import Selection, decode_features
from serving.event_log.events import DecisionEvent
from serving.event_log.verification import verify_chain
from serving.maintenance.access_log import FILE_NAME, decode_access
from serving.maintenance.export import _complete_outcome
from serving.scoring.loaded_model import load_rules_model
from serving.state.history_keys import KeyReader
from serving.state.snapshots import rebuild_state

PERSONAL = {field.name for record in (Consignment, Alert) for field in get_fields(record) if field.personal}


@pytest.fixture(scope="module")
def exported(lived_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "tables"
    told(lived_world, "export", "--out", str(out), "--personal")
    return out


def read_tables(exported: Path, bundle: Bundle, *, shuffled: bool = False) -> Tables:
    record = bundle.config.build_record_type()
    kinds: dict[str, Any] = {"consignments": record, "outcomes": Outcome, "alerts": Alert}
    files = ((exported / f"{name}.parquet", kind) for name, kind in kinds.items())
    frames = [read_table(path, kind, strict=True).frame for path, kind in files]
    return Tables(*(frame.sample(frac=1, random_state=1) if shuffled else frame for frame in frames))


def test_features_of_the_exported_tables_are_the_logged_ones_to_the_last_bit(
    lived_world: Path, exported: Path, bundle: Path, other_bundle: Path
) -> None:
    compared, decisions = 0, list_decisions(lived_world)
    for folder, shuffled in ((bundle, False), (other_bundle, True)):
        model = load_bundle(folder)
        tables = read_tables(exported, model, shuffled=shuffled)
        matrix = compute_feature_matrix(tables, build_feature_parameters(model, Pseudonyms(b"any key")))
        rows = dict(zip(tables.consignments["sequence"].tolist(), matrix.X, strict=True))
        for event in decisions:
            if event.model_sha256 == model.sha256:
                here, logged = rows[event.sequence].view("i4"), decode_features(event).view("i4")
                differing = [model.spec.names[place] for place in np.flatnonzero(here != logged)]
                assert differing == [], event.sequence
                compared += 1
    assert compared == len(decisions)
    events = entries(lived_world)
    kinds = {event.kind for event in events}
    assert kinds == {"decision", "arrival", "outcome", "alert", "cancellation", "selection"}
    arrived = [event for event in events if event.kind in ("decision", "arrival")]
    contents = [(event.consignment_id, event.content) for event in arrived]
    assert len(contents) - len(set(contents)) > 3, "some return to an older content"


def list_decisions(folder: Path) -> list[DecisionEvent]:
    return [event for event in entries(folder, "decision") if isinstance(event, DecisionEvent)]


def test_decisions_and_logged_features_stand_as_they_were_answered_readable_by_their_owner_alone(
    lived_world: Path, exported: Path, bundle: Path, other_bundle: Path, site: Site
) -> None:
    assert exported.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in exported.iterdir()} == {0o600}
    decisions, logged = pd.read_parquet(exported / "decisions.parquet"), list_decisions(lived_world)
    assert " ".join(decisions.columns) == (
        "sequence decision_id consignment_id received_at scored_at score band reasons model model_version "
        "model_sha256 spec_sha256 asked_by office warnings"
    )
    for name in ("sequence", "score", "band", "model_sha256", "office"):
        assert decisions[name].tolist() == [getattr(event, name) for event in logged]
    assert (set(decisions["model_version"]), set(decisions["asked_by"])) == ({"1", "2"}, {"local"})
    assert decisions["decision_id"].str.endswith(f"-{logged[0].sequence}").iloc[0]
    for folder in (bundle, other_bundle):
        model = load_bundle(folder)
        table = pd.read_parquet(exported / f"features-{model.card.feature_spec_sha256[:12]}.parquet")
        assert list(table.columns) == ["sequence", "consignment_id", *model.spec.names]
        mine = [event for event in logged if event.model_sha256 == model.sha256]
        assert table["sequence"].tolist() == [event.sequence for event in mine]
        values = np.ascontiguousarray(table[list(model.spec.names)].to_numpy(dtype=np.float32))
        assert values.tobytes() == b"".join(decode_features(event).tobytes() for event in mine)
    with site.serve() as client:
        client.score("RB1", origin_country="QX")
    site.told("export", "--out", str(site.folder / "tables"))
    (doubtful,) = pd.read_parquet(site.folder / "tables" / "decisions.parquet")["warnings"]
    (doubt,) = json.loads(doubtful)
    assert (doubt["code"], doubt["field"]) == ("unknown_country", "origin_country")


def test_an_imported_export_is_the_same_history(lived_world: Path, exported: Path, tmp_path: Path) -> None:
    new = settings_in(tmp_path / "new").state_dir
    options = [f"--{name}={exported / name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    counts = told(new, "import", *options)
    assert (counts["known"], counts["refused"]) == (0, 0)
    assert history(new) == history(lived_world)
    again = told(new, "import", *options)
    assert [again[name] for name in ("consignments", "outcomes", "alerts", "cancellations")] == [0] * 4


def history(state_dir: Path) -> tuple[bytes, ...]:
    """What a state built from the log holds: keys are pseudonyms, equal under one data key."""
    log = reader_of(state_dir)
    model = load_rules_model(vault_in(state_dir))
    pipeline, read = model.pipeline, model.entries
    arrays = rebuild_state(log, KeyReader(pipeline, read)).history.get_arrays()
    log.close()
    return tuple(array.tobytes() for array in arrays)


def test_an_outcome_without_probability_has_that_of_its_selection(lived_world: Path, exported: Path) -> None:
    outcomes = pd.read_parquet(exported / "outcomes.parquet")
    selections = pd.read_parquet(exported / "selections.parquet").set_index("consignment_id")
    filled = outcomes[outcomes["selection_probability"].notna()]
    assert len(filled) > 2
    assert set(filled["selected_by"]) == {"model", "random"}
    for row in filled.itertuples():
        told = selections.loc[row.consignment_id]
        assert (row.selected_by, row.selection_probability) == (told.selected_by, told.selection_probability)
        assert row.sequence > told.sequence
    before = outcomes[outcomes["selected_by"].eq("officer")]
    assert before["selection_probability"].isna().all()
    chosen = {"selected_by": "random", "selection_probability": 0.2, "selected_at": day(0)}
    made = Selection(consignment_id="RB1", **chosen)
    for by, probability in (("officer", None), ("model", 0.5)):  # also if the service had selected it before
        outcome = make_outcome("RB1", selected_by=by, selection_probability=probability)
        assert _complete_outcome(outcome, made) == outcome


def test_nothing_personal_is_written_without_the_flag_and_the_data_key(state: Path, tmp_path: Path) -> None:
    out, other = ("--out", str(tmp_path / "out")), ("--out", str(tmp_path / "other"), "--personal")
    (state / "data.key").unlink()
    assert not told(state, "export", *out)["personal"]
    for path in (tmp_path / "out").glob("*.parquet"):
        schema, written = parquet.read_schema(path), path.read_bytes()
        assert not PERSONAL & set(schema.names), path
        assert "personal columns are not exported" in json.loads(schema.metadata[b"npsrisk"])["notes"][0]
        assert not [name for name in (b"Sender 1", b"Harbour") if name in written]
    assert "data key cannot be read" in refuse(state, *other)
    (state / "data.key").write_bytes(encode_data_keys(DataKeys.create()))
    assert "written with another data key" in refuse(state, *other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "state"]


def refuse(state_dir: Path, *words: str) -> str:
    code, output = run(state_dir, "export", *words)
    assert code == 2, output
    return output


def test_a_missing_model_leaves_values_without_names(state: Path, tmp_path: Path, other_bundle: Path) -> None:
    model = load_bundle(other_bundle)
    shutil.rmtree(next((state / "models").glob(f"*-{model.sha256[:12]}")))
    notes = told(state, "export", "--out", str(tmp_path / "out"))["notes"]
    assert any("has no feature names" in note and "there is no such file" in note for note in notes)
    table = pd.read_parquet(tmp_path / "out" / f"features-{model.card.feature_spec_sha256[:12]}.parquet")
    assert list(table.columns) == ["sequence", "consignment_id", "values"]
    assert {len(row) for row in table["values"]} == {len(model.spec)}


def test_an_earlier_export_is_replaced_and_other_things_are_not(few: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    out, earlier, draft = (folder / name for name in ("out", ".out.old", ".out.part"))
    words = ("--out", str(out), "--personal")
    for given in (words[:2], words):
        told(few, "export", *given)
        assert json.loads((out / "export.json").read_text())["personal"] == (given == words)
    out.rename(earlier)
    (earlier / "notes.txt").write_text("mine")
    draft.mkdir()
    (draft / "consignments.parquet").write_text("names")
    assert "contains other files; got notes.txt" in refuse(few, *words)
    assert [path.name for path in folder.iterdir()] == ["out"], "the earlier export is back"
    (out / "notes.txt").unlink()
    draft.mkdir()
    with lock_folder(draft, "export"):
        assert "another run is writing this export" in refuse(few, *words)
    told(few, "export", *words)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    execute(few, "UPDATE events SET sealed = :noise WHERE sequence = 2", noise=KEY_ID + os.urandom(60))
    assert "cannot be decrypted" in refuse(few, *words)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in folder.iterdir()] == ["out"]


def test_columns_that_a_model_declared_are_exported_and_imported(tmp_path: Path, column_bundle: Path) -> None:
    old, new = (Site(tmp_path / name, column_bundle) for name in ("old", "new"))
    record = load_bundle(column_bundle).config.build_record_type()
    with old.serve() as client:
        for place, rate in enumerate((0.25, None)):
            plain = {"consignment_id": f"RB{place}", "channel": "postal", "received_at": day(place)}
            client.send("/v1/scores", plain | {"tax_rate": rate})
    settings_in(new.folder)
    old.told("export", "--out", str(tmp_path / "out"), "--personal")
    new.told("import", f"--consignments={tmp_path / 'out' / 'consignments.parquet'}")
    new.told("export", "--out", str(tmp_path / "again"), "--personal")
    for out in ("out", "again"):
        frame = read_table(tmp_path / out / "consignments.parquet", record).frame
        assert frame["tax_rate"].fillna(-1).tolist() == [0.25, -1]


def test_a_running_service_is_exported_up_to_the_start(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with site.serve() as client:
        for decisions in range(3):
            found = site.told("export", "--out", str(out), "--personal")
            assert found["tables"].get("decisions", 0) == decisions
            assert found["head"] == verify_chain(client.service.log, until=found["last_sequence"]).head
            assert len(read_table(out / "consignments.parquet", Consignment).frame) == decisions
            client.score(f"RB{decisions}")


def run_batch(exported: Path, folder: Path, bundle: Bundle) -> StoredState:
    parameters = FeatureParameters(bundle.config, pseudonyms=Pseudonyms(DATA_KEY))
    with StateFolder(folder).begin({"consignments": "exported"}) as draft:
        batch = StateRun(None, list_key_kinds(bundle.config), parameters.pseudonyms, draft)
        inputs = replace(FeatureInputs.from_tables(read_tables(exported, bundle)), state_run=batch)
        for _ in stream_features(inputs, parameters):
            pass
        draft.commit(batch.state)
    return StoredState.read(folder / "00000001")


def test_the_state_of_a_log_is_that_of_a_batch_over_its_tables_and_is_exported_once(
    lived_world: Path, exported: Path, other_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_batch(exported, tmp_path / "batch", load_bundle(other_bundle))
    for rows in (4096, 1):
        monkeypatch.setattr("serving.maintenance.recomputation.CHUNK_ARRIVALS", rows)
        words = ("export", "--state", str(tmp_path / f"by {rows}"))
        said = told(lived_world, *words)
        found = StoredState.read(tmp_path / f"by {rows}" / "00000001")
        assert found.manifest.header == expected.manifest.header
        assert found.manifest.files == expected.manifest.files, "SHA-256 of each file"
        assert found.manifest.segments == expected.manifest.segments
    states = np.concatenate([segment.open().state for segment in found.state.segments])
    assert (states["standing"] | states["cancelled"]).sum() > 10
    assert states["arrived"].sum() > 50
    assert said["last_sequence"] == found.manifest.header.last_sequence
    assert said["keys"] > 50
    files = sorted((tmp_path / "by 1").rglob("*.npy"))
    before = [path.stat().st_mtime_ns for path in files]
    told(lived_world, *words)
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "by 1").rglob("*.npy"))] == before
    assert "another state of history already" in refuse(lived_world, "--state", str(tmp_path / "batch"))
    assert "only one of these options may be given" in refuse(lived_world, *words[1:], "--out", str(exported))


def list_accesses(site: Site, client: Client) -> list[str]:
    client.look()
    client.score("RB9")  # its answer comes when all entries before it are on disk
    return [decode_access(event).command for event in site.entries("access")]  # type: ignore[arg-type]


def test_a_personal_export_is_in_the_chain_once_and_without_its_line_there_is_none(site: Site) -> None:
    out = site.folder / "out"
    with site.serve() as client:
        client.score("RB1")
        site.told("export", "--out", str(out), "--personal")
        assert list_accesses(site, client) == ["export --personal"]
    with (site.folder / FILE_NAME).open("ab") as file:
        file.write(b"half of a line that a kill cut")
    with site.serve() as client:  # which reads the file from its start
        assert list_accesses(site, client) == ["export --personal"]
    site.told("export", "--out", str(out))
    assert parquet.read_table(out / "accesses.parquet")["command"].to_pylist() == ["export --personal"]
    (site.folder / FILE_NAME).unlink()
    (site.folder / FILE_NAME).mkdir()  # it cannot be written
    code, told = site.run("export", "--out", str(site.folder / "other"), "--personal")
    assert (code, "cannot be recorded" in told, (site.folder / "other").exists()) == (2, True, False)
