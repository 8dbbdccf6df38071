"""Everything that is known of a version: its fits, the verified files of its run, the gate, the promotion records, the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from consignments.records import TARGET_NAMES
from models.bundle import Bundle
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord
from training.config import CONFIG_FILE, TrainConfig, parse_config_json
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate.report import GateReport
from training.promotion.compared_versions import fetch_training_evidence
from training.promotion.evidence import EvidenceOptions, compute_figures, review_version
from training.reporting.tables import parse_table
from training.runs.evidence import EVIDENCE_FILE, RunEvidence

COMMIT_TAG = "mlflow.source.git.commit"
RUN_TABLES = ("data", "fairness", "features", "leaks", "name_swaps", "split")
UNVERIFIED = "none that can be verified here"

Row = Mapping[str, Any]


class ServiceSetting(NamedTuple):
    """A setting of the installation that wrote the dossier, without secrets."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class DossierEvidence:
    """Everything that is known of a version; `recipe` and `config` are None if its run kept no files that agree with its evidence."""

    version: ModelVersion
    served: Bundle
    evaluation: Bundle | None
    commit: str | None
    run: str
    config: TrainConfig | None
    tables: Mapping[str, Sequence[Row]]
    recipe: RecipeEvaluation | None
    gate: GateReport
    records: Sequence[SignedRecord]
    approvers: Approvers
    settings: Sequence[ServiceSetting] = ()

    @property
    def target_name(self) -> str:
        """Return the name of the result that counts as positive."""
        return TARGET_NAMES[self.served.card.target]

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
        for name in path.split(".") if path else ():
            value = None if value is None else getattr(value, name)
        return value() if callable(value) else value


def gather_dossier_evidence(
    registry: Registry, version: ModelVersion, approvers: Approvers, settings: Sequence[ServiceSetting] = ()
) -> DossierEvidence:
    """Gather everything that is known of a version, and change nothing."""
    fits = registry.fetch_fits(version)
    run = fetch_training_evidence(registry, version, fits.served, approvers)
    config, figures = run.files.get(CONFIG_FILE), compute_figures(run)
    tables = {name: parse_table(run.files.get(f"tables/{name}.json")) for name in RUN_TABLES}
    return DossierEvidence(
        version=version,
        served=fits.served,
        evaluation=fits.evaluation,
        commit=registry.get_run_tags(version.run_id).get(COMMIT_TAG),
        run=_describe_run(run),
        config=None if config is None else parse_config_json(config, where=CONFIG_FILE),
        tables=tables,
        recipe=None if figures is None else figures.recipe,
        gate=review_version(registry, version, EvidenceOptions(approvers)),
        records=registry.list_signed_records(version.name),
        approvers=approvers,
        settings=tuple(settings),
    )


def _describe_run(run: RunEvidence) -> str:
    if run.evidence is None:
        return f"No figure is taken from the training run, because its files do not agree with its evidence: {run.doubt}."
    vouched = f"Nobody vouches for them: {run.doubt}." if run.signer is None else f"{run.signer} signed it."
    return f"The figures are computed from files of the training run that agree with its {EVIDENCE_FILE}. {vouched}"
