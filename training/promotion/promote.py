"""Promotion: gather the evidence, run the rules of the gate, and write the record; or refuse.

`force` promotes although a rule does not hold, and the record contains this. An altered bundle is refused even then, and so are
fits that a repeated training run does not reproduce. A version that was champion before needs no comparison.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from consignments.errors import BundleRefused, PromotionRefused
from models.promotion_record import GENESIS_SHA256, DeployedFigures, Figure, PromotionRecord, verify_chain
from models.registry import BUNDLE_TAG, CHAMPION, ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey
from models.signatures.signed_record import SignedRecord, verify_signed_chain
from training.gate.rules import (
    REFIT_RULE,
    RESULTS_SOURCE,
    UNFORCEABLE_RULES,
    WITHOUT_TABLES,
    ChampionComparison,
    GateEvidence,
    RefitResult,
    RuleResult,
    run_gate,
)
from training.promotion.refit import (
    RefitOptions,
    RegisteredFits,
    read_run_config,
    refit_version,
)
from training.runs.processor import PROCESSOR_TAG

MAX_FOUND_CHARACTERS = 150
"""Maximum length of a rule's result in the record: MLflow on PostgreSQL stores 5,000 characters in all."""


class Approval(NamedTuple):
    """Approval of a promotion: the person, the reason, the time, the key, and those who may approve.

    Attributes
    ----------
    approved_by : str
        The name that the file of approvers gives to the key.
    why : str
        Not empty.
    approved_at : datetime
    key : SigningKey
    approvers : Approvers
    """

    approved_by: str
    why: str
    approved_at: datetime
    key: SigningKey
    approvers: Approvers

    def check(self) -> None:
        """Check that name and reason are given, and that the key is one of those who may approve at this time.

        Raises
        ------
        PromotionRefused
        """
        for name, text in (("approved-by", self.approved_by), ("why", self.why)):
            if not text.strip():
                raise PromotionRefused("a promotion needs a name and a reason", where=f"--{name}", got="''")
        member = self.approvers.find(self.key.public.key_id)
        if member is None or member.role != "approver":
            raise PromotionRefused(
                "this key may not approve",
                where=self.approvers.where,
                got=f"key {self.key.public.key_id[:12]}{'' if member is None else f' of {member.name}, {member.role}'}",
                expected="the key of an approver",
                todo="add its public key with npsrisk keys trust, if you may decide who approves",
            )
        if member.name != self.approved_by:
            raise PromotionRefused(
                "the key belongs to another person",
                where="--approved-by",
                got=self.approved_by,
                expected=member.name,
                todo="sign with your own key, or leave --approved-by out",
            )
        if member.until is not None and self.approved_at >= member.until:
            raise PromotionRefused(
                "this key may no longer approve",
                where=self.approvers.where,
                got=f"{member.name}, until {member.until:%Y-%m-%d %H:%M} UTC",
                expected="the key of an approver whose right has not ended",
                todo="ask another approver to promote",
            )


class Promotion(NamedTuple):
    """Result of a promotion.

    Attributes
    ----------
    record : PromotionRecord
    signers : list of str
        Who has signed it.
    missing : int
        Signatures that are still needed; the version is champion only at 0.
    """

    record: PromotionRecord
    signers: list[str]
    missing: int


class EvidenceOptions(NamedTuple):
    """Evidence for the gate in addition to the version itself.

    Attributes
    ----------
    comparison : str, optional
        Run of the comparison with the champion; default: the latest one of these two versions.
    refit : RefitOptions, optional
        Training tables, on which the training run is repeated; without them that rule is not checked.
    measured : ChampionComparison, optional
        Result of a comparison with the champion that is not logged yet; replaces `comparison`.
    """

    comparison: str | None = None
    refit: RefitOptions | None = None
    measured: ChampionComparison | None = None


DEFAULT_EVIDENCE = EvidenceOptions()


def promote(
    registry: Registry,
    version: ModelVersion,
    approval: Approval,
    options: EvidenceOptions = DEFAULT_EVIDENCE,
    *,
    force: bool = False,
) -> Promotion:
    """Run the gate and, if it holds or is forced, sign the record; with enough signatures, move the aliases.

    If more persons must sign, the first call keeps the signed record, and a later call with another person's key promotes. The
    gate runs again for each of them.

    Parameters
    ----------
    registry : Registry
    version : ModelVersion
        What shall be champion. The champion itself is refused, unless its record lacks signatures.
    approval : Approval
    options : EvidenceOptions
    force : bool
        Promote although a rule does not hold. A bundle that is altered, fails its self-test or is not reproduced by its
        training run is refused even then.

    Raises
    ------
    PromotionRefused
        Naming each rule that did not hold, or what is wrong with the approval or the records.
    """
    approval.check()
    records = registry.list_signed_records(version.name)
    verify_signed_chain(records, approval.approvers)
    champion = find_replaced(registry, version, [each.record for each in records])
    standing = _find_standing(records, version, champion)
    _require_unsigned(standing, version, approval.approvers)
    evidence = gather_evidence(registry, version, champion, list_trusted(records), options)
    findings = _pass_gate(version, evidence, force=force)
    forced = _is_forced(findings, evidence, [each.record for each in records])
    if standing is not None and standing.signatures:
        _require_consent(standing.record, force=force)
        signed = standing
    else:
        signed = _find_pending(registry, records, version, evidence, approval.approvers) or SignedRecord(
            _write_record(
                records,
                version,
                champion,
                approval,
                findings,
                evidence,
                _read_figures(registry, version),
                forced=forced,
            )
        )
    _require_same_findings(signed.record, findings, forced=forced)
    signed = signed.sign(approval.key)
    signers = signed.list_signers(approval.approvers)
    missing = max(approval.approvers.signatures - len(signers), 0)
    if signed.record.number <= len(records):
        registry.write_signatures(signed)
    elif missing:
        registry.write_pending(signed)
    else:
        registry.append_record(signed)
    return Promotion(signed.record, signers, missing)


def _require_unsigned(standing: SignedRecord | None, version: ModelVersion, approvers: Approvers) -> None:
    """Refuse a champion whose record is signed by enough approvers."""
    if standing is not None and len(standing.list_signers(approvers)) >= approvers.signatures:
        raise PromotionRefused(
            "this version is champion already, and its record is signed",
            where=version.title,
            got=f"record {standing.record.number}",
            todo="promote another version; a record cannot be replaced by a new one of the same version",
        )


def list_trusted(records: Sequence[SignedRecord]) -> list[PromotionRecord]:
    """List the records by which a version goes back: the signed ones; if there are none, the latest, whose champion is adopted."""
    return [each.record for each in records if each.signatures] or [each.record for each in records[-1:]]


def find_replaced(
    registry: Registry, version: ModelVersion, records: Sequence[PromotionRecord]
) -> ModelVersion | None:
    """Find the champion that a version is to replace.

    The version of the latest record may be promoted again if it lacks the alias, as after a crash between record and alias. It replaces
    what that record says.

    Raises
    ------
    PromotionRefused
        If the alias was moved or removed without a record.
    """
    champion = registry.find_version(CHAMPION, version.target)
    if not records or records[-1].version != version.number:
        registry.require_recorded_champion(version.name, champion, records)
        return champion
    if champion is not None and champion.number == version.number:
        return champion
    replaced = records[-1].replaces
    if replaced is None or replaced == version.number:
        return None
    return registry.resolve(f"models:/{version.name}/{replaced}")


def _find_standing(
    records: Sequence[SignedRecord], version: ModelVersion, champion: ModelVersion | None
) -> SignedRecord | None:
    """Find the record by which a version is champion now; None if it is not."""
    if champion is None or champion.number != version.number or not records:
        return None
    return records[-1] if records[-1].record.version == version.number else None


def _pass_gate(version: ModelVersion, evidence: GateEvidence, *, force: bool) -> dict[str, RuleResult]:
    """Run the gate; raise `PromotionRefused` if a rule does not hold and is not forced."""
    findings = run_gate(evidence)
    broken = _list_broken(findings)
    if broken and (not force or UNFORCEABLE_RULES & set(broken)):
        raise PromotionRefused(_explain_refusal(version, broken, len(findings)))
    return findings


def _list_broken(findings: Mapping[str, RuleResult]) -> dict[str, RuleResult]:
    return {name: finding for name, finding in findings.items() if finding.held is False}


def _find_pending(
    registry: Registry,
    records: Sequence[SignedRecord],
    version: ModelVersion,
    evidence: GateEvidence,
    approvers: Approvers,
) -> SignedRecord | None:
    """Find the record of this version that an approver signed and that still follows the last one; nobody signs another's edits."""
    assert evidence.bundle is not None
    pending = registry.read_pending(version.name)
    if pending is None or pending.record.version != version.number or not pending.list_signers(approvers):
        return None
    try:
        verify_chain([*(each.record for each in records), pending.record])
    except PromotionRefused:
        return None
    return pending if pending.record.bundle_sha256 == evidence.bundle.sha256 else None


def _is_forced(
    findings: Mapping[str, RuleResult], evidence: GateEvidence, records: Sequence[PromotionRecord]
) -> bool:
    """Return whether a rule is broken, or was for this bundle under any version and not every rule of the gate holds now."""
    if _list_broken(findings):
        return True
    assert evidence.bundle is not None
    earlier = [each for each in records if each.bundle_sha256 == evidence.bundle.sha256]
    passes = not evidence.goes_back and all(each.held for each in findings.values())
    return bool(earlier) and earlier[-1].forced and not passes


def _require_same_findings(
    record: PromotionRecord, findings: Mapping[str, RuleResult], *, forced: bool
) -> None:
    """Refuse a record that says of a broken rule that it holds, or that hides that it was forced."""
    hidden = [name for name in _list_broken(findings) if record.rules.get(name, {}).get("held") is not False]
    if hidden or (forced and not record.forced):
        raise PromotionRefused(
            "the record to be signed does not say what the gate finds now",
            where=f"record {record.number} of {record.name}",
            got=f"rules that do not hold: {', '.join(hidden)}",
            todo="find out who wrote it; a tag of the registered model holds it: pending if it waits, else promotion/ and its number",
        )


def _require_consent(record: PromotionRecord, *, force: bool) -> None:
    """Refuse to sign a forced record without `force`: of a version that is champion the gate runs too few rules to find out."""
    if record.forced and not force:
        broken = [name for name, rule in record.rules.items() if rule.get("held") is False]
        raise PromotionRefused(
            "the record to be signed was forced, against the gate",
            where=f"record {record.number} of {record.name}",
            got=f"rules that did not hold: {', '.join(broken) or 'those of an earlier record'}",
            todo="sign it with --force if you agree, or promote another version",
        )


def _write_record(
    records: Sequence[SignedRecord],
    version: ModelVersion,
    champion: ModelVersion | None,
    approval: Approval,
    findings: Mapping[str, RuleResult],
    evidence: GateEvidence,
    figures: DeployedFigures,
    *,
    forced: bool,
) -> PromotionRecord:
    assert evidence.bundle is not None
    return PromotionRecord(
        number=len(records) + 1,
        name=version.name,
        version=version.number,
        replaces=None if champion is None else champion.number,
        bundle_sha256=evidence.bundle.sha256,
        approved_by=approval.approved_by,
        why=approval.why,
        approved_at=approval.approved_at,
        rules={
            name: {"held": each.held, "found": each.found[:MAX_FOUND_CHARACTERS]}
            for name, each in findings.items()
        },
        comparison=None if evidence.comparison is None else evidence.comparison.run_id,
        forced=forced,
        figures=figures,
        previous_sha256=records[-1].record.compute_sha256() if records else GENESIS_SHA256,
    )


def _read_figures(registry: Registry, version: ModelVersion) -> DeployedFigures:
    """Read the deployed figures from the tables of the training run."""
    rows = registry.read_run_table(version.run_id, "deployed")
    known = sum(int(row["positives"]) for row in registry.read_run_table(version.run_id, "origins"))
    figures = {str(row["metric"]): _round_figure(row) for row in rows if "/" not in str(row["metric"])}
    return DeployedFigures(known, float(known), {}, figures)


def _round_figure(row: Mapping[str, Any]) -> Figure:
    value, low, high = (
        None if row[end] is None else float(f"{row[end]:.3g}") for end in ("value", "low", "high")
    )
    return Figure(value, low, high, "too few results" if value is None else "")


def gather_evidence(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    records: Sequence[PromotionRecord],
    options: EvidenceOptions = DEFAULT_EVIDENCE,
) -> GateEvidence:
    """Gather the evidence for the rules.

    Parameters
    ----------
    registry : Registry
    version : ModelVersion
    champion : ModelVersion or None
    records : sequence of PromotionRecord
        The trusted records of the registered model (`list_trusted`).
    options : EvidenceOptions

    Raises
    ------
    PromotionRefused
        If the comparison is of other versions.
    """
    fits, refusal = None, ""
    folders = registry.download_fits(version)
    try:
        fits = registry.load_fits(version, folders)
    except BundleRefused as error:
        refusal = str(error)
    if fits is not None and champion is not None:
        _require_another_bundle(version, champion, records, fits.served.sha256)
    own = [record for record in records if record.version == version.number]
    goes_back = bool(own)
    compared = options.measured
    if compared is None and champion is not None and not goes_back:
        run_id = options.comparison or registry.find_latest_comparison(champion, version)
        compared = None if run_id is None else _load_comparison(registry, run_id, champion, version)
    # Who writes to the registry can change the tag. The record is signed.
    registered_sha256 = own[-1].bundle_sha256 if own else version.tags.get(BUNDLE_TAG, "")
    refit = WITHOUT_TABLES
    # An altered bundle is refused for that alone; a version that was champion before was checked then.
    if fits is not None and fits.served.sha256 == registered_sha256 and not goes_back:
        processor = registry.get_run_tags(version.run_id).get(PROCESSOR_TAG, "")
        registered = RegisteredFits(fits.served.card, folders, processor)
        refit = _check_refit(registry, version, registered, options.refit)
    return GateEvidence(
        bundle=None if fits is None else fits.served,
        evaluation=None if fits is None else fits.evaluation,
        refusal=refusal,
        registered_sha256=registered_sha256,
        metrics=registry.get_run_metrics(version.run_id),
        looks={str(row["look"]): row for row in registry.read_run_table(version.run_id, "leaks")},
        slices=registry.read_run_table(version.run_id, "slices"),
        goes_back=goes_back,
        champion=None if champion is None else champion.number,
        comparison=compared,
        refit=refit,
    )


def _require_another_bundle(
    version: ModelVersion, champion: ModelVersion, records: Sequence[PromotionRecord], sha256: str
) -> None:
    """Refuse a version that holds the bundle of the champion: there is nothing to compare or to promote."""
    replaced = [each.bundle_sha256 for each in records if each.version == champion.number][-1:]
    if version.number != champion.number and sha256 in (*replaced, champion.tags.get(BUNDLE_TAG)):
        raise PromotionRefused(
            "the version holds the same bundle as the champion, byte for byte",
            where=version.uri,
            got=f"bundle {sha256[:12]}, of {champion.title} too",
            expected="another model than the champion",
            todo="train a challenger with npsrisk train --register; the champion needs no second version",
        )


def _check_refit(
    registry: Registry, version: ModelVersion, registered: RegisteredFits, options: RefitOptions | None
) -> RefitResult:
    if options is None:
        return WITHOUT_TABLES
    return refit_version(registered, read_run_config(registry, version.run_id), options)


def _load_comparison(
    registry: Registry, run_id: str, champion: ModelVersion, version: ModelVersion
) -> ChampionComparison:
    tags = registry.get_run_tags(run_id)
    compared = (tags.get("a"), tags.get("b"))
    if compared != (champion.uri, version.uri):
        raise PromotionRefused(
            "the comparison is not between these two versions",
            where=f"run {run_id}",
            got=f"{compared[0]} and {compared[1]}",
            expected=f"{champion.uri} and {version.uri}",
            todo=f"run npsrisk compare {champion.number} {version.number} …",
        )
    begins = datetime.fromisoformat(tags["begins"]) if "begins" in tags else datetime.min.replace(tzinfo=UTC)
    return ChampionComparison(
        run_id,
        registry.get_run_metrics(run_id),
        begins,
        registry.read_run_table(run_id, "slices"),
        tags.get("judged_by", RESULTS_SOURCE),
    )


def _explain_refusal(version: ModelVersion, broken: Mapping[str, RuleResult], rules: int) -> str:
    lines = [f"  {name}: {each.found}\n    expected: {each.expected}" for name, each in broken.items()]
    count = f"{len(broken)} of {rules} rules {'does' if len(broken) == 1 else 'do'} not hold"
    return "\n".join([f"{version.uri} does not pass the gate: {count}", *lines, _suggest_next_step(broken)])


def _suggest_next_step(broken: Mapping[str, RuleResult]) -> str:
    if REFIT_RULE in broken:
        return (
            "provide the tables that it was trained on, or train again; a version that its own tables do not reproduce is never "
            "promoted, even with --force"
        )
    if UNFORCEABLE_RULES & set(broken):
        return "train again; such a bundle is never promoted, even with --force"
    return "improve the model or its data; --force promotes it anyway, and the record contains this"
