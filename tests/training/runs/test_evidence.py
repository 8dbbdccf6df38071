"""Evidence of a run: signed, it is believed; swapped, edited, or signed by a key without the right, it is not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from support.signing import REVIEWER, SECOND, STRANGER, sign_record
from support.stores import create_store

from models.registry import Registry
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey
from training.runs.evidence import (
    EVIDENCE_FILE,
    SIGNATURE_FILE,
    Evidence,
    RunEvidence,
    fetch_evidence,
    hash_files,
)

BUNDLE = {"bundle": "1" * 64}
AT = datetime(2025, 1, 1, tzinfo=UTC)
APPROVERS = Approvers(
    [
        Approver("a reviewer", REVIEWER.public.text),
        Approver("an evaluator", SECOND.public.text, role="evaluator"),
    ]
)


class Run:
    """A run in a store, with scores, two tables and the evidence of both."""

    def __init__(self, folder: Path, key: SigningKey | None = SECOND) -> None:
        self.registry = Registry(create_store(folder))
        self.folder = folder / "run"
        for name, text in (("scores/deployed.parquet", "scores"), ("tables/leaks.json", "{}")):
            self.write(name, text.encode())
        self.write("tables/gate.json", b"{}")
        self.evidence = Evidence("training", "nps", BUNDLE, self.hash_files(), "data", "2" * 64, as_of=AT)
        self.sign(self.evidence, key)

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)

    def hash_files(self) -> dict[str, str]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return hash_files({path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths})

    def sign(self, evidence: Evidence, key: SigningKey | None) -> None:
        for name, content in evidence.to_files(key).items():
            self.write(name, content)

    def fetch(self, approvers: Approvers = APPROVERS, about: dict[str, str] = BUNDLE) -> RunEvidence:
        """Log the folder as it is now, and fetch its evidence."""
        client = self.registry.client
        experiment = client.get_experiment_by_name("evidence")
        place = (self.folder.parent / "artifacts").as_uri()
        made = experiment.experiment_id if experiment else client.create_experiment("evidence", place)
        run_id = client.create_run(made).info.run_id
        client.log_artifacts(run_id, str(self.folder))
        return fetch_evidence(self.registry, run_id, about, kind="training", approvers=approvers, at=AT)


def test_a_run_without_evidence_is_told_so(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (run.folder / EVIDENCE_FILE).unlink()
    assert run.fetch() == RunEvidence(None, {}, None, "the run has no evidence.json")


def test_a_conclusion_is_no_evidence(tmp_path: Path) -> None:
    """The gate's own table may be written again without a new signature."""
    run = Run(tmp_path)
    run.write("tables/gate.json", b"[]")
    assert run.fetch().signer == "an evaluator"


def swap_scores(run: Run) -> None:
    run.write("scores/deployed.parquet", b"better scores")


def remove_table(run: Run) -> None:
    (run.folder / "tables/leaks.json").unlink()


def edit_evidence(run: Run) -> None:
    """Swap the scores, and let the evidence name the new ones."""
    swap_scores(run)
    edited = msgspec.structs.replace(run.evidence, files=run.hash_files())
    run.write(EVIDENCE_FILE, msgspec.json.encode(edited))


def edit_both(run: Run) -> None:
    """Let the envelope hold the edited evidence too, with the signature of the first."""
    edit_evidence(run)
    signature = json.loads((run.folder / SIGNATURE_FILE).read_bytes())["signatures"]
    run.sign(msgspec.json.decode((run.folder / EVIDENCE_FILE).read_bytes(), type=Evidence), STRANGER)
    envelope = json.loads((run.folder / SIGNATURE_FILE).read_bytes())
    run.write(SIGNATURE_FILE, json.dumps(envelope | {"signatures": signature}).encode())


def sign_by_stranger(run: Run) -> None:
    """A partner of the exchange is a stranger here: partners are in another file."""
    edit_evidence(run)
    evidence = msgspec.json.decode((run.folder / EVIDENCE_FILE).read_bytes(), type=Evidence)
    run.sign(evidence, STRANGER)


def borrow_promotion_signature(run: Run) -> None:
    envelope = sign_record().sign(REVIEWER).to_envelope()
    run.write(SIGNATURE_FILE, json.dumps(envelope).encode())


def name_file_elsewhere(run: Run) -> None:
    content = json.loads((run.folder / EVIDENCE_FILE).read_bytes())
    run.write(EVIDENCE_FILE, json.dumps(content | {"files": {"../../secret.json": "0" * 64}}).encode())


FORGERIES: dict[str, tuple[Callable[[Run], None], str]] = {
    "scores swapped": (swap_scores, "scores/deployed.parquet was altered: evidence.json names another file"),
    "a table removed": (remove_table, "tables/leaks.json is missing"),
    "evidence edited": (edit_evidence, "evidence.json is not what was signed"),
    "evidence and envelope edited": (edit_both, "no signature of an approver or evaluator"),
    "signed by a stranger": (sign_by_stranger, "no signature of an approver or evaluator"),
    "signature of a promotion": (borrow_promotion_signature, "evidence.json is not what was signed"),
    "signature that is nonsense": (
        lambda r: r.write(SIGNATURE_FILE, b"{}"),
        "evidence.sig.json cannot be read",
    ),
    "evidence that is nonsense": (lambda r: r.write(EVIDENCE_FILE, b"[]"), "evidence.json cannot be read"),
    "a file elsewhere": (name_file_elsewhere, "evidence.json cannot be read"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_evidence_has_no_signer(tmp_path: Path, forgery: str) -> None:
    forge, doubt = FORGERIES[forgery]
    run = Run(tmp_path)
    forge(run)
    found = run.fetch()
    assert found.signer is None
    assert doubt in found.doubt


def test_evidence_of_another_bundle_vouches_for_nothing(tmp_path: Path) -> None:
    found = Run(tmp_path).fetch(about={"bundle": "3" * 64})
    assert (found.evidence, found.files, found.signer) == (None, {}, None)


def test_a_swapped_file_of_approvers_takes_the_right_away(tmp_path: Path) -> None:
    """Who signed is asked of the file of the machine that promotes, not of the store."""
    assert Run(tmp_path).fetch(Approvers([Approver("x", STRANGER.public.text)])).signer is None
