"""Keys of invented approvers, and records that they signed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.promotion_record import GENESIS_SHA256, DeployedFigures, Figure, PromotionRecord
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey
from models.signatures.signed_record import SignedRecord

if TYPE_CHECKING:
    from models.registry import ModelVersion, Registry


def make_key(number: int) -> SigningKey:
    """Make the key of an approver; the same number gives the same key."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


REVIEWER, SECOND, STRANGER = make_key(1), make_key(2), make_key(3)
FIRST = Approver("a reviewer", REVIEWER.public.text)
APPROVERS = Approvers([FIRST])
PAIR = Approvers([FIRST, Approver("a second reviewer", SECOND.public.text)], 2)
FIGURES = DeployedFigures(
    arrivals="arrivals from 2024-01-01 until before 2024-03-01",
    daily_capacity=2,
    known=41,
    effective=33.5,
    found={"1pct": 20.0, "capacity": 12.0},
    metrics={
        "recall_at_1pct": Figure(0.453, 0.38, 0.53),
        "roc_auc": Figure(0.912, 0.88, 0.941),
        "precision_at_1pct": Figure(None, reason="too few results: 4 known, about 60 more needed"),
    },
)


def write_approvers(folder: Path, approvers: Approvers = APPROVERS) -> None:
    """Write who may approve where a service looks for it."""
    approvers.write(folder / "approvers.toml")


def sign_record(**fields: Any) -> SignedRecord:
    """Make a promotion record that the reviewer signed."""
    plain: dict[str, Any] = {
        "number": 1, "name": "nps-risk", "version": "1", "replaces": None, "bundle_sha256": "0" * 64, "recipe_sha256": "",
        "approved_by": "a reviewer", "why": "a test", "approved_at": datetime(2024, 4, 2, tzinfo=UTC), "way": "first",
        "sentence": "There is no champion, and every rule holds.", "rules": {},
        "comparison": None, "forced": False, "figures": FIGURES, "previous_sha256": GENESIS_SHA256,
    }  # fmt: skip
    return SignedRecord(PromotionRecord(**plain | fields)).sign(REVIEWER)


def append_signed_record(registry: "Registry", version: "ModelVersion", bundle_sha256: str) -> None:
    """Promote a version without the gate."""
    records = [each.record for each in registry.list_signed_records(version.name)]
    champion = registry.find_version("champion", version.target)
    about = {"number": len(records) + 1, "name": version.name, "version": version.number}
    previous = records[-1].compute_sha256() if records else GENESIS_SHA256
    about |= {"replaces": champion and champion.number, "bundle_sha256": bundle_sha256}
    registry.append_record(sign_record(**about, previous_sha256=previous))
