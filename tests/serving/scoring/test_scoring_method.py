"""Where no model is loaded the rules score, and whatever leaves or stays behind says so."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.databases import reader_of, state_environment
from support.examples import make_consignment, make_outcome
from support.serving_examples import DATA_KEYS, Client, publish, serving, settings_in

from features.spec import Spec
from models.bundle import load_bundle
from models.risk_model import RiskModel
from models.rules import Rules
from npsrisk import main
from serving.encryption.vault import Vault
from serving.scoring.loaded_model import LoadedModel, ScoringMethod, build_rules_method, get_rules_name

NAMED = "research chemical powder 3-CMC"


def test_without_a_model_the_rules_score_and_the_answer_says_so(tmp_path: Path) -> None:
    rules = build_rules_method().judge
    with serving(settings_in(tmp_path)) as client:
        plain, named = client.score("RB1", "?features=true"), client.score("RB2", description=NAMED)
        X = np.array(
            [[np.nan if value is None else value for value in plain["features"].values()]], np.float32
        )
        assert plain["score"] == rules.score(X, ["postal"])[0]
        assert (plain["band"], named["band"]) == ("routine", "high")
        assert named["reasons"][0]["text"].startswith("Description ")
        name, version = get_rules_name().split("/")
        assert plain["model"] == named["model"] == {"name": name, "version": version}
        assert name == "rules"
        (logged,) = {(event.model, event.model_sha256) for event in client.service.log.read_events()}
        assert logged == (get_rules_name(), build_rules_method().sha256)


def test_while_the_rules_score_the_service_is_ready_and_says_that_it_is_degraded(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["degraded"]) == (200, True)
        assert ready.json()["model"]["name"] == "rules"
        assert any("not calibrated" in warning for warning in ready.json()["warnings"])
        assert "npsrisk_degraded 1.0" in client.get("/metrics").text
        assert client.get("/v1/model").status_code == 503
        assert "No model is loaded" in client.get("/interface").text


def test_by_setting_nothing_is_answered_without_a_model(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path, NPSRISK_WITHOUT_MODEL="refuse")) as client:
        response = client.post("/v1/scores", make_consignment())
        assert response.status_code == 503
        assert "npsrisk publish" in response.json()["detail"]
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["ready"], ready.json()["degraded"]) == (503, False, False)
        assert client.get("/health/live").status_code == 200
        assert client.post("/v1/outcomes", make_outcome("RB1")).status_code == 200


def test_a_model_takes_over_with_all_that_the_rules_saw(tmp_path: Path, bundle: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        first = client.score("RB1")
        publish(tmp_path, bundle, "1")
        client.look()
        assert client.score("RB1") == first | {"repeated": True}
        second = client.score("RB2", "?features=true")
        assert second["model"] == {"name": "nps-risk", "version": "1"}
        assert second["features"]["history.sender.arrivals_7d"] == 1
        assert (client.get("/health/ready").json()["degraded"], client.get("/v1/model").status_code) == (
            False,
            200,
        )
        assert "npsrisk_degraded 0.0" in client.get("/metrics").text


def test_a_model_that_is_refused_later_leaves_the_loaded_one_and_not_the_rules(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "models" / "current.json").write_text("{")
    client.look()
    assert client.score("RB1")["model"]["name"] == "nps-risk"
    assert client.get("/health/ready").json()["degraded"] is False


@pytest.fixture
def log_of_both(tmp_path: Path, bundle: Path) -> Path:
    """A state directory in which the rules scored, and then a model."""
    with serving(settings_in(tmp_path)) as client:
        client.score("RB1", description=NAMED)
        client.post("/v1/outcomes", make_outcome("RB1", result="nps"))
        client.score("RB2")
        publish(tmp_path, bundle, "1")
        client.look()
        client.score("RB3")
    return tmp_path


def run(state_dir: Path, *words: str) -> dict[str, Any]:
    environment = state_environment(state_dir)
    done = CliRunner().invoke(main, [*words, "--json"], env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    return found


def test_what_the_rules_decided_comes_out_equal_when_it_is_computed_anew(log_of_both: Path) -> None:
    told = run(log_of_both, "parity")
    assert (told["decisions"], told["compared"], told["equal"]) == (3, 3, True)


def test_what_the_rules_decided_is_exported_with_the_names_of_its_features(log_of_both: Path) -> None:
    told = run(log_of_both, "export", "--out", str(log_of_both / "tables"))
    assert {each["model"]: each["decisions"] for each in told["models"]} == {
        get_rules_name(): 2,
        "nps-risk/1": 1,
    }
    assert not any("names of features" in note for note in told["notes"])


def test_other_rules_have_another_version() -> None:
    rules = build_rules_method().judge
    assert isinstance(rules, Rules)
    fewer = Rules(rules.spec, rules.rules[1:])
    assert fewer.digest() != rules.digest() == build_rules_method().sha256


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


def test_a_log_of_the_rules_restarts_to_the_same_answers(log_of_both: Path) -> None:
    log = reader_of(log_of_both)
    before = [event.score for event in log.read_events(kinds=("decision",))]
    log.close()
    with serving(settings_in(log_of_both)) as client:
        again = [
            client.score(f"RB{n}", **({"description": NAMED} if n == 1 else {}))["score"] for n in (1, 2, 3)
        ]
    assert again == before
