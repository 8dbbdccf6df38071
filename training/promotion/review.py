"""Review of a version: the gate and the recommendation, on the evidence of its run and of a comparison with the champion."""

import math
from datetime import datetime

from consignments.errors import BundleRefused
from models.registry import CHAMPION, ModelVersion, Registry
from models.signatures.keys import SigningKey
from training.evaluation.estimate import Estimate
from training.gate.recommendation import (
    NO_ESTIMATE,
    DecidingFacts,
    Recommendation,
    read_facts,
    recommend,
)
from training.gate.report import GateReport
from training.gate.rules import RESULTS_SOURCE, TRUTH_SOURCE, ChampionComparison, GateEvidence, run_gate
from training.promotion.comparison import Comparison
from training.promotion.comparison_report import log_comparison
from training.promotion.promote import (
    DEFAULT_EVIDENCE,
    EvidenceOptions,
    find_replaced,
    gather_evidence,
    list_trusted,
)
from training.runs.run_update import write_review

BEFORE = "It was champion before, is unaltered and passes its self-test."


def review_version(
    registry: Registry, version: ModelVersion, options: EvidenceOptions = DEFAULT_EVIDENCE
) -> GateReport:
    """Run the gate on a version as `promote` does, recommend what to do, and change nothing.

    Parameters
    ----------
    registry : Registry
    version : ModelVersion
    options : EvidenceOptions

    Raises
    ------
    PromotionRefused
        If the comparison is of other versions, or the alias `champion` was moved without a promotion record.
    """
    signed = registry.list_signed_records(version.name)
    records = [each.record for each in signed]
    champion = find_replaced(registry, version, records)
    evidence = gather_evidence(registry, version, champion, list_trusted(signed), options)
    rules = run_gate(evidence)
    recommendation = recommend(rules, _gather_facts(registry, version, evidence))
    own = [record for record in records if record.version == version.number]
    passes = all(rule.held is not False for rule in rules.values())
    if evidence.goes_back and passes and not (own and own[-1].forced):
        recommendation = Recommendation("promote", BEFORE, recommendation.facts)
    return GateReport(rules, recommendation)


def review_comparison(
    registry: Registry, found: Comparison, a: ModelVersion, b: ModelVersion
) -> GateReport | None:
    """Run the gate on `b` with a comparison that is not logged yet; return None if `a` is not the champion.

    Parameters
    ----------
    registry : Registry
    found : Comparison
    a, b : ModelVersion
        The compared versions.
    """
    champion = registry.find_champion(b.target)
    if champion is None or champion.number != a.number or a.number == b.number:
        return None
    judged_by = TRUTH_SOURCE if found.by_truth else RESULTS_SOURCE
    compared = ChampionComparison("", found.flatten_metrics(), found.begins, found.slices, judged_by)
    return review_version(registry, b, EvidenceOptions(measured=compared))


def log_reviewed_comparison(
    registry: Registry, found: Comparison, a: ModelVersion, b: ModelVersion, key: SigningKey | None = None
) -> tuple[str, GateReport | None]:
    """Log a comparison with the recommendation for `b`, and write the recommendation to the description of that version.

    Parameters
    ----------
    registry : Registry
    found : Comparison
    a, b : ModelVersion
        The compared versions.
    key : SigningKey, optional
        Of an approver or evaluator, who signs the evidence of the run.

    Returns
    -------
    tuple
        The run's identifier, and the report of the gate; None if `a` is not the champion.
    """
    report = review_comparison(registry, found, a, b)
    run_id = log_comparison(found, a, b, registry.tracking_uri, report, key)
    if report is not None:
        show_review(registry, b, report, run_id)
    return run_id, report


def show_review(registry: Registry, version: ModelVersion, report: GateReport, comparison_run: str) -> None:
    """Write the report of the gate to the version and to its run; a version with a promotion record is left as it is."""
    if any(record.version == version.number for record in registry.list_records(version.name)):
        return
    write_review(registry, version, report, comparison_run)


def _gather_facts(registry: Registry, version: ModelVersion, evidence: GateEvidence) -> DecidingFacts:
    """Gather the facts that decide: of the comparison with the champion, else of the training run."""
    compared = evidence.comparison
    if compared is not None:
        return DecidingFacts(
            difference=_read_metric(compared, "difference/recall_at_1pct"),
            rival=f"version {evidence.champion}, the champion",
            is_champion=True,
            positives=int(compared.metrics.get("compared/finds", 0)),
            calibration=_read_metric(compared, "b/calibration_ratio"),
            judged_by=compared.judged_by,
            newer_days=_count_newer_days(registry, version, evidence),
        )
    facts = read_facts(registry.read_run_table(version.run_id, "deciding_facts"))
    if facts is not None:
        return facts
    calibration = Estimate(
        *(evidence.get_metric(f"deployed/calibration_ratio{end}") for end in ("", "_low", "_high"))
    )
    return DecidingFacts(NO_ESTIMATE, "the strongest baseline", False, 0, calibration, RESULTS_SOURCE)


def _count_newer_days(registry: Registry, version: ModelVersion, evidence: GateEvidence) -> int:
    """Count the days by which the results of a version are newer than those of the champion, by their verified bundles."""
    champion = registry.find_version(CHAMPION, version.target)
    if champion is None or evidence.bundle is None:
        return 0
    try:
        replaced = registry.fetch_bundle(champion)
    except BundleRefused:
        return 0
    new, old = (datetime.fromisoformat(bundle.card.as_of) for bundle in (evidence.bundle, replaced))
    return max((new - old).days, 0)


def _read_metric(compared: ChampionComparison, name: str) -> Estimate:
    return Estimate(*(compared.metrics.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")))
