"""Facts of the model: identity, software, target, parameters, features, output, monitoring."""

import re
from typing import Any

from consignments.records import TARGET_NAMES
from features.spec import Feature
from models.bands import ELEVATED_SHARE, HIGH_SHARE
from models.formats import format_percent
from models.reasons.texts import load_text_table
from training.dossier.blocks import Block, Column, build_pairs, build_table
from training.dossier.evidence import DossierEvidence
from training.monitoring import drift_verdict
from training.monitoring.drift_measures import (
    LARGE_PSI,
    MAX_UNIT_SPREAD,
    MIN_EXPECTED_ARRIVALS,
    MIN_UNIT_FACTOR,
    SILENT_SHARE,
)

TEXT_ORDER = ("true", "other", "one", "zero", "single_key", "missing")
"""Which text of a feature explains it, in this order."""
COMMIT_TAG = "mlflow.source.git.commit"
PLACEHOLDER = re.compile(r"\{\w+\}")


def describe_version(evidence: DossierEvidence) -> list[Block]:
    """Describe which version this is: names, hashes, fits."""
    version, card = evidence.version, evidence.served.card
    return build_pairs(
        {
            "registered model": version.name,
            "version": version.number,
            "aliases": ", ".join(sorted(version.aliases)) or "none",
            "training run": version.run_id,
            "SHA-256 of the bundle that is served": evidence.served.sha256,
            "SHA-256 of the bundle that was tested": None
            if evidence.evaluation is None
            else evidence.evaluation.sha256,
            "SHA-256 of the features": card.feature_spec_sha256,
            "positives in the training data of the served fit": card.positives,
        }
    )


def describe_software(evidence: DossierEvidence) -> list[Block]:
    """Describe the version of npsrisk, and of the source code if the run recorded it."""
    return build_pairs(
        {
            "npsrisk that trained the model": evidence.served.card.code_version,
            "commit of the source code": evidence.run_tags.get(COMMIT_TAG),
        }
    )


def describe_target(evidence: DossierEvidence) -> list[Block]:
    """Name the result that counts as positive."""
    return [Block((f"Target of this model: {TARGET_NAMES[evidence.served.card.target]}.",))]


def list_parameters(evidence: DossierEvidence) -> list[Block]:
    """List every setting of the training run."""
    if evidence.config is None:
        return []
    rows = [
        {"setting": name, "value": _format_setting(value)}
        for name, value in evidence.config.flatten().items()
    ]
    return build_table((Column("setting", "setting"), Column("value", "value")), rows)


def list_feature_groups(evidence: DossierEvidence) -> list[Block]:
    """List the groups of features with their number and share of all contributions."""
    shares: dict[str, float] = {}
    for row in evidence.tables["features"]:
        shares[row["group"]] = shares.get(row["group"], 0.0) + row["share"]
    counts: dict[str, int] = {}
    for feature in evidence.served.spec:
        counts[feature.group] = counts.get(feature.group, 0) + 1
    rows = [
        {"group": group, "features": count, "share": shares.get(group)}
        for group, count in sorted(counts.items(), key=lambda each: (-shares.get(each[0], 0.0), each[0]))
    ]
    columns = (
        Column("group", "group"),
        Column("features", "features", "number"),
        Column("share", "share of contributions", "figure"),
    )
    return build_table(
        columns, rows, "Share: mean absolute contribution to the raw score, over high scores and all traffic."
    )


def list_features(evidence: DossierEvidence) -> list[Block]:
    """List every feature with its unit, its share of contributions, and a text that an officer may read."""
    shares = {row["feature"]: row["share"] for row in evidence.tables["features"]}
    features = sorted(evidence.served.spec, key=lambda each: (-shares.get(each.name, 0.0), each.name))
    rows = [
        {
            "feature": feature.name,
            "unit": feature.unit,
            "share": shares.get(feature.name),
            "meaning": describe_feature(feature),
        }
        for feature in features
    ]
    columns = (
        Column("meaning", "text of a reason"),
        Column("share", "share", "figure"),
        Column("unit", "unit"),
        Column("feature", "feature"),
    )
    return build_table(columns, rows, "Largest contributions first.")


def describe_feature(feature: Feature) -> str:
    """Return one of the texts of a feature, as an officer reads it, with … in place of values."""
    template = load_text_table("en").find_template(feature.name)
    texts = {} if template is None else template.list_texts()
    chosen = next((texts[name] for name in TEXT_ORDER if name in texts), None)
    text = chosen or next(iter(texts.values()), feature.text)
    return PLACEHOLDER.sub("…", text)


def describe_output(evidence: DossierEvidence) -> list[Block]:
    """Describe bands and calibration."""
    model = evidence.served.model
    columns = (
        Column("band", "band"),
        Column("low", "probability from", "figure"),
        Column("share", "share of traffic", "figure"),
    )
    rows = [
        {"band": "high", "low": model.bands.high, "share": HIGH_SHARE},
        {"band": "elevated", "low": model.bands.elevated, "share": ELEVATED_SHARE},
        {"band": "routine", "low": 0.0, "share": 1 - HIGH_SHARE - ELEVATED_SHARE},
    ]
    return build_table(columns, rows, "Bands are shares of the traffic on which the cut-offs were set.")


def list_drift_limits(_: DossierEvidence) -> list[Block]:
    """List the limits of the drift verdict, as the code has them."""
    faults = {
        f"rise of the share: {name}": format_percent(bound)
        for name, (bound, _) in drift_verdict.DATA_FAULT_BOUNDS.items()
    }
    changes = {
        f"rise of the share: {name}": format_percent(bound)
        for name, (bound, _) in drift_verdict.WORLD_CHANGE_BOUNDS.items()
    }
    limits = {
        "investigate data": faults
        | {
            "data of a source, as a share of the expected number": f"below {format_percent(SILENT_SHARE)}, "
            f"if at least {MIN_EXPECTED_ARRIVALS} are expected",
            "unit: every quantile changes by one factor": f"at least {MIN_UNIT_FACTOR:g}, within a factor of {MAX_UNIT_SPREAD:g}",
        },
        "retrain": changes
        | {
            "mix of a column (total variation)": format_percent(drift_verdict.MIN_MIX_CHANGE),
            "score distribution (population stability index)": f"{LARGE_PSI:g}",
            "share of new senders, consignees and addresses": format_percent(
                drift_verdict.MIN_NEW_KEY_CHANGE
            ),
            "relative loss of the expected precision": format_percent(drift_verdict.MIN_PRECISION_LOSS),
        },
    }
    rows = [
        {"verdict": verdict, "change": name, "limit": limit}
        for verdict, each in limits.items()
        for name, limit in each.items()
    ]
    columns = (Column("change", "change"), Column("limit", "limit"), Column("verdict", "verdict"))
    return build_table(columns, rows)


def describe_reference(evidence: DossierEvidence) -> list[Block]:
    """Describe the profile with which later traffic is compared."""
    reference = evidence.served.reference
    if reference is None:
        return []
    share = reference.expected_precision
    return build_pairs(
        {
            "profile of the traffic from": reference.first_day,
            "days": reference.days,
            "expected precision at the capacity": None if share is None else format_percent(share),
        }
    )


def _format_setting(value: Any) -> str:
    if value is None or value in ((), []):
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_format_setting, value))
    return str(value)
