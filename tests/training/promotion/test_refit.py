"""The training run of a version is repeated on its tables: what was fitted in another way is refused, also with force."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.approval import APPROVAL
from support.trained_run import AT_ONE_DATE, CONFIG, TARGET, SharedRun

from consignments.errors import PromotionRefused
from consignments.files.table_writers import write_table
from consignments.parquet_stream import stream_table
from consignments.records import Consignment
from features.batch import Tables
from features.streams import FeatureInputs
from models.bundle import load_bundle
from models.registry import EVALUATION_TAG, ModelVersion, Registry
from training.config import TrainConfig
from training.gate.rules import (
    BUNDLE_RULES,
    CHECKSUM_RULE,
    REFIT_RULE,
    RUN_RULES,
    VERIFIED_RULE,
    WITHOUT_TABLES,
    RuleResult,
)
from training.promotion import evidence, refit
from training.promotion.evidence import EvidenceOptions, review_version
from training.promotion.promote import promote
from training.promotion.refit import (
    LOST_EVALUATION_FIT,
    LOST_SETTINGS,
    Refit,
    RefitOptions,
    refit_version,
)
from training.reporting.mlflow_tracking import NOTE_TAG
from training.runs.artifacts import write_run_bundles
from training.runs.registered_run import RegisteredRun, build_example_consignments
from training.runs.task import TrainingTask
from training.runs.train import PROCESSOR_TAG, TrainingResult, describe_processor, train_model


@dataclass(frozen=True)
class Store:
    """A store whose version 1 is what its training run made, and a folder for fits that are not."""

    shared: SharedRun
    folder: Path

    @property
    def registry(self) -> Registry:
        return self.shared.registry

    @property
    def run(self) -> RegisteredRun:
        return self.shared.run

    @property
    def tables(self) -> Tables:
        return self.shared.tables

    @property
    def version(self) -> ModelVersion:
        """The honest version."""
        return self.shared.version

    def register(self, name: str, trained: TrainingResult) -> ModelVersion:
        """Register fits under the run of the honest version, in their place."""
        write_run_bundles(trained, self.folder / name)
        return self.registry.register(
            self.run.run_id or "",
            self.folder / name / "bundle",
            example=build_example_consignments(CONFIG.features),
            description="Registered by hand.",
            tags=trained.tags,
        )

    def train(self, config: TrainConfig, tables: Tables) -> TrainingResult:
        """Train as of the same date, in another way."""
        return train_model(TrainingTask(tables, self.run.trained.as_of, TARGET, config))

    def refuse(self, version: ModelVersion, tables: Tables) -> str:
        """Say why a version is refused although its promotion is forced."""
        with pytest.raises(PromotionRefused, match="never promoted, even with --force") as refused:
            promote(self.registry, version, APPROVAL, EvidenceOptions(refit=RefitOptions(tables)), force=True)
        return str(refused.value)

    def list_state(self) -> tuple[list[object], dict[str, str]]:
        """List the promotion records and the aliases."""
        name = self.version.name
        return [*[each.record for each in self.registry.list_signed_records(name)]], dict(
            self.registry.client.get_registered_model(name).aliases
        )


@pytest.fixture(scope="module")
def store(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("refit")
    return Store(shared_run.copy_store(folder), folder)


@pytest.fixture
def kept_training(repeated: TrainingResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the training run gives on its tables, without training once more."""
    monkeypatch.setattr(refit, "train_model", lambda *_, **__: repeated)


def test_the_gate_shows_every_rule_and_changes_nothing(store: Store) -> None:
    before = store.list_state()
    rules = review_version(store.registry, store.version).rules
    assert {CHECKSUM_RULE, REFIT_RULE, *BUNDLE_RULES, *RUN_RULES} <= set(rules)
    assert rules[REFIT_RULE].held is None
    assert rules[REFIT_RULE].found == WITHOUT_TABLES.found
    assert store.list_state() == before


def test_its_own_tables_give_fits_and_figures_again_whatever_the_store_says(store: Store) -> None:
    """Also without the truth. Metrics written by hand change nothing."""
    run_id, options = store.version.run_id, EvidenceOptions(refit=RefitOptions(store.tables))
    store.registry.client.log_metric(run_id, "deployed/roc_auc", 0.999)
    store.registry.client.log_metric(run_id, "deployed/roc_auc_low", 0.998)
    found = review_version(store.registry, store.version, options)
    assert found.rules[REFIT_RULE].held is True, found.rules[REFIT_RULE].found
    assert found.rules[VERIFIED_RULE].found == "computed again from the tables of the training run"
    stored = review_version(store.registry, store.version)
    assert stored.rules[VERIFIED_RULE].held is None
    same = [name for name in found.rules if name not in (REFIT_RULE, VERIFIED_RULE)]
    assert [found.rules[name] for name in same] == [stored.rules[name] for name in same]
    assert found.recommendation.facts[:3] == stored.recommendation.facts[:3]
    trained = store.run.gate.recommendation.facts
    assert found.recommendation.facts[:3] == trained[:3], "training, gate and review say the same"


def test_tables_of_files_serve_the_training_and_the_comparison(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of a file can be read once; `promote` with tables and an unsigned comparison reads it for both."""
    write_table(store.tables.consignments, tmp_path / "consignments.parquet")

    def read_twice(_: Registry, version: ModelVersion, *rest: Any) -> Refit:
        tables = rest[-1].tables
        read = [len(TrainingTask(tables).inputs.consignments.take_order()) for _ in range(2)]
        return Refit(RuleResult(False, f"read {read} rows of version {version.number}"))

    monkeypatch.setattr(evidence, "refit_version", read_twice)
    source = stream_table(tmp_path / "consignments.parquet", Consignment)
    inputs = FeatureInputs(source, (), store.tables.outcomes, store.tables.alerts)
    found = review_version(store.registry, store.version, EvidenceOptions(refit=RefitOptions(inputs)))
    rows = len(store.tables.consignments)
    assert found.rules[REFIT_RULE].found == f"read [{rows}, {rows}] rows of version {store.version.number}"


def test_a_difference_on_another_kind_of_processor_names_both(store: Store) -> None:
    assert store.registry.get_run_tags(store.version.run_id)[PROCESSOR_TAG] == describe_processor()
    installed = version("npsrisk")
    assert "processor" not in refit.describe_difference(["bundle/trees.txt"], installed, describe_processor())
    told = refit.describe_difference(["bundle/trees.txt"], installed, "another")
    assert told.endswith(
        f"; trained on another, repeated on {describe_processor()}: repeat it on the same kind of processor"
    )


@pytest.mark.usefixtures("kept_training")
@pytest.mark.parametrize(
    "forgery",
    [
        "the trees of the evaluation fit",
        pytest.param("another seed", marks=pytest.mark.slow),
        pytest.param("without some rows", marks=pytest.mark.slow),
    ],
)
def test_a_final_fit_made_in_another_way_is_refused_also_with_force(store: Store, forgery: str) -> None:
    trained = store.run.trained
    if forgery == "another seed":
        model = msgspec.structs.replace(AT_ONE_DATE.model, seed=7)
        final = store.train(msgspec.structs.replace(AT_ONE_DATE, model=model), store.tables).final
    elif forgery == "without some rows":
        outcomes = store.tables.outcomes
        assert outcomes is not None
        fewer = outcomes.drop(outcomes.index[5::10]).reset_index(drop=True)
        final = store.train(AT_ONE_DATE, replace(store.tables, outcomes=fewer)).final
    else:
        final = replace(trained.final, model=trained.evaluated.model, fitted=trained.evaluated.fitted)
    forged = store.register(forgery, replace(trained, final=final))
    told = store.refuse(forged, store.tables)
    assert f"{REFIT_RULE}: bundle/" in told
    assert "evaluation/" not in told


def test_other_tables_are_refused_before_anything_is_trained(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(refit, "train_model")
    told = store.refuse(store.version, replace(store.tables, alerts=None))
    assert f"{REFIT_RULE}: the tables are not those it was trained on: hash " in told
    assert f"expected {store.run.trained.data_sha256[:12]}; provide the original tables" in told
    assert "Give the tables that it was trained on, or train again" in told


def test_an_altered_bundle_is_refused_also_with_force(store: Store) -> None:
    version = store.register("altered", store.run.trained)
    bundles = (store.shared.folder.parents[1] / "models").glob("*/artifacts/data/bundle")
    trees = max(bundles, key=lambda folder: folder.stat().st_mtime_ns) / "trees.txt"
    trees.write_text(trees.read_text().replace("leaf_value=", "leaf_value=9", 1))
    told = store.refuse(version, store.tables)
    assert f"{CHECKSUM_RULE}: trees.txt: the file was altered" in told


def test_a_removed_tag_does_not_switch_the_rule_off(store: Store) -> None:
    version = store.register("untagged", store.run.trained)
    store.registry.client.delete_model_version_tag(version.name, version.number, EVALUATION_TAG)
    told = store.refuse(store.registry.resolve(version.uri), store.tables)
    assert f"{REFIT_RULE}: the evaluation fit, which every training run registers, is missing" in told


def test_without_tables_the_record_says_that_this_was_not_checked(store: Store) -> None:
    version = store.register("again", store.run.trained)
    record = promote(store.registry, version, APPROVAL, force=True).record
    assert (record.way, record.forced, record.recipe_sha256) == ("forced", True, "")
    assert record.figures is not None
    assert record.figures.known == store.run.trained.deployed.recipe.model.counts.known
    assert record.rules[REFIT_RULE] == {"held": None, "found": WITHOUT_TABLES.found}
    note = store.registry.get_run_tags(version.run_id)[NOTE_TAG]
    assert note.startswith(f"**PROMOTED.** {record.sentence} Record {record.number}, approved by")
    assert f"| {REFIT_RULE} | not checked | {WITHOUT_TABLES.found} |" in note
    line = f"| {REFIT_RULE} | not checked | {WITHOUT_TABLES.found} |"
    assert line in record.to_markdown().splitlines()
    assert REFIT_RULE not in review_version(store.registry, version).rules, (
        "a version that goes back needs no refit"
    )


@pytest.mark.usefixtures("kept_training")
def test_the_tables_of_a_champion_make_its_configuration_known_later(
    shared_run: SharedRun, tmp_path: Path
) -> None:
    """Without them no later version of a champion that was promoted without tables could be a routine refit."""
    store = Store(shared_run.copy_store(tmp_path), tmp_path)
    version = store.version
    first = promote(store.registry, version, APPROVAL, force=True).record
    with pytest.raises(PromotionRefused, match="or give its training tables: then its training is repeated"):
        promote(store.registry, version, APPROVAL)
    told = store.refuse(version, replace(store.tables, alerts=None))
    assert f"{REFIT_RULE}: the tables are not those it was trained on" in told
    options = EvidenceOptions(refit=RefitOptions(store.tables))
    again = promote(store.registry, version, APPROVAL, options).record
    assert (first.recipe_sha256, len(again.recipe_sha256)) == ("", 64)
    assert (again.version, again.replaces, again.forced) == (first.version, first.replaces, True)
    assert again.sentence.endswith("its training was repeated byte for byte.")
    with pytest.raises(PromotionRefused, match=r"promote another version$"):
        promote(store.registry, version, APPROVAL, options)


def test_a_version_that_lost_a_fit_or_its_settings_is_refused(store: Store) -> None:
    folders, options = store.registry.download_fits(store.version), RefitOptions(store.tables)
    card = load_bundle(folders.served).card
    alone = folders._replace(evaluation=None)
    assert refit_version(store.registry, store.version, card, alone, options).result == LOST_EVALUATION_FIT
    bare = replace(store.version, run_id=store.registry.client.create_run("0").info.run_id)
    assert refit_version(store.registry, bare, card, folders, options).result == LOST_SETTINGS
