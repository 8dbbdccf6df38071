"""The approval of an invented reviewer, and a model that was really trained and approved, with stored scores of its recipe."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from support.signing import APPROVERS, REVIEWER
from support.trained_run import CONFIG, SharedRun
from support.training_judged import build_stored_scores

from models.registry import ModelVersion, Registry
from training.dossier.tables import DossierEvidence, ServiceSetting, gather_dossier_evidence
from training.evaluation.stored_scores import evaluate_recipe
from training.promotion.promote import Approval, promote
from training.simulation.operation import SimulatedTables

APPROVAL = Approval("a reviewer", "it finds more", datetime(2025, 1, 1, tzinfo=UTC), REVIEWER, APPROVERS)
SETTING = ServiceSetting("NPSRISK_WITHOUT_MODEL", "rules", "What scores while no model is loaded.")


@dataclass(frozen=True)
class Approved:
    """A world, the store with its model, and what is known of this model."""

    world: SimulatedTables
    registry: Registry
    version: ModelVersion
    evidence: DossierEvidence


def approve_run(shared: SharedRun, folder: Path) -> Approved:
    """Approve the version of a run, in a store of its own."""
    own = shared.copy_store(folder)
    promote(own.registry, own.version, APPROVAL, force=True)
    version = own.version
    evidence = gather_dossier_evidence(own.registry, version, APPROVERS, [SETTING])
    recipe = evaluate_recipe(build_stored_scores(), CONFIG.evaluation)
    return Approved(own.world, own.registry, version, replace(evidence, recipe=recipe))
