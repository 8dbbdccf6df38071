"""The registered model as MLflow loads it: history through its configuration, or a warning and a word in the table."""

import warnings
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from support.registered_model import make_new_consignments, make_past_consignments, register_small_model

from consignments.errors import FileFault
from consignments.table_writers import write_table
from models.registry import ScoringModel


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


def test_with_history_it_scores_without_a_warning(uri: str, past: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = load(uri, history=str(past)).predict(make_new_consignments())
    assert set(table["history"]) == {"given"}


def test_without_history_it_warns_and_the_table_says_none(uri: str, past: Path) -> None:
    with pytest.warns(UserWarning, match="scored without history.*model_config"):
        table = load(uri).predict(make_new_consignments())
    assert set(table["history"]) == {"none"}
    known = load(uri, history=str(past)).predict(make_new_consignments())
    assert (table["score"] != known["score"]).all()


def test_a_history_without_rows_is_none(uri: str, past: Path) -> None:
    past.write_text(past.read_text().splitlines()[0] + "\n")
    with pytest.warns(UserWarning, match="scored without history"):
        table = load(uri, history=str(past)).predict(make_new_consignments())
    assert set(table["history"]) == {"none"}


def test_rows_at_fault_of_a_history_are_named_and_one_of_such_rows_only_is_refused(
    uri: str, past: Path
) -> None:
    frame = pd.read_csv(past)
    frame.assign(channel=["sea", *frame["channel"][1:]]).to_csv(past, index=False)
    with pytest.warns(UserWarning, match="56 rows, 1 rejected"):
        load(uri, history=str(past))
    frame.assign(channel="sea").to_csv(past, index=False)
    with pytest.raises(FileFault, match=r"past\.csv: all rows were rejected; got 56 of 56 rows rejected"):
        load(uri, history=str(past))
