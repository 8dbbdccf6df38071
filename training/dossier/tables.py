"""Everything that is known of a version, and the rows of the tables of its dossier: `list_NAME` returns those of the table NAME."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from consignments.records import TARGET_NAMES, Alert, Outcome, get_fields
from features.config import FeatureConfig
from models.arrays import Row
from models.bands import ELEVATED_SHARE, HIGH_SHARE, Bands
from models.bundle import Bundle
from models.formats import format_number, format_percent
from models.promotion_record import PromotionRecord
from models.reasons.texts import name_feature
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord
from models.traffic_profile import ReferenceProfile
from training.config import CONFIG_FILE, TrainConfig, parse_config_json
from training.evaluation.estimate import Estimate, describe_estimate
from training.evaluation.metrics import AREA_METRICS, CALIBRATION_RATIO, METRIC_TITLES, describe_counts
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate.report import GateReport
from training.gate.rules import EXPECTED, VERIFIED_RULE, build_deployed_figures, describe_calibration
from training.monitoring.drift_measures import LIMITS
from training.promotion.compared_versions import fetch_training_evidence
from training.promotion.evidence import EvidenceOptions, compute_figures, review_version
from training.reporting.tables import format_setting, parse_table
from training.runs.evidence import EVIDENCE_FILE, RunEvidence
from training.runs.registered_run import ACTION_TAG

COMMIT_TAG = "mlflow.source.git.commit"
RUN_TABLES = ("data", "fairness", "features", "leaks", "name_swaps", "split")
UNVERIFIED = "none that can be verified here"


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
    source: RunEvidence
    config: TrainConfig | None
    tables: Mapping[str, Sequence[Row]]
    recipe: RecipeEvaluation | None
    gate: GateReport
    records: Sequence[SignedRecord]
    approvers: Approvers
    comparisons: Sequence[Mapping[str, str]] = ()
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
    def run(self) -> str:
        """Return where the figures come from, and who vouches for them."""
        if self.source.evidence is None:
            return f"No figure is taken from the training run, because its files do not agree with its evidence: {self.source.doubt}."
        vouched = f"They have no valid signature: {self.source.doubt}."
        if self.source.signer is not None:
            vouched = f"They are signed by {self.source.signer}."
        elif self.is_approved_with_figures and (signed := self.approval):
            found = signed.record.rules.get(VERIFIED_RULE, {}).get("found", "not known")
            vouched = f"They are those of promotion record {signed.record.number}, signed by {self.signers}. At the approval: {found}."
        return f"The figures are computed from files of the training run that agree with its {EVIDENCE_FILE}. {vouched}"

    @property
    def is_approved_with_figures(self) -> bool:
        """True if an approver signed a promotion record with the figures that the files give."""
        if self.approval is None or self.recipe is None or self.signers == UNVERIFIED:
            return False
        return self.approval.record.figures == build_deployed_figures(self.recipe.model)

    @property
    def signers(self) -> str | None:
        """Return who signed the latest promotion record of this version."""
        return None if self.approval is None else self.name_signers(self.approval)

    @property
    def needed_signatures(self) -> int | None:
        """Return the number of signatures that the approval needs here; None without it, or if no approver is known."""
        return self.approvers.signatures if self.approval and self.approvers.members else None

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
    config, figures = run.files.get(CONFIG_FILE), compute_figures(run, fits.served)
    tables = {name: parse_table(run.files.get(f"tables/{name}.json")) for name in RUN_TABLES}
    return DossierEvidence(
        version=version,
        served=fits.served,
        evaluation=fits.evaluation,
        commit=registry.get_run_tags(version.run_id).get(COMMIT_TAG),
        source=run,
        config=None if config is None else parse_config_json(config, where=CONFIG_FILE),
        tables=tables,
        recipe=None if figures is None else figures.recipe,
        gate=review_version(registry, version, EvidenceOptions(approvers)),
        records=registry.list_signed_records(version.name),
        approvers=approvers,
        comparisons=_list_comparisons(registry, version),
        settings=tuple(settings),
    )


def _list_comparisons(registry: Registry, version: ModelVersion) -> list[dict[str, str]]:
    named = {"compared_at": "compared_at", "with": "a", "difference": "verdict", "recommendation": ACTION_TAG}
    runs = {run: registry.get_run_tags(run) for run in registry.list_runs(kind="comparison", b=version.uri)}
    return [
        {name: tags.get(tag, "none").removeprefix("models:/") for name, tag in named.items()} | {"run": run}
        for run, tags in runs.items()
    ]


Rows = Iterable[Row]

MAX_MIX_VALUES = 8  # most frequent values of a column; the others are counted together
MIX_COLUMNS = ("channel", "service", "departure_country")


def list_parameters(config: TrainConfig) -> Rows:
    """List every setting of the training run."""
    return [
        {"setting": name, "value": value if isinstance(value, int | float) else format_setting(value)}
        for name, value in config.flatten().items()
    ]


def list_feature_groups(evidence: DossierEvidence) -> Rows:
    """List the groups of features with their number and share of all contributions."""
    counts, shares = Counter(feature.group for feature in evidence.served.spec), dict[str, float]()
    for row in evidence.tables["features"]:
        shares[row["group"]] = shares.get(row["group"], 0.0) + row["share"]
    groups = sorted(counts, key=lambda group: (-shares.get(group, 0.0), group))
    return [{"group": group, "features": counts[group], "share": shares.get(group)} for group in groups]


def list_features(evidence: DossierEvidence) -> Rows:
    """List every feature with its share of contributions, and a text that an officer may read."""
    shares = {row["feature"]: row["share"] for row in evidence.tables["features"]}
    features = sorted(evidence.served.spec, key=lambda each: (-shares.get(each.name, 0.0), each.name))
    known = [(each, {"share": shares.get(each.name), "meaning": name_feature(each)}) for each in features]
    return [{"feature": each.name, "unit": each.unit} | others for each, others in known]


def list_output(bands: Bands) -> Rows:
    """List the bands with their cut-offs."""
    return [
        {"band": "high", "low": bands.high, "share": HIGH_SHARE},
        {"band": "elevated", "low": bands.elevated, "share": ELEVATED_SHARE},
        {"band": "routine", "low": 0.0, "share": 1 - HIGH_SHARE - ELEVATED_SHARE},
    ]


def list_drift_limits(_: DossierEvidence) -> Rows:
    """List the limits of the drift verdict, as the code has them."""
    limits = LIMITS.values()
    return [{"change": each.measure, "limit": each.describe(), "verdict": each.verdict} for each in limits]


def list_columns(config: FeatureConfig) -> Rows:
    """List the columns of consignments, outcomes and alerts that the model may read."""
    records = {"consignment": config.build_record_type(), "outcome": Outcome, "alert": Alert}
    return [
        {"record": name, "column": field.name, "type": field.kind}
        | {"personal": "yes" if field.personal else "", "meaning": field.meaning}
        for name, record in records.items()
        for field in get_fields(record)
    ]


def list_personal_columns(config: FeatureConfig) -> Rows:
    """Name the personal columns of consignments."""
    names = ", ".join(field.name for field in get_fields(config.build_record_type()) if field.personal)
    return [{"text": f"Personal columns of a consignment: {names}."}]


def list_completeness(reference: ReferenceProfile) -> Rows:
    """List the shares of consignments of the test period without a value, the largest first."""
    rows = [
        {"column": column, "channel": channel, "missing": count / arrived}
        for channel, arrived in reference.channels.items()
        for column, count in reference.missing.get(channel, {}).items()
        if count
    ]
    return sorted(rows, key=lambda row: (-row["missing"], row["column"], row["channel"]))


def list_mix(reference: ReferenceProfile) -> Rows:
    """List the composition of the test period's traffic by channel, service and country of departure."""
    rows: list[Row] = []
    for column in MIX_COLUMNS:
        counts = reference.mix.get(column, {})
        ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        shown = [(value or "missing", count) for value, count in ranked[:MAX_MIX_VALUES]]
        if others := ranked[MAX_MIX_VALUES:]:
            shown.append((f"{len(others)} others", sum(count for _, count in others)))
        names = ("column", "value", "consignments", "share")
        total = sum(counts.values())
        rows += [dict(zip(names, (column, *each, each[1] / total), strict=True)) for each in shown]
    return rows


def list_counts(evidence: DossierEvidence) -> Rows:
    """Count the known finds that the model, the fixed rules and the strongest baseline rank high."""
    if (recipe := evidence.recipe) is None:
        return []
    sides = recipe.name_sides(f"version {evidence.version.number}")
    counted = describe_counts(sides, evidence.served.card.target)
    return [{"text": f"{counted} {recipe.model.counts.describe_support()}"}]


def list_metrics(recipe: RecipeEvaluation) -> Rows:
    """List the key metrics of the recipe as deployed, with intervals."""
    found = recipe.model.metrics
    return [
        {"metric": title} | _describe_fully(found[name], format_number if name in AREA_METRICS else None)
        for name, title in METRIC_TITLES.items()
        if name in found and name != CALIBRATION_RATIO
    ]


def list_calibration(recipe: RecipeEvaluation) -> Rows:
    """Describe the ratio of predicted to observed positives of the recipe as deployed."""
    text = describe_calibration(recipe.model)
    return [{"text": f"{text[0].upper()}{text[1:]}."} | _describe_fully(recipe.model[CALIBRATION_RATIO])]


def list_baselines(recipe: RecipeEvaluation) -> Rows:
    """Compare the model with simple baselines on the same weeks."""
    sides = {"model": recipe.model} | dict(recipe.baselines)
    return [
        {"name": name.replace("_", " "), "found": round(side.counts.found["capacity"], 1)}
        | {metric: describe_estimate(side[metric]) for metric in ("recall_at_1pct", "recall_at_capacity")}
        for name, side in sides.items()
    ]


def list_inspected_share(recipe: RecipeEvaluation) -> Rows:
    """Describe how much of the highest scores was inspected; the rest of the precision is an estimate."""
    share = next(row["labelled_share"] for row in recipe.model.capacity if row["capacity"] == "1pct")
    text = f"{format_percent(float(share))} of the top 1 % of traffic was inspected and has a result."
    return [{"text": text}]


def list_approval_rules(record: PromotionRecord) -> Rows:
    """List the rules of the gate at the time of the latest approval."""
    return [
        {"rule": name, "result": result, "found": record.rules[name]["found"]}
        | {"expected": EXPECTED.get(name, "")}
        for name, result in record.name_results().items()
    ]


def list_chain(evidence: DossierEvidence) -> Rows:
    """List all promotion records of the registered model, first to last."""
    return [
        {name: getattr(each.record, name) for name in ("number", "version", "replaces", "approved_by")}
        | {
            "replaces": each.record.replaces or "none",
            "approved_at": each.record.approved_at.isoformat(timespec="seconds"),
            "forced": "yes" if each.record.forced else "no",
            "signatures": evidence.name_signers(each),
        }
        for each in evidence.records
    ]


def list_plain(known: Any) -> Rows:
    """Return what is known as rows, if a table has no function: a text as one, named tuples by their names, rows as they are."""
    if isinstance(known, str):
        return [{"text": known}]
    return [each if isinstance(each, dict) else each._asdict() for each in known]


def _describe_fully(estimate: Estimate, form: Callable[[float], str] | None = None) -> dict[str, Any]:
    """Return the columns of an estimate; its numbers are unknown if it may not be shown."""
    hidden = {} if estimate.is_shown else dict.fromkeys(("value", "low", "high"))
    return estimate.to_row() | hidden | {"estimate": describe_estimate(estimate, form)}
