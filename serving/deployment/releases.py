"""Published models: `models/current.json` in the state directory names the folder of the model that decides.

`models/shadow.json` names the folder of the challenger, if there is one. The publisher replaces these files
atomically, so a reader sees the old release or the new one, never a part.
"""

from pathlib import Path
from typing import Literal

import msgspec

from consignments.errors import BundleRefused, PromotionRefused
from models.promotion_record import PromotionRecord
from models.signatures.envelope import Envelope
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord

BUNDLE_FOLDER = "bundle"
Role = Literal["current", "shadow"]
"""Purpose of a release: to decide, or to be reported on by `npsrisk shadow`."""


class ReleasePointer(msgspec.Struct, frozen=True):
    """The content of `current.json` or `shadow.json`."""

    folder: str


class ReleaseManifest(msgspec.Struct, frozen=True):
    """The content of `release.json`, next to the bundle."""

    name: str
    version: str
    bundle_sha256: str
    envelope: Envelope | None = None


class Release(ReleaseManifest, frozen=True):
    """A published model version; `record` says who approved it and why, and is None for a challenger without approval."""

    record: PromotionRecord | None = None
    bundle_dir: Path = Path()

    @property
    def model(self) -> str:
        """Return name and version as `NAME/VERSION`."""
        return f"{self.name}/{self.version}"


def find_release_folder(state_dir: Path, role: Role = "current") -> Path | None:
    """Return the folder of the release for a role, None if there is none; raise `BundleRefused` if it is not one of the models."""
    path = state_dir / "models" / f"{role}.json"
    try:
        name = msgspec.json.decode(path.read_bytes(), type=ReleasePointer).folder
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleRefused("cannot be read", where=str(path), got=str(error)) from error
    except msgspec.DecodeError as error:
        raise _refused(path, str(error)) from error
    if Path(name).name != name or name in ("", ".", ".."):
        raise _refused(path, repr(name))
    return path.parent / name


def read_release(folder: Path, approvers: Approvers, role: Role = "current") -> Release:
    """Read what was published in a folder; raise `BundleRefused` if it decides and was not approved. The bundle is not loaded."""
    path = folder / "release.json"
    try:
        release = msgspec.json.decode(path.read_bytes(), type=ReleaseManifest)
        signed = None if release.envelope is None else SignedRecord.from_envelope(release.envelope)
        if signed is not None:
            signed.require_approval(approvers)
    except PromotionRefused as error:
        raise BundleRefused(
            "the release is not approved", where=str(path), got=str(error), todo="promote and publish again"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise _refused(path, str(error)) from error
    record = None if signed is None else signed.record
    if record is None and role == "current":
        raise _refused(path, "a model without a promotion record")
    described = release.name, release.version, release.bundle_sha256
    if record is not None and (record.name, record.version, record.bundle_sha256) != described:
        raise BundleRefused(
            "the promotion record approves another model",
            where=str(path),
            got=f"{release.name} version {release.version}, bundle {release.bundle_sha256[:12]}",
            expected=f"{record.name} version {record.version}, bundle {record.bundle_sha256[:12]}",
            todo="run npsrisk publish again",
        )
    return Release(*described, release.envelope, record, folder / BUNDLE_FOLDER)


def _refused(path: Path, got: str) -> BundleRefused:
    return BundleRefused(
        "not a release that can be served", where=str(path), got=got, todo="run npsrisk publish"
    )
