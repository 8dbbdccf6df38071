"""Everything that is known of a version: its fits, its run, the gate, the promotion records, the settings of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from models.bundle import Bundle
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord
from training.config import TrainConfig
from training.gate.rules import RuleResult
from training.promotion.refit import read_run_config
from training.promotion.review import review_version

TABLES = (
    "metrics",
    "truth",
    "baselines",
    "capacity",
    "slices",
    "fairness",
    "name_swaps",
    "leaks",
    "split",
    "data",
    "features",
    "deployed",
)
"""Tables of the training run that the dossier reads."""

Row = Mapping[str, Any]


class ServiceSetting(NamedTuple):
    """A setting of the installation that wrote the dossier, without secrets."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class DossierEvidence:
    """Everything that is known of a version.

    Attributes
    ----------
    version : ModelVersion
    served : Bundle
        The final fit, which is served.
    evaluation : Bundle or None
        The fit that was tested.
    run_tags : mapping
        Tags of the training run.
    config : TrainConfig or None
        Settings of the run; None if it recorded none.
    tables : mapping
        Name to the rows of the run's table; empty if the run has no such table.
    gate : mapping
        Rules of the gate with their results, as of now.
    records : sequence of SignedRecord
        All promotion records of the registered model.
    approvers : Approvers
        Those whose signatures can be verified here.
    settings : sequence of ServiceSetting
    """

    version: ModelVersion
    served: Bundle
    evaluation: Bundle | None
    run_tags: Mapping[str, str]
    config: TrainConfig | None
    tables: Mapping[str, Sequence[Row]]
    gate: Mapping[str, RuleResult]
    records: Sequence[SignedRecord]
    approvers: Approvers
    settings: Sequence[ServiceSetting] = ()

    @property
    def own_records(self) -> list[SignedRecord]:
        """Return the promotion records of this version, first to last."""
        return [each for each in self.records if each.record.version == self.version.number]

    def get_metric(self, name: str, table: str = "metrics") -> Row:
        """Return the row of a metric in a table of the run; empty if there is none."""
        return next((row for row in self.tables[table] if row["metric"] == name), {})


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
    fits = registry.fetch_fits(version)
    return DossierEvidence(
        version=version,
        served=fits.served,
        evaluation=fits.evaluation,
        run_tags=registry.get_run_tags(version.run_id),
        config=read_run_config(registry, version.run_id),
        tables={name: registry.read_run_table(version.run_id, name) for name in TABLES},
        gate=review_version(registry, version).rules,
        records=registry.list_signed_records(version.name),
        approvers=approvers,
        settings=tuple(settings),
    )
