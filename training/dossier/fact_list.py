"""The facts that `fields.toml` can name."""

from collections.abc import Callable
from typing import NamedTuple

from training.dossier import approval_facts, data_facts, model_facts, result_facts
from training.dossier.blocks import Block
from training.dossier.evidence import DossierEvidence


class Fact(NamedTuple):
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


FACTS: dict[str, Fact] = {
    "version": Fact("names and hashes", model_facts.describe_version),
    "software": Fact("software that trained it", model_facts.describe_software),
    "target": Fact("target", model_facts.describe_target),
    "parameters": Fact("settings of the training run", model_facts.list_parameters),
    "feature_groups": Fact("groups of features", model_facts.list_feature_groups),
    "features": Fact("features", model_facts.list_features),
    "output": Fact("bands", model_facts.describe_output),
    "drift_limits": Fact("limits of drift", model_facts.list_drift_limits),
    "reference": Fact("profile of the reference traffic", model_facts.describe_reference),
    "data_identity": Fact("hash and date of the training tables", data_facts.describe_data_identity),
    "simulated": Fact("evaluation with a simulated truth", data_facts.describe_simulation),
    "periods": Fact("periods of training and test", data_facts.list_periods),
    "quantities": Fact("numbers of consignments and labels", data_facts.list_quantities),
    "columns": Fact("columns", data_facts.list_columns),
    "declared": Fact("declared columns", data_facts.list_declared_columns),
    "personal_columns": Fact("personal columns", data_facts.list_personal_columns),
    "weights": Fact("weights of training rows", data_facts.describe_weights),
    "propensities": Fact("selection probabilities of the results", data_facts.describe_propensities),
    "completeness": Fact("share of missing values", data_facts.describe_completeness),
    "mix": Fact("composition of the traffic", data_facts.describe_mix),
    "leakage": Fact("leakage checks", data_facts.list_leakage_checks),
    "traffic": Fact("traffic of the test period", data_facts.describe_traffic),
    "metrics": Fact("metrics on the test period", result_facts.list_metrics),
    "deployed": Fact("metrics at earlier dates", result_facts.list_deployed_metrics),
    "baselines": Fact("comparison with baselines", result_facts.list_baselines),
    "capacity": Fact("metrics by capacity", result_facts.list_capacities),
    "slices": Fact("metrics by slice", result_facts.list_slices),
    "fairness": Fact("inspection burden by group", result_facts.list_fairness),
    "names": Fact("effect of names", result_facts.describe_name_effect),
    "power": Fact("number of positives in the test period", result_facts.describe_power),
    "inspected_share": Fact("share of the top 1 % that was inspected", result_facts.describe_inspected_share),
    "level": Fact("uncertainty of the level of the scores", result_facts.describe_level),
    "gate": Fact("results of the gate", approval_facts.list_gate_rules),
    "approval": Fact("approval of this version", approval_facts.describe_approval),
    "chain": Fact("promotion records", approval_facts.list_approvals),
    "service_settings": Fact("settings of the service", approval_facts.list_service_settings),
}
OPTIONAL_FACTS = frozenset({"simulated"})
"""Facts that are absent for most versions: nobody must fill them."""
