"""A version of which all is known, and one of which nothing is known."""

import pytest
from support.approval import Approved, approve_run
from support.registered_model import register_small_model
from support.trained_run import SharedRun

from models.signatures.key_holders import Approvers
from training.dossier.tables import DossierEvidence, gather_dossier_evidence


@pytest.fixture(scope="session")
def approved(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> Approved:
    return approve_run(shared_run, tmp_path_factory.mktemp("approved"))


@pytest.fixture(scope="session")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> DossierEvidence:
    """Its run kept no tables, scores and settings, and nobody approved it."""
    registry = register_small_model(tmp_path_factory.mktemp("unknown"))
    return gather_dossier_evidence(registry, registry.resolve("1"), Approvers(()))
