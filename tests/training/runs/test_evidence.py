"""Evidence of a run: signed, it is believed; swapped, edited, or signed by a key without the right, it is not."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from support.signing import REVIEWER, SECOND, STRANGER, sign_record
from support.stores import create_store

from models.registry import Registry
from models.signatures.key_holders import Approver, Approvers
from training.runs.evidence import (
    EVIDENCE_FILE,
    SIGNATURE_FILE,
    Evidence,
    RunEvidence,
    fetch_evidence,
    hash_files,
)

BUNDLE = {"bundle": "1" * 64}
SCORES, LEAKS = "scores/deployed.parquet", "tables/leaks.json"
AT = datetime(2025, 1, 1, tzinfo=UTC)
EVALUATOR = Approver("an evaluator", SECOND.public.text, role="evaluator")
APPROVERS = Approvers([Approver("a reviewer", REVIEWER.public.text), EVALUATOR])


class Run:
    """A run in a store, with scores, two tables and the evidence of both."""

    def __init__(self, folder):
        self.registry, self.folder = Registry(create_store(folder)), folder / "run"
        for name in (SCORES, LEAKS, "tables/gate.json"):
            self.write(name, b"{}")
        self.evidence = Evidence("training", "nps", BUNDLE, self.hash_files(), "data", "2" * 64, as_of=AT)
        self.sign(self.evidence, SECOND)

    def write(self, name, content):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)

    def change(self, name, **values):
        self.write(name, json.dumps(self.read(name) | values).encode())

    def remove(self, name):
        (self.folder / name).unlink()

    def name_file(self, name):
        self.change(EVIDENCE_FILE, files={name: "0" * 64})

    def read(self, name):
        return json.loads((self.folder / name).read_bytes())

    def hash_files(self):
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return hash_files({path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths})

    def sign(self, evidence, key):
        for name, content in evidence.to_files(key).items():
            self.write(name, content)

    def fetch(self, approvers=APPROVERS, about=BUNDLE):
        """Log the folder as it is now, and fetch its evidence."""
        client = self.registry.client
        made = client.create_experiment("evidence", (self.folder.parent / "artifacts").as_uri())
        run_id = client.create_run(made).info.run_id
        client.log_artifacts(run_id, str(self.folder))
        return fetch_evidence(self.registry, run_id, about, kind="training", approvers=approvers, at=AT)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_a_run_without_evidence_is_told_so(run):
    run.remove(EVIDENCE_FILE)
    assert run.fetch() == RunEvidence(None, {}, None, "the run has no evidence.json")


def test_a_conclusion_is_no_evidence(run):
    """The gate's own table may be written again without a new signature."""
    run.write("tables/gate.json", b"[]")
    assert run.fetch().signer == "an evaluator"


def edit_evidence(run, key=None):
    """Swap the scores, and let the evidence name the new ones; without a key the signature stays."""
    run.write(SCORES, b"better scores")
    run.sign(msgspec.structs.replace(run.evidence, files=run.hash_files()), key)


def edit_both(run):
    """Let the envelope hold the edited evidence too, with the signature of the first."""
    signatures = run.read(SIGNATURE_FILE)["signatures"]
    edit_evidence(run, STRANGER)
    run.change(SIGNATURE_FILE, signatures=signatures)


ALTERED = "scores/deployed.parquet was altered: evidence.json names another file"
NOBODY, UNLIKE = "no signature of an approver or evaluator", "evidence.json is not what was signed"
UNREADABLE = "evidence.json cannot be read"
OF_A_PROMOTION = json.dumps(sign_record().sign(REVIEWER).to_envelope()).encode()
FORGERIES = {
    "scores swapped": (Run.write, (SCORES, b"better scores"), ALTERED),
    "a table removed": (Run.remove, (LEAKS,), "tables/leaks.json is missing"),
    "evidence edited": (edit_evidence, (), UNLIKE),
    "evidence and envelope edited": (edit_both, (), NOBODY),
    # A partner of the exchange is a stranger here: partners are in another file.
    "signed by a stranger": (edit_evidence, (STRANGER,), NOBODY),
    "signature of a promotion": (Run.write, (SIGNATURE_FILE, OF_A_PROMOTION), UNLIKE),
    "signature that is nonsense": (Run.write, (SIGNATURE_FILE, b"{}"), f"{SIGNATURE_FILE} cannot"),
    "evidence that is nonsense": (Run.write, (EVIDENCE_FILE, b"[]"), UNREADABLE),
    "a file elsewhere": (Run.name_file, ("../../secret.json",), UNREADABLE),
}


@pytest.mark.parametrize(("forge", "given", "doubt"), FORGERIES.values(), ids=FORGERIES)
def test_forged_evidence_has_no_signer(run, forge, given, doubt):
    forge(run, *given)
    found = run.fetch()
    assert found.signer is None
    assert doubt in found.doubt


def test_evidence_of_another_bundle_vouches_for_nothing(run):
    found = run.fetch(about={"bundle": "3" * 64})
    assert (found.evidence, found.files, found.signer) == (None, {}, None)


def test_a_swapped_file_of_approvers_takes_the_right_away(run):
    """Who signed is asked of the file of the machine that promotes, not of the store."""
    assert run.fetch(Approvers([Approver("x", STRANGER.public.text)])).signer is None
