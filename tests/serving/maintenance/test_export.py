"""Export: the log as tables that train, score and come back as the same history; personal columns only where asked for."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner
from support.databases import copy_state, execute, reader_of, state_environment
from support.examples import day, make_consignment
from support.serving_examples import KEY_ID, publish, serving, settings_in, vault_in

from consignments.files.folders import open_work_folder
from consignments.records import Alert, Consignment, Outcome, get_fields
from consignments.tables import read_table
from features.batch import Tables
from features.history.data_keys import DataKeys, encode_data_keys
from features.history.pseudonyms import Pseudonyms
from features.streams import compute_feature_matrix
from models.batch_scoring import build_feature_parameters
from models.bundle import load_bundle
from npsrisk import main
from serving.event_log.event_codec import decode_features
from serving.event_log.events import Event
from serving.event_log.verification import verify_chain
from serving.scoring.loaded_model import load_rules_model
from serving.state.history_keys import KeyReader
from serving.state.snapshots import rebuild_state

PERSONAL = {field.name for record in (Consignment, Alert) for field in get_fields(record) if field.personal}


@pytest.fixture(scope="module")
def exported(lived_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export with personal columns."""
    out = tmp_path_factory.mktemp("exported") / "tables"
    export(lived_world, out, "--personal")
    return out


def export(state_dir: Path, out: Path, *words: str) -> dict[str, Any]:
    done = run(state_dir, "export", "--out", str(out), "--json", *words)
    assert done[0] == 0, done[1]
    told: dict[str, Any] = json.loads(done[1].splitlines()[-1])
    return told


def run(state_dir: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words, env=state_environment(state_dir))
    return done.exit_code, done.output


def entries(state_dir: Path, kind: str = "") -> list[Event]:
    log = reader_of(state_dir)
    found = [event for event in log.read_events() if kind in ("", event.kind)]
    log.close()
    return found


def test_the_world_holds_what_this_is_about(lived_world: Path) -> None:
    found = entries(lived_world)
    kinds = pd.Series([event.kind for event in found]).value_counts()
    assert set(kinds.index) == {"decision", "arrival", "outcome", "alert", "cancellation", "selection"}
    arrived = [event for event in found if event.kind in ("decision", "arrival")]
    contents = pd.Series([(event.consignment_id, event.content) for event in arrived])
    assert contents.duplicated().sum() > 3, "some return to an older content"
    assert len({event.model for event in arrived if event.kind == "decision"}) == 2


@pytest.mark.parametrize("shuffled", [False, True])
def test_features_of_the_exported_tables_are_the_logged_ones_to_the_last_bit(
    lived_world: Path, exported: Path, bundle: Path, other_bundle: Path, shuffled: bool
) -> None:
    compared = 0
    for folder in (bundle, other_bundle):
        model = load_bundle(folder)
        kinds = {"consignments": model.config.build_record_type(), "outcomes": Outcome, "alerts": Alert}
        frames = [
            read_table(exported / f"{name}.parquet", kind, strict=True).frame for name, kind in kinds.items()
        ]
        tables = Tables(*(frame.sample(frac=1, random_state=1) if shuffled else frame for frame in frames))
        parameters = build_feature_parameters(model, Pseudonyms(b"any key"))
        matrix = compute_feature_matrix(tables, parameters)
        rows = dict(zip(tables.consignments["sequence"].tolist(), matrix.X, strict=True))
        for event in entries(lived_world, "decision"):
            if event.model_sha256 == model.sha256:
                differing = np.flatnonzero(
                    rows[event.sequence].view("i4") != decode_features(event).view("i4")
                )
                assert [model.spec.names[place] for place in differing] == [], event.sequence
                compared += 1
    assert compared == len(entries(lived_world, "decision"))


def test_the_command_computes_the_same_features_of_an_export(
    lived_world: Path, exported: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "f.parquet"
    options = [f"--{name}={exported / name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    code, told = run(lived_world, "features", *options, "--out", str(out))
    assert code == 0, told
    assert "unknown columns" not in told
    computed = pd.read_parquet(out).set_index("sequence")
    spec = load_bundle(bundle).card.feature_spec_sha256[:12]
    logged = pd.read_parquet(exported / f"features-{spec}.parquet").set_index("sequence")
    shared = [name for name in computed.columns if name in logged.columns]
    assert len(shared) > 100
    pd.testing.assert_frame_equal(computed.loc[logged.index, shared], logged[shared], check_exact=True)


def test_logged_features_have_a_file_for_each_spec_with_their_names(
    lived_world: Path, exported: Path, bundle: Path, other_bundle: Path
) -> None:
    for folder in (bundle, other_bundle):
        model = load_bundle(folder)
        table = pd.read_parquet(exported / f"features-{model.card.feature_spec_sha256[:12]}.parquet")
        assert list(table.columns) == ["sequence", "consignment_id", *model.spec.names]
        mine = [event for event in entries(lived_world, "decision") if event.model_sha256 == model.sha256]
        assert table["sequence"].tolist() == [event.sequence for event in mine]
        values = np.ascontiguousarray(table[list(model.spec.names)].to_numpy(dtype=np.float32))
        assert values.tobytes() == b"".join(decode_features(event).tobytes() for event in mine)


def test_an_export_imported_into_a_new_log_is_the_same_history(
    lived_world: Path, exported: Path, tmp_path: Path
) -> None:
    new = settings_in(tmp_path / "new").state_dir
    options = [f"--{name}={exported / name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    code, told = run(new, "import", *options, "--json")
    assert code == 0, told
    counts = json.loads(told.splitlines()[-1])
    assert (counts["known"], counts["refused"]) == (0, 0)
    assert history(new) == history(lived_world)
    again = json.loads(run(new, "import", *options, "--json")[1].splitlines()[-1])
    assert [again[name] for name in ("consignments", "outcomes", "alerts", "cancellations")] == [0] * 4


def history(state_dir: Path) -> tuple[bytes, ...]:
    """What a state built from the log holds: keys are pseudonyms, equal under one data key."""
    log = reader_of(state_dir)
    model = load_rules_model(vault_in(state_dir))
    pipeline, read = model.pipeline, model.entries
    arrays = rebuild_state(log, KeyReader(pipeline, read)).history.get_arrays()
    log.close()
    return tuple(array.tobytes() for array in arrays)


def test_decisions_stand_as_they_were_answered(lived_world: Path, exported: Path) -> None:
    decisions = pd.read_parquet(exported / "decisions.parquet")
    logged = entries(lived_world, "decision")
    assert decisions["sequence"].tolist() == [event.sequence for event in logged]
    assert decisions["score"].tolist() == [event.score for event in logged]
    assert decisions["band"].tolist() == [event.band for event in logged]
    assert set(decisions["model_version"]) == {"1", "2"}
    assert set(decisions["asked_by"]) == {"local"}
    assert decisions["decision_id"].str.endswith(f"-{logged[0].sequence}").iloc[0]
    assert decisions["model_sha256"].tolist() == [event.model_sha256 for event in logged]


def test_an_outcome_that_came_without_its_probability_has_the_one_of_its_selection(
    lived_world: Path, exported: Path
) -> None:
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


def test_without_the_flag_nothing_personal_is_written_and_the_tables_say_so(
    lived_world: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    copy_state(lived_world, state)
    (state / "data.key").unlink()
    told = export(state, tmp_path / "out")
    assert not told["personal"]
    for path in (tmp_path / "out").glob("*.parquet"):
        schema = parquet.read_schema(path)
        assert not PERSONAL & set(schema.names), path
        assert "personal columns are not exported" in json.loads(schema.metadata[b"npsrisk"])["notes"][0]
        written = path.read_bytes()
        assert b"Sender 1" not in written
        assert b"Harbour" not in written
    code, told_ = run(state, "export", "--out", str(tmp_path / "other"), "--personal")
    assert code == 2
    assert "data key cannot be read" in told_


def test_another_data_key_is_refused(lived_world: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    copy_state(lived_world, state)
    (state / "data.key").write_bytes(encode_data_keys(DataKeys.create()))
    code, told = run(state, "export", "--out", str(tmp_path / "out"), "--personal")
    assert code == 2
    assert "written with another data key" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_model_that_is_gone_leaves_values_without_names_and_says_so(
    lived_world: Path, tmp_path: Path, other_bundle: Path
) -> None:
    state = tmp_path / "state"
    copy_state(lived_world, state)
    model = load_bundle(other_bundle)
    shutil.rmtree(next((state / "models").glob(f"*-{model.sha256[:12]}")))
    told = export(state, tmp_path / "out")
    assert any("has no feature names" in note and "there is no such file" in note for note in told["notes"])
    name = f"features-{model.card.feature_spec_sha256[:12]}"
    table = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
    assert list(table.columns) == ["sequence", "consignment_id", "values"]
    assert {len(row) for row in table["values"]} == {len(model.spec)}


def test_an_earlier_export_is_replaced_and_other_things_are_not(lived_world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(lived_world, out)
    first = json.loads((out / "export.json").read_text())
    export(lived_world, out, "--personal")
    assert json.loads((out / "export.json").read_text())["personal"]
    assert not first["personal"]
    (out / "notes.txt").write_text("mine")
    code, told = run(lived_world, "export", "--out", str(out))
    assert code == 2
    assert "contains other files; got notes.txt" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_is_written_is_readable_by_its_owner_alone(exported: Path) -> None:
    assert exported.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in exported.iterdir()} == {0o600}


def test_an_entry_that_cannot_be_opened_leaves_what_was_there(lived_world: Path, tmp_path: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    copy_state(lived_world, state)
    export(state, out, "--personal")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    execute(state, "UPDATE events SET sealed = :noise WHERE sequence = 5", noise=KEY_ID + os.urandom(60))
    code, told = run(state, "export", "--out", str(out), "--personal")
    assert code == 2
    assert "cannot be decrypted" in told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "state"]


def test_columns_that_a_model_declared_are_exported(tmp_path: Path, column_bundle: Path) -> None:
    publish(tmp_path, column_bundle, "1")
    model = load_bundle(column_bundle)
    with serving(settings_in(tmp_path)) as client:
        for place, rate in enumerate((0.25, None)):
            plain = {
                "consignment_id": f"RB{place}",
                "channel": "postal",
                "received_at": day(place).isoformat(),
            }
            assert client.post("/v1/scores", plain | {"tax_rate": rate}).status_code == 200
    export(tmp_path, tmp_path / "out", "--personal")
    frame = read_table(tmp_path / "out" / "consignments.parquet", model.config.build_record_type()).frame
    assert frame["tax_rate"].tolist()[0] == 0.25
    assert pd.isna(frame["tax_rate"].tolist()[1])


def test_a_running_service_is_exported_up_to_the_start(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        assert export(tmp_path, tmp_path / "out", "--personal")["tables"]["decisions"] == 1
        client.post("/v1/scores", make_consignment("RB2"))
        told = export(tmp_path, tmp_path / "out", "--personal")
        assert told["tables"]["decisions"] == 2
        assert told["head"] == verify_chain(client.service.log, until=told["last_sequence"]).head


def test_an_empty_log_has_empty_tables(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)):
        pass
    told = export(tmp_path, tmp_path / "out", "--personal")
    assert set(told["tables"].values()) == {0}
    assert len(read_table(tmp_path / "out" / "consignments.parquet", Consignment).frame) == 0


def test_what_a_killed_export_left_is_removed_or_restored(lived_world: Path, tmp_path: Path) -> None:
    out, earlier, draft = (tmp_path / name for name in ("out", ".out.old", ".out.draft"))
    export(lived_world, out)
    out.rename(earlier)
    (earlier / "notes.txt").write_text("mine")
    draft.mkdir()
    (draft / "consignments.parquet").write_text("names")
    code, told = run(lived_world, "export", "--out", str(out))
    assert (code, "contains other files; got notes.txt" in told) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "the earlier export is back"
    (out / "notes.txt").unlink()
    with open_work_folder(draft, "export"):
        code, told = run(lived_world, "export", "--out", str(out))
    assert (code, "another run is writing this export" in told) == (2, True)
    export(lived_world, out, "--personal")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
