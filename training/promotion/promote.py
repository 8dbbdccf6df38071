"""Promotion: run the gate on the gathered evidence and write the signed record; or refuse."""

from collections.abc import Mapping
from datetime import datetime
from textwrap import shorten
from typing import NamedTuple

import msgspec

from consignments.errors import PromotionRefused
from models.promotion_record import GENESIS_SHA256, PromotionRecord, verify_chain
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey
from models.signatures.signed_record import SignedRecord
from training.gate.report import GateReport, explain_way, summarize_rules
from training.gate.rules import (
    UNFORCEABLE_RULES,
    GateEvidence,
    RuleResult,
    build_deployed_figures,
    find_obstacles,
)
from training.gate.ways import VOUCHING
from training.promotion.evidence import (
    DEFAULT_EVIDENCE,
    EvidenceOptions,
    VersionHistory,
    compute_recipe_sha256,
    gather_evidence,
)
from training.runs.registered_run import write_review

MAX_RECORD_CHARACTERS = 5000  # maximum length of a record as JSON: MLflow on PostgreSQL stores no more
MIN_FOUND_CHARACTERS = 64  # length to which the result of a rule may be cut


class Approval(NamedTuple):
    """Approval of a promotion: the person by the name in the file of approvers, the reason, the time and the key."""

    approved_by: str
    why: str
    approved_at: datetime
    key: SigningKey
    approvers: Approvers

    def check(self) -> None:
        """Check that name and reason are given, and that the key is one of those who may approve at this time."""
        for name, text in (("approved-by", self.approved_by), ("why", self.why)):
            if not text.strip():
                raise PromotionRefused("a promotion needs a name and a reason", where=f"--{name}", got="''")
        where, member = self.approvers.where, self.approvers.find(self.key.public.key_id)
        if member is None or member.role != "approver":
            got = f"key {self.key.public.key_id[:12]}{'' if member is None else f' of {member.name}, {member.role}'}"
            todo = "add its public key with npsrisk keys trust, if you may decide who approves"
            fault, expected = "this key may not approve", "the key of an approver"
        elif member.name != self.approved_by:
            fault, where, got = "the key belongs to another person", "--approved-by", self.approved_by
            expected, todo = member.name, "sign with your own key, or leave --approved-by out"
        elif member.until is not None and self.approved_at >= member.until:
            fault, todo = "this key may no longer approve", "ask another approver to promote"
            got = f"{member.name}, until {member.until:%Y-%m-%d %H:%M} UTC"
            expected = "the key of an approver whose right has not ended"
        else:
            return
        raise PromotionRefused(fault, where=where, got=got, expected=expected, todo=todo)


class Promotion(NamedTuple):
    """Result of a promotion: the record, who has signed it, and how many signatures are still needed."""

    record: PromotionRecord
    signers: list[str]
    missing: int


def promote(
    registry: Registry,
    version: ModelVersion,
    approval: Approval,
    options: EvidenceOptions = DEFAULT_EVIDENCE,
    *,
    force: bool = False,
) -> Promotion:
    """Run the gate and, if it passes or is forced, sign the record; with enough signatures, move the aliases.

    If more persons must sign, the first call keeps the signed record, and a later call with another person's key promotes, after the
    gate ran again. With `force` a rule need not hold, except those of `UNFORCEABLE_RULES`. Raises `PromotionRefused`, naming each rule that does not
    hold, or what is wrong with the approval or the records.
    """
    approval.check()
    approvers = approval.approvers
    history = VersionHistory.read(registry, version, approvers)
    # The signed record by which the version is champion now.
    champion, last = history.champion, history.records[-1] if history.records else None
    own = last is not None and last.record.version == version.number and bool(last.signatures)
    standing = last if own and champion is not None and champion.number == version.number else None
    if standing is not None and len(standing.list_signers(approvers)) >= approvers.signatures:
        # A new record of the champion may add only that its configuration is known.
        if standing.record.recipe_sha256 or options.refit is None:
            tables = "" if standing.record.recipe_sha256 else f", or give its training tables: {VOUCHING}"
            raise PromotionRefused(
                "this version is champion already, and its record is signed",
                where=version.title,
                got=f"record {standing.record.number}",
                todo=f"promote another version{tables}",
            )
        standing = None
    evidence = gather_evidence(registry, history, options._replace(approvers=approvers))
    report = GateReport.from_evidence(evidence, approval.approved_at)
    obstacles = find_obstacles(report.rules)
    if UNFORCEABLE_RULES & set(obstacles) if force else obstacles:
        write_review(registry, version, report)
        raise _build_refusal(version, report, obstacles)
    new = _build_record(registry, history, approval, report.rules, evidence)
    signed = standing or _find_pending(registry, history, new.bundle_sha256, approvers) or SignedRecord(new)
    record, is_unforced = signed.record, signed is standing and not force
    _require_true_record(record, report.rules, forced=new.forced, is_unforced=is_unforced)
    signed = signed.sign(approval.key)
    signers = signed.list_signers(approvers)
    missing = max(approvers.signatures - len(signers), 0)
    if record.number <= len(history.records):
        registry.write_signatures(signed)
    elif missing:
        registry.write_pending(signed)
    else:
        registry.append_record(signed)
        sentence = f"{record.sentence} Record {record.number}, approved by {record.approved_by}."
        decided = report.recommendation._replace(action="promoted", way=record.way, sentence=sentence)
        report = report._replace(recommendation=decided)
    write_review(registry, version, report)
    return Promotion(record, signers, missing)


def _find_pending(
    registry: Registry, history: VersionHistory, bundle_sha256: str, approvers: Approvers
) -> SignedRecord | None:
    """Find the record of this bundle that an approver signed and that still follows the last one; nobody signs another's edits."""
    pending = registry.read_pending(history.version.name)
    if pending is None or not pending.list_signers(approvers):
        return None
    try:
        verify_chain([*(each.record for each in history.records), pending.record])
    except PromotionRefused:
        return None
    about = (pending.record.version, pending.record.bundle_sha256)
    return pending if about == (history.version.number, bundle_sha256) else None


def _build_refusal(
    version: ModelVersion, report: GateReport, obstacles: Mapping[str, RuleResult]
) -> PromotionRefused:
    todo = f"{report.recommendation.sentence} --force promotes it anyway, and the record contains this."
    if UNFORCEABLE_RULES & set(obstacles):
        todo = "Give the tables that it was trained on, or train again. Such a version is never promoted, even with --force."
    lines = [f"  {name}: {each.found}\n    expected: {each.expected}" for name, each in obstacles.items()]
    title = f"{version.uri} does not pass the gate: {summarize_rules(report.rules)}"
    return PromotionRefused("\n".join([title, *lines, todo]))


def _require_true_record(
    record: PromotionRecord, rules: Mapping[str, RuleResult], *, forced: bool, is_unforced: bool
) -> None:
    """Refuse a record that hides what the gate finds, or that it was forced; and a forced one of a champion if `--force` is not given."""
    hidden = [name for name in find_obstacles(rules) if record.rules.get(name, {}).get("held", True)]
    if hidden or (forced and not record.forced):
        raise PromotionRefused(
            "the record to be signed does not say what the gate finds now",
            where=f"record {record.number} of {record.name}",
            got=f"rules that do not hold: {', '.join(hidden)}",
            todo="find out who wrote it; a tag of the registered model holds it: pending if it waits, else promotion/ and its number",
        )
    if record.forced and is_unforced:
        broken = [name for name, rule in record.rules.items() if rule.get("held") is False]
        raise PromotionRefused(
            "the record to be signed was forced, against the gate",
            where=f"record {record.number} of {record.name}",
            got=f"rules that did not hold: {', '.join(broken) or 'those of an earlier record'}",
            todo="sign it with --force if you agree, or promote another version",
        )


def fit_record(record: PromotionRecord, rules: Mapping[str, RuleResult]) -> PromotionRecord:
    """Return the record with what each rule found, in full if it fits into its tag; else the longest texts are cut."""
    longest = max(len(each.found) for each in rules.values())
    for most in (*range(longest, MIN_FOUND_CHARACTERS, -8), MIN_FOUND_CHARACTERS):
        found = {
            name: {"held": each.held, "found": shorten(each.found, most, placeholder=" …")}
            | ({"undecided": True} if each.undecided else {})
            for name, each in rules.items()
        }
        record = msgspec.structs.replace(record, rules=found)
        if len(record.to_json()) <= MAX_RECORD_CHARACTERS:
            break
    return record


def _build_record(
    registry: Registry,
    history: VersionHistory,
    approval: Approval,
    rules: Mapping[str, RuleResult],
    evidence: GateEvidence,
) -> PromotionRecord:
    """Build the next record, forced if a rule is broken, or if one was for this bundle under any version and not every rule holds now."""
    version, champion, bundle = history.version, history.champion, evidence.require_bundle()
    of_bundle = [each.record for each in history.records if each.record.bundle_sha256 == bundle.sha256]
    replaces = None if champion is None else champion.number
    if of_bundle and replaces == version.number:
        replaces = of_bundle[-1].replaces
    passes = not evidence.goes_back and all(each.held for each in rules.values())
    recipe, figures = "", None
    if evidence.verified.held or evidence.refit.held:
        recipe = compute_recipe_sha256(registry, version, bundle)
    elif of_bundle and evidence.goes_back:
        recipe = of_bundle[-1].recipe_sha256
    if evidence.figures is not None:
        figures = build_deployed_figures(evidence.figures.recipe.model)
    elif of_bundle:
        figures = of_bundle[-1].figures
    way, sentence = explain_way(evidence, rules)
    if find_obstacles(rules):
        way, sentence = "forced", f"Forced: {summarize_rules(rules)}"
    record = PromotionRecord(
        number=len(history.records) + 1,
        name=version.name,
        version=version.number,
        replaces=replaces,
        bundle_sha256=bundle.sha256,
        recipe_sha256=recipe,
        approved_by=approval.approved_by,
        why=approval.why,
        approved_at=approval.approved_at,
        way=way,
        sentence=sentence,
        rules={},
        comparison=None if evidence.comparison is None else evidence.comparison.run_id,
        forced=bool(find_obstacles(rules)) or (bool(of_bundle) and of_bundle[-1].forced and not passes),
        figures=figures,
        previous_sha256=history.records[-1].record.compute_sha256() if history.records else GENESIS_SHA256,
    )
    return fit_record(record, rules)
