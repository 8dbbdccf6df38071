"""Review of a version: the gate and the recommendation, on the same evidence as a promotion, without changing anything."""

from datetime import UTC, datetime

from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey
from training.gate.figures import count_finds_per_week
from training.gate.report import GateReport
from training.gate.rules import ChampionComparison, CheckResult
from training.promotion.comparison import Comparison
from training.promotion.comparison_report import build_comparison_record
from training.promotion.evidence import DEFAULT_EVIDENCE, NOBODY, EvidenceOptions, gather_evidence
from training.promotion.promote import find_replaced, list_signed
from training.reporting.mlflow_tracking import log_run
from training.runs.registered_run import write_review


def review_version(
    registry: Registry, version: ModelVersion, options: EvidenceOptions = DEFAULT_EVIDENCE
) -> GateReport:
    """Run the gate on a version as `promote` does, recommend what to do, and change nothing."""
    signed = registry.list_signed_records(version.name)
    champion = find_replaced(registry, version, [each.record for each in signed])
    return GateReport.from_evidence(
        gather_evidence(registry, version, champion, list_signed(signed), options)
    )


def log_reviewed_comparison(
    registry: Registry,
    found: Comparison,
    a: ModelVersion,
    b: ModelVersion,
    key: SigningKey | None = None,
    approvers: Approvers = NOBODY,
) -> tuple[str, GateReport | None]:
    """Log a comparison, signed if a key is given, and write the gate's report on `b` if `a` is the champion; returns run and report."""
    champion = registry.find_champion(b.target)
    report = None
    if champion is not None and champion.number == a.number:
        signer = None if key is None else approvers.find(key.public.key_id)
        verified = CheckResult(None, "not checked: the comparison is not signed")
        if signer is not None and (signer.until is None or datetime.now(UTC) < signer.until):
            verified = CheckResult(True, f"the comparison is signed by {signer.name}")
        measured = ChampionComparison(
            "", found.pair, found.begins, count_finds_per_week(found.stored), verified
        )
        report = review_version(registry, b, EvidenceOptions(approvers, measured=measured))
    run_id = log_run(build_comparison_record(found, a, b, report, key), tracking_uri=registry.tracking_uri)
    is_promoted = any(
        record.version == b.number
        for record in [each.record for each in registry.list_signed_records(b.name)]
    )
    if report is not None and not is_promoted:
        write_review(registry, b, report, run_id)
    return run_id, report
