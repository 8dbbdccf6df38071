"""Evidence of a run: `evidence.json` with the hashes of its bundles, settings and tables, and optionally its signature (DSSE)."""

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version as installed_version
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from consignments.errors import PromotionRefused
from models.registry import Registry
from models.signatures.envelope import PAYLOAD_TYPE, Envelope, build_statement, sign_statement
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey
from training.gate.rules import ScoreKind

EVIDENCE_FILE, SIGNATURE_FILE = "evidence.json", "evidence.sig.json"
PREDICATE_TYPE = "urn:npsrisk:evidence:1"
FILES = r"^(config\.json|scores/\w+\.parquet|tables/\w+\.json)$"
CONCLUSIONS = ("tables/gate.json",)  # tables that are drawn from the evidence, and no part of it
EvidenceKind = Literal["training", "comparison"]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ArtifactPath = Annotated[str, Meta(pattern=FILES)]


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The subject of a run, and the files from which its figures are computed, each by its SHA-256."""

    kind: EvidenceKind
    target: str
    bundles: dict[str, Sha256]  # `bundle` and `evaluation` of a training run, `a` and `b` of a comparison
    files: dict[ArtifactPath, Sha256]
    data_sha256: str  # of the given tables
    settings_sha256: Sha256
    as_of: Annotated[datetime, Meta(tz=True)] | None = None
    begins: Annotated[datetime, Meta(tz=True)] | None = None  # the earliest compared arrival
    sources: tuple[ScoreKind, ScoreKind] | None = None  # of the scores of both sides of a comparison
    code_version: str = msgspec.field(default_factory=lambda: installed_version("npsrisk"))

    def build_statement(self) -> bytes:
        """Build what is signed."""
        return build_statement(self.files, PREDICATE_TYPE, msgspec.to_builtins(self))

    def to_files(self, key: SigningKey | None = None) -> dict[str, bytes]:
        """Return the files of the evidence by their path; with a key, also the signature."""
        files = {EVIDENCE_FILE: msgspec.json.format(msgspec.json.encode(self))}
        if key is not None:
            statement = self.build_statement()
            envelope = Envelope(PAYLOAD_TYPE, statement, (sign_statement(statement, key),))
            files[SIGNATURE_FILE] = msgspec.json.encode(envelope)
        return files


class RunEvidence(NamedTuple):
    """The evidence of a run as it was verified, and its files with the hashes that it names."""

    evidence: Evidence | None  # None if the run has none, or a file is not the one that it names
    files: Mapping[str, bytes]
    signer: str | None  # the approver or evaluator whose signature holds
    doubt: str  # why nobody vouches for the evidence, if there is no signer


def hash_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """Compute the SHA-256 of each file of a run that is evidence."""
    named = [path for path in sorted(files) if re.match(FILES, path) and path not in CONCLUSIONS]
    return {path: sha256(files[path]).hexdigest() for path in named}


def fetch_evidence(
    registry: Registry,
    run_id: str,
    about: Mapping[str, str],
    *,
    kind: EvidenceKind,
    approvers: Approvers,
    at: datetime,
) -> RunEvidence:
    """Download the evidence of a run and its files, and verify hashes, signature, and that it is about some bundles, by name and SHA-256."""
    content = registry.read_run_artifact(run_id, EVIDENCE_FILE)
    if content is None:
        return RunEvidence(None, {}, None, f"the run has no {EVIDENCE_FILE}")
    try:
        evidence = msgspec.json.decode(content, type=Evidence)
    except msgspec.DecodeError as error:
        return RunEvidence(None, {}, None, f"{EVIDENCE_FILE} cannot be read: {error}")
    if evidence.kind != kind or not about.items() <= evidence.bundles.items():
        doubt = f"{EVIDENCE_FILE} is about other bundles, or of another kind of run"
        return RunEvidence(None, {}, None, doubt)
    files = {}
    for name, expected in evidence.files.items():
        found = registry.read_run_artifact(run_id, name)
        if found is None or sha256(found).hexdigest() != expected:
            fault = "is missing" if found is None else f"was altered: {EVIDENCE_FILE} names another file"
            return RunEvidence(None, {}, None, f"{name} {fault}")
        files[name] = found
    # Evidence has no date of its own, because its signer could choose it.
    statement, signature = evidence.build_statement(), registry.read_run_artifact(run_id, SIGNATURE_FILE)
    if signature is None:
        return RunEvidence(evidence, files, None, "the evidence is not signed")
    try:
        envelope = Envelope.read(signature)
    except PromotionRefused as error:
        return RunEvidence(evidence, files, None, f"{SIGNATURE_FILE} cannot be read: {error.got}")
    if envelope.payload != statement:
        return RunEvidence(evidence, files, None, f"{EVIDENCE_FILE} is not what was signed")
    signers = approvers.list_signers(statement, envelope.signatures, at, ("approver", "evaluator"))
    doubt = "" if signers else f"no signature of an approver or evaluator in {approvers.where} holds"
    return RunEvidence(evidence, files, signers[0] if signers else None, doubt)
