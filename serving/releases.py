"""The model that was published for the service: `models/current.json` in the state directory names its folder.

The publisher replaces that file at once, so a reader sees the old release or the new one, never a part.
"""

from pathlib import Path
from typing import Any

import msgspec

from consignments.errors import BundleRefused
from models.promotion import PromotionRecord


class Current(msgspec.Struct, frozen=True):
    """The file `current.json`."""

    folder: str


class Note(msgspec.Struct, frozen=True):
    """The file `release.json` beside the bundle."""

    name: str
    version: str
    bundle_sha256: str
    record: dict[str, Any]


class Release(msgspec.Struct, frozen=True):
    """A published version of a model.

    Attributes
    ----------
    name, version : str
        As registered in MLflow.
    bundle_sha256 : str
        The bundle that was approved.
    record : PromotionRecord
        Who approved it, and why.
    bundle_dir : Path
    """

    name: str
    version: str
    bundle_sha256: str
    record: PromotionRecord
    bundle_dir: Path


def current_folder(state_dir: Path) -> Path | None:
    """Give the folder of the current release, or None where nothing was published.

    Raises
    ------
    BundleRefused
        Where the file that names it cannot be read, or leads out of the folder of models.
    """
    path = state_dir / "models" / "current.json"
    try:
        name = msgspec.json.decode(path.read_bytes(), type=Current).folder
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise _refused(path, str(error)) from error
    if Path(name).name != name:
        raise _refused(path, repr(name))
    return path.parent / name


def read_release(folder: Path) -> Release:
    """Read what was published in a folder; the bundle itself is not loaded.

    Raises
    ------
    BundleRefused
        Where it is incomplete, or its promotion record approves another version or bundle.
    """
    path = folder / "release.json"
    try:
        note = msgspec.json.decode(path.read_bytes(), type=Note)
        record = msgspec.convert(note.record, PromotionRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise _refused(path, str(error)) from error
    approved = (record.name, record.version, record.bundle_sha256)
    if approved != (note.name, note.version, note.bundle_sha256):
        raise BundleRefused(
            "the promotion record approves another model",
            where=str(path),
            got=f"{note.name} version {note.version}, bundle {note.bundle_sha256[:12]}",
            expected=f"{record.name} version {record.version}, bundle {record.bundle_sha256[:12]}",
            todo="publish again",
        )
    return Release(note.name, note.version, note.bundle_sha256, record, folder / "bundle")


def _refused(path: Path, got: str) -> BundleRefused:
    return BundleRefused(
        "not a release that can be served", where=str(path), got=got, todo="run npsrisk publish"
    )
