"""Where no model is loaded the rules score, and whatever leaves or stays behind says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from support.examples import make_outcome
from support.serving_examples import DATA_KEYS, publish, serving, settings_in
from support.site import told

from features.spec import Spec
from models.bundle import load_bundle
from models.risk_model import RiskModel
from serving.encryption.vault import Vault
from serving.scoring.loaded_model import LoadedModel, ScoringMethod, build_rules_method, get_rules_name

NAMED = "research chemical powder 3-CMC"


def test_without_a_model_the_rules_score_and_answers_health_and_metrics_say_so(tmp_path: Path) -> None:
    rules = build_rules_method().judge
    with serving(settings_in(tmp_path)) as client:
        plain, named = client.score("RB1", "?features=true"), client.score("RB2", description=NAMED)
        values = [np.nan if value is None else value for value in plain["features"].values()]
        assert plain["score"] == rules.score(np.array([values], np.float32), ["postal"])[0]
        assert (plain["band"], named["band"]) == ("routine", "high")
        assert named["reasons"][0]["text"].startswith("Description ")
        name, version = get_rules_name().split("/")
        assert plain["model"] == named["model"] == {"name": name, "version": version}
        assert name == "rules"
        (logged,) = {(event.model, event.model_sha256) for event in client.service.log.read_decisions()}
        assert logged == (get_rules_name(), build_rules_method().sha256)
        ready = client.read("/health/ready")
        assert (ready["degraded"], ready["model"]["name"]) == (True, "rules")
        assert any("not calibrated" in warning for warning in ready["warnings"])
        metrics = client.get("/metrics").text
        assert ("npsrisk_degraded 1.0" in metrics, "unknown_codes_total{" in metrics) == (True, False)
        assert client.get("/v1/model").status_code == 503
        assert "No model is loaded" in client.get("/interface").text


def test_a_model_takes_over_with_all_that_the_rules_saw_and_decided(tmp_path: Path, bundle: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        answers = [client.score("RB1", description=NAMED), client.score("RB2")]
        client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
        publish(tmp_path, bundle, "1")
        client.look()
        answers.append(client.score("RB3"))
        assert answers[-1]["model"] == {"name": "nps-risk", "version": "1"}
        features = client.compute_features("RB3")
        assert [features[f"history.sender.{name}"] for name in ("arrivals_7d", "nps_ever")] == [2, 1]
        assert "npsrisk_degraded 0.0" in client.get("/metrics").text
    found = told(tmp_path, "parity")
    assert (found["decisions"], found["compared"], found["equal"]) == (3, 3, True)
    found = told(tmp_path, "export", "--out", str(tmp_path / "tables"))
    decisions = {each["model"]: each["decisions"] for each in found["models"]}
    assert decisions == {get_rules_name(): 2, "nps-risk/1": 1}
    assert not any("names of features" in note for note in found["notes"])
    with serving(settings_in(tmp_path)) as client:
        again = [client.score("RB1", description=NAMED), client.score("RB2"), client.score("RB3")]
    assert again == [each | {"repeated": True} for each in answers]


def test_a_bundle_with_other_texts_is_served_in_the_words_of_this_version(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    features = [replace(feature, text=f"Of old: {feature.text}") for feature in loaded.spec]
    risk = loaded.model
    older = RiskModel(risk.trees, risk.calibration, risk.bands, Spec(features))
    method = ScoringMethod.from_bundle(replace(loaded, model=older))
    model = LoadedModel("nps-risk/1", method, Vault(DATA_KEYS))
    assert model.spec_sha256 == loaded.card.feature_spec_sha256
    assert model.risk.spec.features == loaded.spec.features
    row = loaded.examples.X[0]
    assert model.risk.explain(row, 9) == loaded.model.explain(row, 9)
    assert not any("Of old" in reason.text for reason in model.risk.explain(row, 9))
