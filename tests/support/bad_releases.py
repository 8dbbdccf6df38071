"""Ways in which a placed release is bad; each must be refused."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from support.damage import flip_bit
from support.signing import STRANGER, sign_record

from models.bundle import _encode, _Manifest, _sha256
from models.signatures.signed_record import SignedRecord

Damage = Callable[[Path], None]


def _read_note(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "release.json").read_text())


def _change_note(folder: Path, **changes: Any) -> None:
    (folder / "release.json").write_text(json.dumps(_read_note(folder) | changes))


def alter_trees(folder: Path) -> None:
    path = folder / "bundle" / "trees.txt"
    path.write_text(path.read_text().replace("leaf_value=", "leaf_value=1", 1))


def alter_record(folder: Path) -> None:
    envelope = _read_note(folder)["envelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["approved_by"] = "The Minister"
    payload = base64.b64encode(msgspec.json.encode(statement, order="sorted")).decode()
    _change_note(folder, envelope=envelope | {"payload": payload})


def approve_another(folder: Path) -> None:
    _change_note(folder, envelope=sign_record(version="0").to_envelope())


def remove_signature(folder: Path) -> None:
    _change_note(folder, envelope=_read_note(folder)["envelope"] | {"signatures": []})


def sign_by_stranger(folder: Path) -> None:
    note = _read_note(folder)
    record = sign_record(version=note["version"], bundle_sha256=note["bundle_sha256"]).record
    _change_note(folder, envelope=SignedRecord(record).sign(STRANGER).to_envelope())


def alter_sum(folder: Path) -> None:
    _sign_for(folder, "0" * 64)


def remove_bundle(folder: Path) -> None:
    shutil.rmtree(folder / "bundle")


def remove_approval(folder: Path) -> None:
    _change_note(folder, envelope=None)


def cut_note(folder: Path) -> None:
    path = folder / "release.json"
    path.write_bytes(path.read_bytes()[:100])


def alter_weights(folder: Path) -> None:
    flip_bit(folder / "bundle" / "text_weights.npy")


def remove_file(folder: Path) -> None:
    (folder / "bundle" / "calibration.json").unlink()


def give_no_number(folder: Path) -> None:
    """A leaf of the first tree is no number; every sum and the approval are right."""
    path = folder / "bundle" / "trees.txt"
    before, mark, after = path.read_text().partition("leaf_value=")
    leaf, _, after = after.partition(" ")
    head, sizes, tail = before.partition("tree_sizes=")
    size, _, tail = tail.partition(" ")
    shorter = int(size) - len(leaf) + len("nan")
    path.write_text(f"{head}{sizes}{shorter} {tail}{mark}nan {after}")
    _approve(folder)


def fail_examples(folder: Path) -> None:
    """It scores its own examples otherwise than it says; every sum and the approval are right."""
    path = folder / "bundle" / "examples.json"
    told = json.loads(path.read_text())
    told["raw"][0] += 1e-9
    path.write_bytes(_encode(told))
    _approve(folder)


def _approve(folder: Path) -> None:
    """Make the sums right again, and approve what came of it."""
    files = {path.name: path.read_bytes() for path in (folder / "bundle").iterdir()}
    old = json.loads(files.pop("manifest.json"))
    manifest = _encode(_Manifest(old["format"], {name: _sha256(files[name]) for name in old["files"]}))
    (folder / "bundle" / "manifest.json").write_bytes(manifest)
    _sign_for(folder, _sha256(manifest))


def _sign_for(folder: Path, sha256: str) -> None:
    """Let the approver sign another bundle."""
    record = sign_record(version=_read_note(folder)["version"], bundle_sha256=sha256)
    _change_note(folder, bundle_sha256=sha256, envelope=record.to_envelope())


UNSIGNED = "not signed by those who may approve"
DAMAGES: dict[Damage, str] = {
    alter_trees: "the file was altered",
    alter_record: UNSIGNED,
    approve_another: "approves another model",
    remove_signature: UNSIGNED,
    sign_by_stranger: UNSIGNED,
    alter_sum: "not the one that was approved",
    remove_bundle: "the bundle cannot be read",
    remove_approval: "without a promotion record",
    cut_note: "not a release that can be served",
    alter_weights: "the file was altered",
    remove_file: "the bundle is incomplete",
    give_no_number: "not finite numbers",
    fail_examples: "the self-test failed",
}
"""Each way, and words of the reason for which it is refused."""
