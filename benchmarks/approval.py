"""Approvals of the benchmarks' own models: a key made for the run, and a record that it signed."""

from datetime import datetime
from pathlib import Path

from models.promotion_record import GENESIS_SHA256, PromotionRecord
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey
from models.signatures.signed_record import SignedRecord

APPROVER = "a benchmark"


def create_approver(state_dir: Path) -> SigningKey:
    """Create a key that may approve in a state directory."""
    key = SigningKey.create(state_dir / "approver.key")
    Approvers([Approver(APPROVER, key.public.text)]).write(state_dir / "approvers.toml")
    return key


def sign_record(
    key: SigningKey, version: str, bundle_sha256: str, at: datetime, records: list[PromotionRecord]
) -> SignedRecord:
    """Sign the record that follows others and approves a bundle."""
    record = PromotionRecord(
        number=len(records) + 1,
        name="nps-risk",
        version=version,
        replaces=records[-1].version if records else None,
        bundle_sha256=bundle_sha256,
        recipe_sha256="",
        approved_by=APPROVER,
        why="to measure",
        approved_at=at,
        way="forced",
        sentence="Forced, to measure.",
        rules={},
        comparison=None,
        forced=True,
        figures=None,
        previous_sha256=records[-1].compute_sha256() if records else GENESIS_SHA256,
    )
    return SignedRecord(record).sign(key)
