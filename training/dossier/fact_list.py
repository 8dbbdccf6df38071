"""The facts that `fields.toml` can name."""

from collections.abc import Callable
from typing import NamedTuple

from training.dossier import approval_facts, data_facts, model_facts, result_facts
from training.dossier.blocks import Block
from training.dossier.evidence import DossierEvidence


class VersionFact(NamedTuple):
    """A fact of a version.

    Attributes
    ----------
    title : str
        What a document calls it if it is not known.
    compute : callable
        Returns its blocks; none if it is not known.
    """

    title: str
    compute: Callable[[DossierEvidence], list[Block]]


FACTS: dict[str, VersionFact] = {
    "version": VersionFact("names and hashes", model_facts.describe_version),
    "software": VersionFact("software that trained it", model_facts.describe_software),
    "target": VersionFact("target", model_facts.describe_target),
    "parameters": VersionFact("settings of the training run", model_facts.list_parameters),
    "feature_groups": VersionFact("groups of features", model_facts.list_feature_groups),
    "features": VersionFact("features", model_facts.list_features),
    "output": VersionFact("bands", model_facts.describe_output),
    "drift_limits": VersionFact("limits of drift", model_facts.list_drift_limits),
    "reference": VersionFact("profile of the reference traffic", model_facts.describe_reference),
    "data_identity": VersionFact("hash and date of the training tables", data_facts.describe_data_identity),
    "simulated": VersionFact("evaluation with a simulated truth", data_facts.describe_simulation),
    "periods": VersionFact("periods of training and test", data_facts.list_periods),
    "quantities": VersionFact("numbers of consignments and labels", data_facts.list_quantities),
    "columns": VersionFact("columns", data_facts.list_columns),
    "declared": VersionFact("declared columns", data_facts.list_declared_columns),
    "personal_columns": VersionFact("personal columns", data_facts.list_personal_columns),
    "weights": VersionFact("weights of training rows", data_facts.describe_weights),
    "propensities": VersionFact("selection probabilities of the results", data_facts.describe_propensities),
    "completeness": VersionFact("share of missing values", data_facts.describe_completeness),
    "mix": VersionFact("composition of the traffic", data_facts.describe_mix),
    "leakage": VersionFact("leakage checks", data_facts.list_leakage_checks),
    "traffic": VersionFact("traffic of the test period", data_facts.describe_traffic),
    "metrics": VersionFact("metrics on the test period", result_facts.list_metrics),
    "deployed": VersionFact("metrics at earlier dates", result_facts.list_deployed_metrics),
    "baselines": VersionFact("comparison with baselines", result_facts.list_baselines),
    "capacity": VersionFact("metrics by capacity", result_facts.list_capacities),
    "slices": VersionFact("metrics by slice", result_facts.list_slices),
    "fairness": VersionFact("inspection burden by group", result_facts.list_fairness),
    "names": VersionFact("effect of names", result_facts.describe_name_effect),
    "power": VersionFact("number of positives in the test period", result_facts.describe_power),
    "inspected_share": VersionFact(
        "share of the top 1 % that was inspected", result_facts.describe_inspected_share
    ),
    "level": VersionFact("uncertainty of the level of the scores", result_facts.describe_level),
    "gate": VersionFact("results of the gate", approval_facts.list_gate_rules),
    "approval": VersionFact("approval of this version", approval_facts.describe_approval),
    "chain": VersionFact("promotion records", approval_facts.list_approvals),
    "service_settings": VersionFact("settings of the service", approval_facts.list_service_settings),
}
OPTIONAL_FACTS = frozenset({"simulated"})
"""Facts that are absent for most versions: nobody must fill them."""
