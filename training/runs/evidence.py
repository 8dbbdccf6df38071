"""Evidence of a run: the stored tables behind its figures, with their hashes, and optionally a signature.

    evidence.json        what the run is about: bundles, settings, tables, each by its SHA-256
    evidence.sig.json    the same, signed by who ran it (DSSE)

Who can write to MLflow can write any metric, tag or table of a run. So the gate computes its figures from these tables, and believes them
only if they are signed by an approver or evaluator, or repeated from the training tables.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from consignments.errors import PromotionRefused
from models.bundle import MANIFEST
from models.registry import Registry
from models.signatures.envelope import Envelope, build_envelope, build_statement, sign_statement
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey
from training.runs.result import TrainingResult

EVIDENCE_FILE, SIGNATURE_FILE = "evidence.json", "evidence.sig.json"
PREDICATE_TYPE = "urn:npsrisk:evidence:1"
PATTERNS = ("config.json", "scores/*.parquet", "tables/*.json")
"""Files of a run that its evidence names."""
CONCLUSIONS = ("tables/gate.json",)
"""Tables that are drawn from the evidence, and no part of it."""
EvidenceKind = Literal["training", "comparison"]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ArtifactPath = Annotated[str, Meta(pattern=r"^(config\.json|scores/\w+\.parquet|tables/\w+\.json)$")]


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The subject of a run, and the files from which its figures are computed.

    Attributes
    ----------
    kind : str
    target : str
    bundles : dict
        SHA-256 of each bundle: `bundle` and `evaluation` of a training run, the served `a` and `b` of a comparison.
    files : dict
        Artifact of the run to its SHA-256.
    data_sha256 : str
        Of the given tables.
    settings_sha256 : str
        Of all settings.
    as_of : datetime or None
        Of a training run.
    begins : datetime or None
        Of a comparison: earliest arrival that was compared.
    by_truth : bool
        True if a comparison took its labels from the truth of a simulated world.
    code_version : str
    """

    kind: EvidenceKind
    target: str
    bundles: dict[str, Sha256]
    files: dict[ArtifactPath, Sha256]
    data_sha256: str
    settings_sha256: Sha256
    as_of: Annotated[datetime, Meta(tz=True)] | None = None
    begins: Annotated[datetime, Meta(tz=True)] | None = None
    by_truth: bool = False
    code_version: str = msgspec.field(default_factory=lambda: installed_version("npsrisk"))

    def build_statement(self) -> bytes:
        """Build what is signed."""
        return build_statement(self.files, PREDICATE_TYPE, msgspec.to_builtins(self))


class RunEvidence(NamedTuple):
    """The evidence of a run as it was verified.

    Attributes
    ----------
    evidence : Evidence or None
        None if the run has none, or a file is not the one that it names.
    files : mapping
        Artifact to its bytes, with the hash that the evidence names.
    signer : str or None
        Approver or evaluator whose signature holds; None if nobody vouches for the evidence.
    doubt : str
        Why nobody does; empty if somebody does.
    """

    evidence: Evidence | None
    files: Mapping[str, bytes]
    signer: str | None
    doubt: str


def hash_run_files(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of each file in a run's folder that is evidence."""
    found = sorted(path for pattern in PATTERNS for path in folder.glob(pattern))
    named = {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in found}
    return {name: digest for name, digest in named.items() if name not in CONCLUSIONS}


def hash_settings(settings: msgspec.Struct) -> str:
    """Compute the SHA-256 of settings."""
    return sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()


def build_training_evidence(trained: TrainingResult, folder: Path) -> Evidence:
    """Build the evidence of a training run, whose bundles and tables are in its folder."""
    bundles = {name: sha256((folder / name / MANIFEST).read_bytes()) for name in ("bundle", "evaluation")}
    return Evidence(
        kind="training",
        target=trained.target,
        bundles={name: digest.hexdigest() for name, digest in bundles.items()},
        files=hash_run_files(folder),
        data_sha256=trained.data_sha256,
        settings_sha256=hash_settings(trained.config),
        as_of=trained.as_of,
    )


def write_evidence(folder: Path, evidence: Evidence, key: SigningKey | None = None) -> None:
    """Write the evidence of a run to its folder and, with a key, the signature."""
    (folder / EVIDENCE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(evidence)))
    if key is not None:
        statement = evidence.build_statement()
        envelope = build_envelope(statement, (sign_statement(statement, key),))
        (folder / SIGNATURE_FILE).write_bytes(msgspec.json.encode(envelope))


def fetch_evidence(
    registry: Registry,
    run_id: str,
    about: Mapping[str, str],
    *,
    kind: EvidenceKind,
    approvers: Approvers,
    at: datetime,
) -> RunEvidence:
    """Download the evidence of a run and its files, and verify subject, hashes and signature.

    Parameters
    ----------
    registry : Registry
    run_id : str
    about : mapping
        Bundles that the evidence must name, by `bundle` or by `a` and `b`, and their SHA-256.
    kind : str
    approvers : Approvers
    at : datetime
        Keys whose right had ended by then do not count. Evidence has no date of its own: its signer could choose it.
    """
    content = registry.read_run_artifact(run_id, EVIDENCE_FILE)
    if content is None:
        return RunEvidence(None, {}, None, f"the run has no {EVIDENCE_FILE}")
    try:
        evidence = msgspec.json.decode(content, type=Evidence)
    except msgspec.DecodeError as error:
        return RunEvidence(None, {}, None, f"{EVIDENCE_FILE} cannot be read: {error}")
    if evidence.kind != kind or not about.items() <= evidence.bundles.items():
        return RunEvidence(
            None, {}, None, f"{EVIDENCE_FILE} is about other bundles, or of another kind of run"
        )
    files = {}
    for name, expected in evidence.files.items():
        found = registry.read_run_artifact(run_id, name)
        if found is None or sha256(found).hexdigest() != expected:
            fault = "is missing" if found is None else f"is not the file that {EVIDENCE_FILE} names"
            return RunEvidence(None, {}, None, f"{name} {fault}")
        files[name] = found
    signer, doubt = _find_signer(evidence, registry.read_run_artifact(run_id, SIGNATURE_FILE), approvers, at)
    return RunEvidence(evidence, files, signer, doubt)


def _find_signer(
    evidence: Evidence, content: bytes | None, approvers: Approvers, at: datetime
) -> tuple[str | None, str]:
    """Find who signed the evidence; else say why nobody vouches for it."""
    if content is None:
        return None, "the evidence is not signed"
    try:
        envelope = Envelope.read(content)
    except PromotionRefused as error:
        return None, f"{SIGNATURE_FILE} cannot be read: {error.got}"
    statement = evidence.build_statement()
    if envelope.get_statement() != statement:
        return None, f"{EVIDENCE_FILE} is not what was signed"
    signers = approvers.list_signers(statement, envelope.signatures, at, ("approver", "evaluator"))
    if not signers:
        return None, f"no signature of an approver or evaluator in {approvers.where} holds"
    return signers[0], ""
