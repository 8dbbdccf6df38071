"""The registered model as MLflow loads it: history through its configuration, or a warning and a word in the table."""

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import invocations
from support.examples import make_consignment
from support.registered_model import make_new_consignments, make_past_consignments, register_small_model

from consignments.errors import BadInput, FileFault, ServiceFault
from consignments.files.table_writers import write_table
from consignments.records import Consignment, create_consignment_type
from consignments.tables import build_frame
from models.mlflow_model.folder import build_signature
from models.mlflow_model.scoring_model import ScoringModel
from models.registry import Registry


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return register_small_model(tmp_path_factory.mktemp("store")).tracking_uri


@pytest.fixture
def past(tmp_path: Path) -> Path:
    write_table(make_past_consignments(), tmp_path / "past.csv")
    return tmp_path / "past.csv"


def load(uri: str, **config: str) -> ScoringModel:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        return mlflow.pyfunc.load_model("models:/nps-risk/1", model_config=config)
    finally:
        mlflow.set_tracking_uri(before)


def test_a_run_is_no_version(uri: str) -> None:
    registry = Registry(uri)
    with pytest.raises(BadInput, match="this is a run, not a version"):
        registry.resolve(registry.resolve("1").run_id)


def predict(uri: str, given: pd.DataFrame | None = None, **options: Any) -> pd.DataFrame:
    """Score without history."""
    with pytest.warns(UserWarning, match="scored without history.*model_config"):
        return load(uri).predict(make_new_consignments() if given is None else given, **options)


def test_with_history_it_scores_without_a_warning_and_otherwise(uri: str, past: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = load(uri, history=str(past)).predict(make_new_consignments())
    unknown = predict(uri)
    assert (set(known["history"]), set(unknown["history"])) == ({"given"}, {"none"})
    assert (known["score"] != unknown["score"]).any()


def test_a_history_without_rows_is_none(uri: str, past: Path) -> None:
    past.write_text(past.read_text().splitlines()[0] + "\n")
    with pytest.warns(UserWarning, match="scored without history"):
        table = load(uri, history=str(past)).predict(make_new_consignments())
    assert set(table["history"]) == {"none"}


def test_rows_at_fault_of_a_history_are_named_and_one_without_others_refused(uri: str, past: Path) -> None:
    frame = pd.read_csv(past)
    frame.assign(channel=["sea", *frame["channel"][1:]]).to_csv(past, index=False)
    with pytest.warns(UserWarning, match="56 rows, 1 rejected"):
        load(uri, history=str(past))
    frame.assign(channel="sea").to_csv(past, index=False)
    with pytest.raises(FileFault, match=r"past\.csv: all rows were rejected; got 56 of 56 rows rejected"):
        load(uri, history=str(past))


def test_a_bad_time_is_refused_when_the_model_is_loaded(uri: str) -> None:
    with pytest.raises(BadInput, match=r"as_of: bad time; got 'spring'"):
        load(uri, as_of="spring")


def test_the_model_says_what_goes_in_and_out_and_its_example_is_found_and_scored(uri: str) -> None:
    model = load(uri)
    required = {column.name for column in model.metadata.get_input_schema().inputs if column.required}
    assert required == {"consignment_id", "channel", "received_at"}
    assert model.metadata.get_output_schema().input_names()[:3] == ["consignment_id", "score", "band"]
    given = make_new_consignments().assign(pieces=[1, 2, 3], sequence=[1, 2, 3], description=float("nan"))
    example = model.input_example
    assert isinstance(example["received_at"][0], str), "a zoned time as text"
    for each in (given, example):
        assert len(predict(uri, each)) == len(each)


def test_the_number_of_reasons_can_be_set_in_the_call(uri: str) -> None:
    given = build_frame([make_consignment("N0", description="metonitazene powder")], Consignment)
    table = predict(uri, given, params={"reasons": 1})
    assert [reason["code"] for reason in json.loads(table["reasons"][0])] == ["goods"]
    assert "reasons" not in predict(uri, given)


def test_declared_columns_are_in_the_signature_and_required() -> None:
    record = create_consignment_type(numeric=["tax_rate"])
    column = build_signature(record).inputs.input_dict()["tax_rate"]
    assert column.required


def test_mlflows_server_scores_the_example_as_it_is_kept(uri: str, tmp_path: Path) -> None:
    """`mlflow models serve` calls this function for each request."""
    model, folder = load(uri), download(uri, tmp_path)
    body = (folder / "serving_input_example.json").read_text()
    with pytest.warns(UserWarning, match="scored without history"):
        answer = invocations(body, "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200
    (row,) = json.loads(answer.response)["predictions"]
    assert (row["consignment_id"], row["history"]) == ("E1", "none")


def test_the_folder_says_how_to_install_what_it_needs(uri: str, tmp_path: Path) -> None:
    folder = download(uri, tmp_path)
    first, *packages = (folder / "requirements.txt").read_text().splitlines()
    assert first == "# npsrisk is in no public index: see INSTALL.md"
    assert packages == [f"mlflow=={version('mlflow')}", f"npsrisk=={version('npsrisk')}"]
    text = (folder / "INSTALL.md").read_text()
    assert f"npsrisk-{version('npsrisk')}-py3-none-any.whl" in text
    assert "mlflow models serve --env-manager local" in text


def download(uri: str, folder: Path) -> Path:
    registry = Registry(uri)
    source = registry.client.get_model_version("nps-risk", "1").source
    model = registry.client.get_logged_model(source.removeprefix("models:/"))
    return Path(mlflow.artifacts.download_artifacts(model.artifact_location, dst_path=str(folder)))


def test_artifacts_that_may_not_be_written_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = register_small_model(tmp_path)

    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / "artifacts"))

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", refuse)
    with pytest.raises(ServiceFault, match=r"cannot be read or written; got Permission denied: .*artifacts"):
        registry.fetch_bundle(registry.resolve("1"))
