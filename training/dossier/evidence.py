"""Everything that is known of a version: its fits, its run, its stored scores, the gate, the promotion records, the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from models.bundle import Bundle
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord
from training.config import EvaluationConfig, TrainConfig
from training.evaluation.stored_scores import RecipeEvaluation, StoredScores, evaluate_recipe
from training.gate.rules import RuleResult
from training.promotion.evidence import EvidenceOptions
from training.promotion.refit import read_run_config
from training.promotion.review import review_version
from training.reporting.tables import parse_table

COMMIT_TAG = "mlflow.source.git.commit"
RUN_TABLES = ("data", "fairness", "features", "leaks", "name_swaps", "split")
SCORES_FILE = "scores/deployed.parquet"
UNVERIFIED = "none that can be verified here"

Row = Mapping[str, Any]


class ServiceSetting(NamedTuple):
    """A setting of the installation that wrote the dossier, without secrets."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class DossierEvidence:
    """Everything that is known of a version; `recipe` and `config` are None if its run kept no scores or settings."""

    version: ModelVersion
    served: Bundle
    evaluation: Bundle | None
    commit: str | None
    config: TrainConfig | None
    tables: Mapping[str, Sequence[Row]]
    recipe: RecipeEvaluation | None
    gate: Mapping[str, RuleResult]
    records: Sequence[SignedRecord]
    approvers: Approvers
    settings: Sequence[ServiceSetting] = ()

    @property
    def received(self) -> int | None:
        """Return the number of consignments of the reference period."""
        return None if self.served.reference is None else sum(self.served.reference.channels.values())

    @property
    def approval(self) -> SignedRecord | None:
        """Return the latest promotion record of this version."""
        own = [each for each in self.records if each.record.version == self.version.number]
        return own[-1] if own else None

    @property
    def signers(self) -> str | None:
        """Return who signed the latest promotion record of this version."""
        return None if self.approval is None else self.name_signers(self.approval)

    @property
    def needed_signatures(self) -> int | None:
        """Return the number of signatures that an approval needs here; None if no approver is known."""
        return self.approvers.signatures if self.approvers.members else None

    def name_signers(self, signed: SignedRecord) -> str:
        """Name those whose signatures of a record can be verified here."""
        return ", ".join(signed.list_signers(self.approvers)) or UNVERIFIED

    def get_value(self, path: str) -> Any:
        """Return the value at a path of names, such as `served.card.as_of`; None if nothing is known there."""
        value: Any = self
        for name in path.split("."):
            value = None if value is None else getattr(value, name)
        return value() if callable(value) else value


def gather_dossier_evidence(
    registry: Registry,
    version: ModelVersion,
    approvers: Approvers,
    settings: Sequence[ServiceSetting] = (),
) -> DossierEvidence:
    """Gather everything that is known of a version; nothing is changed.

    Raises
    ------
    BundleRefused
        If its bundle was altered or replaced: no document describes such a model.
    PromotionRefused
        If the chain of promotion records is broken.
    """
    fits, config = registry.fetch_fits(version), read_run_config(registry, version.run_id)
    return DossierEvidence(
        version=version,
        served=fits.served,
        evaluation=fits.evaluation,
        commit=registry.get_run_tags(version.run_id).get(COMMIT_TAG),
        config=config,
        tables={
            name: parse_table(registry.read_run_artifact(version.run_id, f"tables/{name}.json"))
            for name in RUN_TABLES
        },
        recipe=_evaluate_stored_scores(registry, version, config),
        gate=review_version(registry, version, EvidenceOptions(approvers)).rules,
        records=registry.list_signed_records(version.name),
        approvers=approvers,
        settings=tuple(settings),
    )


def _evaluate_stored_scores(
    registry: Registry, version: ModelVersion, config: TrainConfig | None
) -> RecipeEvaluation | None:
    content = registry.read_run_artifact(version.run_id, SCORES_FILE)
    if content is None:
        return None
    stored = StoredScores.from_bytes(content, where=f"run {version.run_id}, {SCORES_FILE}")
    return evaluate_recipe(stored, EvaluationConfig() if config is None else config.evaluation)
