"""Repeated training run of a version: the same tables and settings must give both fits again, byte for byte."""

import filecmp
from datetime import datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from features.batch import Progress, Tables, report_progress
from features.streams import FeatureInputs
from models.bundle import MANIFEST, ModelCard
from models.registry import ModelVersion, Registry, VersionFolders
from training.config import CONFIG_FILE, TrainConfig, parse_config_json
from training.data.data_hash import TableHash, hash_training_tables
from training.data.table_features import read_kept_rows
from training.gate.rules import RuleResult
from training.reporting.tables import format_setting
from training.runs.artifacts import BUNDLE_FOLDER, EVALUATION_FOLDER, write_run_bundles
from training.runs.task import TrainingTask
from training.runs.train import PROCESSOR_TAG, TrainingResult, describe_processor, train_model

MAX_FILES_NAMED = 3  # files that differ, named in the result; the others are counted
HASH_DIGITS = 12
MAX_NAMED_CHANGES = 4
LOST_EVALUATION_FIT = RuleResult(
    False,
    "the evaluation fit, which every training run registers, is missing: its tag was removed, or the version was registered otherwise",
)
LOST_SETTINGS = RuleResult(False, f"{CONFIG_FILE}, which every training run records, is missing in its run")


class RefitOptions(NamedTuple):
    """Tables that the version was trained on; `jobs`, as in `training.runs.train.train_model`, change the duration only."""

    tables: Tables | FeatureInputs
    jobs: int = 1
    progress: Progress | None = None


class Refit(NamedTuple):
    """Result of a repeated training run, and what it gave; None if it gave other fits or did not run."""

    result: RuleResult
    repeated: TrainingResult | None = None


def read_run_config(registry: Registry, run_id: str) -> TrainConfig | None:
    """Read the settings recorded by a training run; None if it recorded none."""
    content = registry.read_run_artifact(run_id, CONFIG_FILE)
    return None if content is None else parse_config_json(content, where=f"run {run_id}, {CONFIG_FILE}")


def describe_changes(config: TrainConfig | None, other: TrainConfig | None) -> str:
    """Name settings of a configuration that are not those of the other, in brackets; empty if nothing differs or is known."""
    if config is None or other is None:
        return ""
    own, others = (
        {name: format_setting(value) for name, value in each.flatten().items()} for each in (config, other)
    )
    changed = [
        f"{name.replace('.', ' ')} {own[name]} in place of {others[name]}".replace("_", " ")
        for name in own
        if own[name] != others[name]
    ]
    if len(changed) > MAX_NAMED_CHANGES:
        changed[MAX_NAMED_CHANGES:] = [f"{len(changed) - MAX_NAMED_CHANGES} more"]
    return f" ({', '.join(changed)})" if changed else ""


def refit_version(
    registry: Registry, version: ModelVersion, card: ModelCard, folders: VersionFolders, options: RefitOptions
) -> Refit:
    """Repeat the training run of a version with verified fits; if the tables are not those of the run, nothing is trained."""
    config = read_run_config(registry, version.run_id)
    if folders.evaluation is None or config is None:
        return Refit(LOST_SETTINGS if config is None else LOST_EVALUATION_FIT)
    task = TrainingTask(options.tables, datetime.fromisoformat(card.as_of), card.target, config)
    with report_progress(options.progress, "comparing tables"):
        consignments = TableHash()
        read_kept_rows(task.inputs.consignments, config.features, np.empty(0, np.int64), consignments)
        given = hash_training_tables(task.inputs, consignments)
    if given != card.data_sha256:
        found = f"hash {given[:HASH_DIGITS]}, expected {card.data_sha256[:HASH_DIGITS]}; provide the original tables"
        return Refit(RuleResult(False, f"the tables are not those it was trained on: {found}"))
    repeated = train_model(task, options.jobs, options.progress)
    with TemporaryDirectory() as spare, report_progress(options.progress, "comparing fits"):
        write_run_bundles(repeated, Path(spare))
        pairs = {BUNDLE_FOLDER: folders.served, EVALUATION_FOLDER: folders.evaluation}
        differing = []
        for fit, original in pairs.items():
            differing += [f"{fit}/{name}" for name in _list_differing_files(Path(spare) / fit, original)]
    if differing:
        processor = registry.get_run_tags(version.run_id).get(PROCESSOR_TAG, "")
        return Refit(RuleResult(False, describe_difference(differing, card.code_version, processor)))
    text = "trained again on the same tables: both fits are equal, byte for byte"
    return Refit(RuleResult(True, text), repeated)


def _list_differing_files(one: Path, other: Path) -> list[str]:
    """List the files that differ or that one folder lacks; the manifest, which covers the others, comes last."""
    files = [(folder, file) for folder in (one, other) for file in folder.rglob("*") if file.is_file()]
    names = {file.relative_to(folder).as_posix() for folder, file in files}
    _, differing, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    return sorted([*differing, *missing], key=lambda name: (name == MANIFEST, name))


def describe_difference(differing: list[str], trained_by: str, processor: str = "") -> str:
    """Describe which files differ, and by which software and processor the version was trained if they are others here."""
    named, more = differing[:MAX_FILES_NAMED], len(differing) - MAX_FILES_NAMED
    text = ", ".join(named) + (f" and {more} more" if more > 0 else "")
    text += " differs" if len(differing) == 1 else " differ"
    installed = installed_version("npsrisk")
    if trained_by != installed:
        text += f"; trained by npsrisk {trained_by}, repeated by {installed}"
    if processor not in ("", describe_processor()):
        text += f"; trained on {processor}, repeated on {describe_processor()}: repeat it on the same kind of processor"
    return text
