"""One consignment, three ways: HTTP, the batch and the registered model give the same reasons, byte for byte."""

import warnings
from pathlib import Path

import msgspec
from support.examples import day, make_consignment
from support.serving_examples import DATA_KEY, make_bundle, publish, serving, settings_in

from consignments.records import Consignment
from consignments.tables import build_frame
from features.batch import Tables
from features.config import FeatureConfig
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, score_table
from models.bundle import load_bundle
from models.mlflow_model.scoring_model import MODEL_CONFIG, ScoringModel

TEXTS = ("research chemical powder", "cotton t-shirts", "gift", "4-CMC crystals", None)
CONSIGNMENTS = [
    make_consignment(f"RB{n}", received_at=day(n / 8), description=TEXTS[n % 5]) for n in range(20)
]


class Answer(msgspec.Struct):
    """What of an answer is compared: the reasons as they were sent."""

    reasons: msgspec.Raw


def test_http_batch_and_the_registered_model_give_the_same_reasons(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", FeatureConfig(), seed=1)
    publish(tmp_path, folder, "1")
    with serving(settings_in(tmp_path)) as client:
        answers = [client.post("/v1/scores?reasons=4", c).content for c in CONSIGNMENTS]
    sent = [bytes(msgspec.json.decode(each, type=Answer).reasons).decode() for each in answers]
    bundle, frame = load_bundle(folder), build_frame(CONSIGNMENTS, Consignment)
    table = score_table(
        bundle, FeatureInputs.from_tables(Tables(frame)), Pseudonyms(DATA_KEY), columns=ScoreColumns(4, "1")
    )
    assert table["reasons"].tolist() == sent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        registered = ScoringModel(bundle, "1", {**MODEL_CONFIG, "reasons": 4}).predict(frame)
    assert registered["reasons"].tolist() == sent
    assert len(set(sent)) > 2
