"""A small model, registered in a store of its own, and the consignments that tests score with it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from support.examples import day, make_consignment
from support.serving_examples import make_bundle
from support.stores import create_store

from consignments.records import Consignment
from consignments.tables import build_frame
from features.config import FeatureConfig
from models.registry import ModelVersion, Registry


def register_small_model(folder: Path, seeds: Sequence[int] = (1,)) -> Registry:
    """Register small models of the tests of the service as versions 1, 2, …, one for each seed, in `folder`/mlflow.db."""
    registry = Registry(create_store(folder))
    client = MlflowClient(tracking_uri=registry.tracking_uri)
    client.create_experiment("nps-risk", artifact_location=(folder / "artifacts").as_uri())
    for number, seed in enumerate(seeds, start=1):
        register_bundle(registry, make_bundle(folder / f"bundle{number}", FeatureConfig(), seed=seed))
    return registry


def register_bundle(registry: Registry, bundle: Path) -> ModelVersion:
    """Register a bundle as the next version, under a run of its own."""
    example = build_frame([make_consignment("E1")], Consignment)
    about = {"description": "A model of the tests.", "tags": {"target": "nps"}}
    return registry.register(create_run(registry), bundle, example=example, **about)


def create_run(registry: Registry, **tags: str) -> str:
    experiment = registry.client.get_experiment_by_name("nps-risk")
    return registry.client.create_run(experiment.experiment_id, tags=tags).info.run_id


def make_past_consignments() -> pd.DataFrame:
    """Make a week in which one sender sends eight times a day."""
    rows = [make_consignment(f"P{n:02}", received_at=day(n / 8)) for n in range(56)]
    return build_frame(rows, Consignment)


def make_new_consignments() -> pd.DataFrame:
    """Make what the same sender sends the day after."""
    return build_frame([make_consignment(f"N{n}", received_at=day(7 + n / 8)) for n in range(3)], Consignment)
