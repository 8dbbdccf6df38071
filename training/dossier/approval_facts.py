"""Facts of approval: the gate, the promotion records, the signatures, the settings of the service."""

from collections.abc import Mapping
from typing import Any

from models.signatures.signed_record import SignedRecord
from training.dossier.blocks import Block, Column, build_pairs, build_table
from training.dossier.evidence import DossierEvidence

RESULTS = {True: "holds", False: "does not hold", None: "not checked"}
RULE_COLUMNS = (
    Column("rule", "rule"),
    Column("result", "result"),
    Column("found", "found"),
)
UNVERIFIED = "none that can be verified here"


def list_gate_rules(evidence: DossierEvidence) -> list[Block]:
    """List every rule of the gate with its result, as of now."""
    rows = [
        {"rule": name, "result": RESULTS[rule.held], "found": rule.found, "expected": rule.expected}
        for name, rule in evidence.gate.items()
    ]
    texts = ["The gate as of now."]
    if evidence.own_records:
        texts.append(
            "A version that was promoted before is checked only for alterations. The rules at the time of its approval are in the "
            "section on approval."
        )
    return build_table((*RULE_COLUMNS, Column("expected", "expected")), rows, *texts)


def describe_approval(evidence: DossierEvidence) -> list[Block]:
    """Describe the latest approval of the version: who, when, why, signatures, and each rule at that time."""
    if not evidence.own_records:
        return []
    signed = evidence.own_records[-1]
    record = signed.record
    pairs = build_pairs(
        {
            "record": record.number,
            "SHA-256 of the record": record.compute_sha256(),
            "approved by": record.approved_by,
            "approved at": record.approved_at.isoformat(timespec="seconds"),
            "reason": record.why,
            "in place of version": record.replaces or "none",
            "comparison run": record.comparison or "none",
            "forced against the gate": "yes" if record.forced else "no",
            "signatures that hold": _name_signers(signed, evidence),
            "signatures required": evidence.approvers.signatures if evidence.approvers.members else None,
            "bundle of the record": record.bundle_sha256,
        }
    )
    return pairs + build_table(
        RULE_COLUMNS, _list_recorded_rules(record.rules), "The gate at the time of approval."
    )


def list_approvals(evidence: DossierEvidence) -> list[Block]:
    """List all promotion records of the registered model, first to last."""
    rows = [
        {
            "number": signed.record.number,
            "version": signed.record.version,
            "replaces": signed.record.replaces or "none",
            "approved_by": signed.record.approved_by,
            "approved_at": signed.record.approved_at.isoformat(timespec="seconds"),
            "forced": "yes" if signed.record.forced else "no",
            "signatures": _name_signers(signed, evidence),
        }
        for signed in evidence.records
    ]
    columns = (
        Column("number", "record"),
        Column("version", "version"),
        Column("replaces", "in place of"),
        Column("approved_by", "approved by"),
        Column("approved_at", "approved at"),
        Column("forced", "forced"),
        Column("signatures", "signatures that hold"),
    )
    return build_table(
        columns, rows, "Each record holds the hash of the record before it. The chain was verified."
    )


def list_service_settings(evidence: DossierEvidence) -> list[Block]:
    """List the settings of the installation that wrote the document."""
    rows = [each._asdict() for each in evidence.settings]
    columns = (Column("name", "setting"), Column("value", "value"), Column("meaning", "meaning"))
    return build_table(columns, rows, "Settings of the installation that wrote this document.")


def _name_signers(signed: SignedRecord, evidence: DossierEvidence) -> str:
    return ", ".join(signed.list_signers(evidence.approvers)) or UNVERIFIED


def _list_recorded_rules(rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"rule": name, "result": RESULTS[rule["held"]], "found": rule["found"]}
        for name, rule in rules.items()
    ]
