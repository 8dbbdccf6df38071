"""The publisher: what was promoted decides, a challenger stands beside it, and nothing else gets into the state directory."""

import json
from pathlib import Path

import lightgbm
import msgspec
import pytest
from support.bad_releases import Damage, alter_weights, cut_note, remove_bundle, remove_file
from support.registered_model import register_bundle, register_small_model
from support.serving_examples import make_bundle, serving, settings_in
from support.signing import append_signed_record
from support.site import run, told

from consignments.errors import BadInput, BundleRefused, PromotionRefused
from features.config import FeatureConfig
from models.bundle import load_bundle
from models.registry import Registry
from serving.deployment.publisher import publish, publish_shadow
from serving.deployment.releases import find_release_folder
from serving.process.settings import Settings

CHALLENGER = "models:/nps-risk@challenger"


def promote(registry: Registry, bundle: Path) -> None:
    append_signed_record(registry, register_bundle(registry, bundle), load_bundle(bundle).sha256)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Registry:
    """Version 1 is champion; version 2 is challenger, and nobody approved it; another challenger finds something else."""
    folder = tmp_path_factory.mktemp("registry")
    made = register_small_model(folder, ())
    promote(made, bundle)
    for seed, target in ((11, "nps"), (12, "any_offence")):
        register_bundle(made, make_bundle(folder / target, FeatureConfig(), seed, target))
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "state")


def roles(settings: Settings) -> dict[str, str]:
    found = {}
    for role in ("current", "shadow"):
        path = settings.state_dir / "models" / f"{role}.json"
        if path.exists():
            found[role] = json.loads(path.read_text())["folder"].rsplit("-", 1)[0]
    return found


def test_the_champion_decides_and_the_challenger_is_marked(registry: Registry, settings: Settings) -> None:
    champion = publish(registry, settings.model, settings)
    beside = publish_shadow(registry, CHALLENGER, settings)
    assert [(each["version"], each["approved"]) for each in (champion, beside)] == [("1", True), ("2", False)]
    assert roles(settings) == {"current": "nps-risk-1", "shadow": "nps-risk-2"}
    with serving(settings) as client:
        told = client.read("/v1/model")
    assert told["version"] == "1"
    assert told["challenger"] == {"name": "nps-risk", "version": "2", "approved": False}


def test_what_nobody_approved_or_lightgbm_scores_otherwise_is_not_published_to_decide(
    registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PromotionRefused, match="never promoted"):
        publish(registry, "models:/nps-risk/2", settings)
    predict = lightgbm.Booster.predict
    monkeypatch.setattr(lightgbm.Booster, "predict", lambda *given, **named: predict(*given, **named) + 1e-12)
    with pytest.raises(BundleRefused, match="another raw score by LightGBM"):
        publish(registry, settings.model, settings)
    assert roles(settings) == {}


@pytest.mark.parametrize("uri", [None, "models:/nps-risk@champion", "models:/nps-risk@nobody"])
def test_a_challenger_that_is_none_is_withdrawn_and_one_that_finds_something_else_is_refused(
    registry: Registry, settings: Settings, uri: str | None
) -> None:
    publish(registry, settings.model, settings)
    publish_shadow(registry, CHALLENGER, settings)
    assert publish_shadow(registry, uri, settings) is None
    assert roles(settings) == {"current": "nps-risk-1"}
    with pytest.raises(BadInput, match="got any_offence; expected nps"):
        publish_shadow(registry, "models:/nps-risk-any_offence@challenger", settings)
    assert roles(settings) == {"current": "nps-risk-1"}


@pytest.mark.parametrize("damage", [alter_weights, remove_file, remove_bundle, cut_note])
def test_publishing_again_repairs_a_damaged_copy_which_a_running_service_loads(
    registry: Registry, settings: Settings, damage: Damage
) -> None:
    damage(Path(publish(registry, settings.model, settings)["folder"]))
    with serving(settings) as client:
        assert client.read("/health/ready")["degraded"]
        publish(registry, settings.model, settings)
        client.look()
        ready = client.read("/health/ready")
        assert (ready["degraded"], ready["warnings"], ready["model"]["version"]) == (False, [], "1")


def test_the_command_tells_both(registry: Registry, tmp_path: Path) -> None:
    settings_in(tmp_path)
    environment = {"MLFLOW_TRACKING_URI": registry.tracking_uri, "NPSRISK_SHADOW_MODEL": CHALLENGER}
    code, output = run(tmp_path, "publish", **environment)
    assert code == 0
    assert "Published nps-risk version 1" in output
    assert "Shadow model: nps-risk version 2 (not promoted)" in output
    assert told(tmp_path, "publish", "--shadow", "models:/nps-risk/1", **environment)["shadow"] is None


def test_a_challenger_decides_once_it_is_promoted(tmp_path: Path, bundle: Path, other_bundle: Path) -> None:
    registry, settings = register_small_model(tmp_path, ()), settings_in(tmp_path / "state")
    promote(registry, bundle)
    publish(registry, settings.model, settings)
    challenger = register_bundle(registry, other_bundle)
    publish_shadow(registry, CHALLENGER, settings)
    append_signed_record(registry, challenger, load_bundle(other_bundle).sha256)
    assert publish(registry, settings.model, settings)["version"] == "2"
    assert publish_shadow(registry, CHALLENGER, settings) is None
    with serving(settings) as client:
        assert client.read("/v1/model")["approved_by"] == "a reviewer"
        publish(registry, "models:/nps-risk@previous", settings)
        client.look()
        assert client.read("/v1/model")["version"] == "1"
        assert "older release than version 2" in client.read("/health/ready")["warnings"][0]
        assert "npsrisk_model_downgraded 1.0" in client.get("/metrics").text
        client.score("RB1")
        (recorded,) = client.service.log.read_events(kinds=("downgrade",))
        assert msgspec.msgpack.decode(recorded.plain) == ["nps-risk/1", "nps-risk/2"]
        publish(registry, settings.model, settings)
        client.look()
        assert "npsrisk_model_downgraded 0.0" in client.get("/metrics").text
    newer = find_release_folder(settings.state_dir)
    publish(registry, "models:/nps-risk@previous", settings)
    newer.rename(tmp_path / "moved away")
    with serving(settings) as client:
        assert "older release than version 2" in client.read("/health/ready")["warnings"][0]
        assert "npsrisk_model_downgraded 1.0" in client.get("/metrics").text
        client.score("RB2")
        recorded = [*client.service.log.read_events(kinds=("release", "downgrade"))]
        assert [each.kind for each in recorded] == ["release", "downgrade", "downgrade"]
    assert "version 2 decided before" in run(settings.state_dir, "doctor")[1]
