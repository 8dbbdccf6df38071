"""Deployment for the benchmarks: a simulated stream, and a model of realistic size over the real features.

The trees are real, their target is artificial: 300 trees of 31 leaves and at most eight levels, none of them trivial. They
learn from consignments alone, which is all that the services get, so 2 to 3 % of decisions have reasons.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mlflow import MlflowClient
from msgspec.structs import astuple
from numpy.typing import NDArray

from benchmarks.worlds import read_tables
from consignments.records import Consignment
from consignments.tables import to_records
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import FittedParameters, fit_features
from features.streams import compute_feature_matrix
from models.bundle import Bundle, ModelCard, SelfTestExamples, write_bundle
from models.fitting.boosting import LabelledRows, TreeParams, fit_risk_model
from models.promotion_record import GENESIS_SHA256, PromotionRecord
from models.registry import Registry
from models.risk_model import RiskModel
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey
from models.signatures.signed_record import SignedRecord
from serving.deployment.publisher import publish
from serving.event_log.events import ArrivalEvent, DecisionEvent
from serving.process.settings import Settings
from training.simulation.operation import simulate

PARAMS = TreeParams(trees=300, leaves=31, depth=8, rows_in_leaf=20)
PER_DAY = 1000
APPROVER = "a benchmark"
NO_REASONS = b"\x90"
FITTING_ROWS = 12_000
WEIGHTIEST = 40
"""Features of the artificial target; the more, the more different ones are on the paths of trees."""


class SimulatedStream(NamedTuple):
    """A simulated stream: tables, and their consignments in order."""

    tables: Tables
    records: list[Consignment]


def make_world(rows: int, seed: int = 1) -> SimulatedStream:
    """Simulate at least `rows` consignments."""
    tables = read_tables(simulate(days=-(-rows // PER_DAY), per_day=PER_DAY, seed=seed)).tables
    return SimulatedStream(tables, to_records(tables.consignments, Consignment))


class GrownModel(NamedTuple):
    """A model, the fitted parameters of its features, and rows of features."""

    risk: RiskModel
    fitted: FittedParameters
    X: NDArray[np.float32]
    channels: Sequence[str]


def grow(world: SimulatedStream, params: TreeParams = PARAMS) -> GrownModel:
    """Grow the trees."""
    rng = np.random.default_rng(1)
    frame = world.tables.consignments.head(FITTING_ROWS)
    tables = Tables(frame)
    records, config = world.records[: len(frame)], FeatureConfig()
    labels = (rng.random(len(frame)) < 0.05).astype(np.int8)
    weight, channels = np.ones(len(frame)), [record.channel for record in records]
    fitted = fit_features(records, config, labels, weight)
    made = compute_feature_matrix(tables, FeatureParameters(config, fitted))
    y = (rng.random(len(frame)) < _made_up_risk(made.X, rng)).astype(np.float64)
    cut = 2 * len(frame) // 3  # the bands need other rows than the trees, which score their own too well
    ends = (slice(cut), slice(cut, None))
    rows, later = (LabelledRows(made.X[at], y[at], weight[at], channels[at]) for at in ends)
    risk = fit_risk_model(rows, later, made.spec, params)
    return GrownModel(risk, fitted, made.X, channels)


def _made_up_risk(X: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    values = np.nan_to_num(X.astype(np.float64), posinf=0.0, neginf=0.0)
    varied = np.flatnonzero(np.ptp(values, axis=0) > 0)
    chosen = rng.choice(varied, min(WEIGHTIEST, len(varied)), replace=False)
    ranks = values[:, chosen].argsort(axis=0).argsort(axis=0) / len(X)
    margin = (ranks - 0.5) @ rng.normal(size=len(chosen)) - 1.5
    return np.asarray(1 / (1 + np.exp(-2.0 * margin)))


def deploy(grown: GrownModel, folder: Path, versions: int = 1) -> Settings:
    """Register, promote and publish versions of the model that score alike, and return the settings of a service.

    MLflow's store and the state directory of the service, `state`, are in the folder. The last version scores.
    """
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}")
    client = MlflowClient(tracking_uri=registry.tracking_uri)
    experiment = client.create_experiment("nps-risk", artifact_location=(folder / "artifacts").as_uri())
    state_dir = folder / "state"
    state_dir.mkdir()
    key = SigningKey.create(state_dir / "approver.key")
    Approvers([Approver(APPROVER, key.public.text)]).write(state_dir / "approvers.toml")
    settings = Settings.model_validate({"NPSRISK_STATE_DIR": str(state_dir)})
    example = make_world(1).tables.consignments.head(2)
    for number in range(1, versions + 1):
        bundle = folder / f"bundle-{number}"
        sha256 = write_benchmark_bundle(grown, bundle, number)
        run = client.create_run(experiment)
        version = registry.register(
            run.info.run_id, bundle, example=example, description="of a benchmark", tags={"target": "nps"}
        )
        records = [each.record for each in registry.list_signed_records(version.name)]
        record = PromotionRecord(
            number=len(records) + 1, name="nps-risk", version=version.number,
            replaces=records[-1].version if records else None, bundle_sha256=sha256, recipe_sha256="",
            approved_by=APPROVER, why="to measure", approved_at=datetime.now(UTC), way="forced",
            sentence="Forced, to measure.", rules={}, comparison=None, forced=True, figures=None,
            previous_sha256=records[-1].compute_sha256() if records else GENESIS_SHA256,
        )  # fmt: skip
        registry.append_record(SignedRecord(record).sign(key))
        publish(registry, f"models:/{version.name}@champion", settings)
    return settings


def write_benchmark_bundle(grown: GrownModel, directory: Path, number: int) -> str:
    """Write the model as a bundle, and return its SHA-256."""
    values, arrays = grown.fitted.to_plain()
    card = ModelCard(
        name="nps-risk",
        target="nps",
        as_of="2024-01-01T00:00:00Z",
        data_sha256="0" * 64,
        code_version=f"benchmark {number}",
        feature_spec_sha256=grown.risk.spec.compute_digest(),
    )
    examples = SelfTestExamples.compute(grown.risk, grown.X[:16], grown.channels[:16])
    bundle = Bundle(
        card=card, config=FeatureConfig(), fitted=values, arrays=arrays, model=grown.risk, examples=examples
    )
    return write_bundle(directory, bundle)


def build_decision(
    arrival: ArrivalEvent, features: bytes, model: tuple[str, str, str], score: float = 0.01
) -> DecisionEvent:
    """Build the entry of a routine decision; `model` is its name, and the SHA-256 of its bundle and of its features."""
    judged = features, score, "routine", NO_REASONS, *model
    return DecisionEvent(*(*astuple(arrival), *judged))
