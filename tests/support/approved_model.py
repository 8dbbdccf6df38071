"""A model that was really trained and approved, with stored scores of its recipe."""

from dataclasses import dataclass, replace
from pathlib import Path

from support.approval import APPROVAL
from support.signing import APPROVERS
from support.stores import create_store
from support.training_judged import build_stored_scores

from features.batch import Tables
from models.registry import ModelVersion, Registry
from training.config import parse_config
from training.dossier.evidence import DossierEvidence, ServiceSetting, gather_dossier_evidence
from training.evaluation.stored_scores import evaluate_recipe
from training.promotion.promote import promote
from training.runs.registered_run import run_training
from training.runs.task import TrainingTask
from training.simulation.operation import SimulatedTables, simulate

CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
        "model": {"trees": 8},
        "evaluation": {"name_rows": 60, "smallest_slice": 10, "origins": 0},
    }
)
SETTING = ServiceSetting("NPSRISK_WITHOUT_MODEL", "rules", "What scores while no model is loaded.")


@dataclass(frozen=True)
class Approved:
    """A world, the store with its model, and what is known of this model."""

    world: SimulatedTables
    registry: Registry
    version: ModelVersion
    evidence: DossierEvidence


def train_approved_model(folder: Path) -> Approved:
    world = simulate(days=90, per_day=60, prevalence="operation", seed=8)
    registry = Registry(create_store(folder))
    task = TrainingTask(
        Tables(world.consignments, world.outcomes, world.alerts), target="any_offence", config=CONFIG
    )
    made = run_training(task, registry.tracking_uri, register=True)
    promote(registry, registry.resolve(made.model_uri or ""), APPROVAL, force=True)
    version = registry.resolve(made.model_uri or "")
    evidence = gather_dossier_evidence(registry, version, APPROVERS, [SETTING])
    recipe = evaluate_recipe(build_stored_scores(), CONFIG.evaluation)
    return Approved(world, registry, version, replace(evidence, recipe=recipe))
