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
from consignments.records import Consignment
from consignments.tables import stream_table
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
from training.promotion.refit import LOST_EVALUATION_FIT, LOST_SETTINGS, Refit, RefitOptions, refit_version
from training.reporting.mlflow_tracking import NOTE_TAG
from training.runs.artifacts import write_run_bundles
from training.runs.registered_run import RegisteredRun, build_example_consignments
from training.runs.task import TrainingTask
from training.runs.train import PROCESSOR_TAG, TrainingResult, describe_processor, train_model

OTHER_TABLES = f"{REFIT_RULE}: the tables are not those it was trained on: hash "
NO_TABLES = {"held": None, "found": WITHOUT_TABLES.found}


@dataclass(frozen=True)
class Store:
    """A store whose version 1 is what its training run made, and a folder for fits that are not."""

    registry: Registry
    run: RegisteredRun
    tables: Tables
    version: ModelVersion
    models: Path
    folder: Path

    @classmethod
    def copy(cls, shared: SharedRun, folder: Path) -> "Store":
        own = shared.copy_store(folder)
        models = shared.folder.parents[1] / "models"
        return cls(own.registry, own.run, own.tables, own.version, models, folder)

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

    def review(self, **options: Any) -> Any:
        return review_version(self.registry, self.version, EvidenceOptions(**options))

    def refuse(self, version: ModelVersion, tables: Tables) -> str:
        """Say why a version is refused although its promotion is forced."""
        with pytest.raises(PromotionRefused, match="never promoted, even with --force") as refused:
            promote(self.registry, version, APPROVAL, EvidenceOptions(refit=RefitOptions(tables)), force=True)
        return str(refused.value)


@pytest.fixture(scope="module")
def store(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.copy(shared_run, tmp_path_factory.mktemp("refit"))


@pytest.fixture
def kept_training(
    shared_run: SharedRun, trained: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> list[TrainingTask]:
    """What a training of the same task gave, without training it once more; gives the tasks that were asked for."""
    tasks = []

    def train(task: TrainingTask, *_: object) -> TrainingResult:
        assert (task.as_of, task.target, task.config) == (shared_run.as_of, TARGET, CONFIG)
        assert task.truth is None
        tasks.append(task)
        return trained

    monkeypatch.setattr(refit, "train_model", train)
    return tasks


def test_the_gate_shows_every_rule_and_changes_nothing(store: Store) -> None:
    def list_state() -> tuple[object, ...]:
        model = store.registry.client.get_registered_model(store.version.name)
        return model.tags, model.aliases

    before = list_state()
    rules = store.review().rules
    assert {CHECKSUM_RULE, REFIT_RULE, *BUNDLE_RULES, *RUN_RULES} <= set(rules)
    assert (rules[REFIT_RULE].held, rules[REFIT_RULE].found) == (None, NO_TABLES["found"])
    assert list_state() == before


def test_its_own_tables_give_fits_and_figures_again(store: Store, kept_training: list[TrainingTask]) -> None:
    """Metrics written by hand change nothing."""
    for name, value in (("deployed/roc_auc", 0.999), ("deployed/roc_auc_low", 0.998)):
        store.registry.client.log_metric(store.version.run_id, name, value)
    found, stored = store.review(refit=RefitOptions(store.tables)), store.review()
    assert len(kept_training) == 1
    assert found.rules[REFIT_RULE].held is True, found.rules[REFIT_RULE].found
    assert found.rules[VERIFIED_RULE].found == "computed again from the tables of the training run"
    assert stored.rules[VERIFIED_RULE].held is None
    same = [name for name in found.rules if name not in (REFIT_RULE, VERIFIED_RULE)]
    assert [found.rules[name] for name in same] == [stored.rules[name] for name in same]
    trained = store.run.gate.recommendation.facts
    for each in (found, stored):
        assert each.recommendation.facts[:3] == trained[:3], "training, gate and review say the same"


def test_tables_of_files_serve_both_readings(
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
    found, rows = store.review(refit=RefitOptions(inputs)).rules[REFIT_RULE], len(store.tables.consignments)
    assert found.found == f"read [{rows}, {rows}] rows of version {store.version.number}"


def test_a_difference_on_another_kind_of_processor_names_both(store: Store) -> None:
    here, installed = describe_processor(), version("npsrisk")
    assert store.registry.get_run_tags(store.version.run_id)[PROCESSOR_TAG] == here
    assert "processor" not in refit.describe_difference(["bundle/trees.txt"], installed, here)
    told = refit.describe_difference(["bundle/trees.txt"], installed, "another")
    assert told.endswith(f"; trained on another, repeated on {here}: repeat it on the same kind of processor")


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
        fewer = outcomes.drop(outcomes.index[5::10]).reset_index(drop=True)
        final = store.train(AT_ONE_DATE, replace(store.tables, outcomes=fewer)).final
    else:
        final = replace(trained.final, model=trained.evaluated.model, fitted=trained.evaluated.fitted)
    told = store.refuse(store.register(forgery, replace(trained, final=final)), store.tables)
    assert f"{REFIT_RULE}: bundle/" in told
    assert "evaluation/" not in told


def test_other_tables_are_refused_before_training(store: Store, kept_training: list[TrainingTask]) -> None:
    told = store.refuse(store.version, replace(store.tables, alerts=None))
    assert OTHER_TABLES in told
    assert f"expected {store.run.trained.data_sha256[:12]}; provide the original tables" in told
    assert "Give the tables that it was trained on, or train again" in told
    assert kept_training == []


def test_an_altered_bundle_is_refused_also_with_force(store: Store) -> None:
    version = store.register("altered", store.run.trained)
    bundles = store.models.glob("*/artifacts/data/bundle")
    trees = max(bundles, key=lambda folder: folder.stat().st_mtime_ns) / "trees.txt"
    trees.write_text(trees.read_text().replace("leaf_value=", "leaf_value=9", 1))
    told = store.refuse(version, store.tables)
    assert f"{CHECKSUM_RULE}: trees.txt: the file was altered" in told


def test_a_version_that_lost_a_fit_or_its_settings_is_refused_also_with_force(store: Store) -> None:
    version = store.register("untagged", store.run.trained)
    store.registry.client.delete_model_version_tag(version.name, version.number, EVALUATION_TAG)
    told = store.refuse(store.registry.resolve(version.uri), store.tables)
    assert f"{REFIT_RULE}: {LOST_EVALUATION_FIT.found}" in told
    folders, options = store.registry.download_fits(store.version), RefitOptions(store.tables)
    bare = replace(store.version, run_id=store.registry.client.create_run("0").info.run_id)
    card = load_bundle(folders.served).card
    assert refit_version(store.registry, bare, card, folders, options).result == LOST_SETTINGS


def test_what_needs_no_training_is_refused_before_it(
    shared_run: SharedRun, tmp_path: Path, kept_training: list[TrainingTask]
) -> None:
    store = Store.copy(shared_run, tmp_path)
    promote(store.registry, store.version, APPROVAL, force=True)
    again = store.register("again", store.run.trained)
    with pytest.raises(PromotionRefused, match="the same bundle as the champion"):
        promote(store.registry, again, APPROVAL, EvidenceOptions(refit=RefitOptions(store.tables)))
    assert kept_training == []


@pytest.mark.usefixtures("kept_training")
def test_the_tables_of_a_champion_make_its_settings_known(shared_run: SharedRun, tmp_path: Path) -> None:
    """Without them no later version of a champion that was promoted without tables could be a routine refit."""
    store = Store.copy(shared_run, tmp_path)
    version = store.version
    first = promote(store.registry, version, APPROVAL, force=True).record
    assert (first.way, first.forced, first.recipe_sha256) == ("forced", True, "")
    assert first.figures.known == store.run.trained.deployed.recipe.model.counts.known
    assert first.rules[REFIT_RULE] == NO_TABLES
    note = store.registry.get_run_tags(version.run_id)[NOTE_TAG]
    assert note.startswith(f"**PROMOTED.** {first.sentence} Record {first.number}, approved by")
    assert f"| {REFIT_RULE} | not checked | {WITHOUT_TABLES.found} |" in note
    assert f"- {REFIT_RULE}: **not checked**, {WITHOUT_TABLES.found}" in first.to_markdown().splitlines()
    assert REFIT_RULE not in store.review().rules, "a version that goes back needs no refit"
    with pytest.raises(PromotionRefused, match="or give its training tables: then its training is repeated"):
        promote(store.registry, version, APPROVAL)
    assert OTHER_TABLES in store.refuse(version, replace(store.tables, alerts=None))
    options = EvidenceOptions(refit=RefitOptions(store.tables))
    again = promote(store.registry, version, APPROVAL, options).record
    assert (again.version, again.replaces, again.forced) == (first.version, first.replaces, True)
    assert len(again.recipe_sha256) == 64
    assert again.sentence.endswith("its training was repeated byte for byte.")
    with pytest.raises(PromotionRefused, match=r"promote another version$"):
        promote(store.registry, version, APPROVAL, options)
