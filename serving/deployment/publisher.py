"""The publisher: the only process that takes a model from MLflow to the service.

It verifies the bundle's sums, its self-test and the chain of promotion records, writes `models/NAME-VERSION/` in the
state directory and moves `models/current.json` atomically; a challenger likewise, in `models/shadow.json`, which may lack a
promotion record and then says so. The service itself never talks to MLflow.
"""

import json
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from consignments.errors import BadInput
from models.bundle import Bundle, load_bundle
from models.promotion_record import PromotionRecord, find_record
from models.registry import ModelVersion, Registry
from serving.deployment.releases import Role, find_release_folder, read_release
from serving.process.settings import Settings


class FetchedModel(NamedTuple):
    """A version of a model that was fetched from the registry: the folder of its bundle, and the bundle."""

    version: ModelVersion
    folder: Path
    bundle: Bundle


def publish(registry: Registry, uri: str, settings: Settings) -> dict[str, Any]:
    """Place a promoted version where the service reads it.

    Parameters
    ----------
    registry : Registry
    uri : str
        `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    settings : Settings

    Returns
    -------
    dict
        `name`, `version`, `folder`, `bundle_sha256`, `approved`.

    Raises
    ------
    PromotionRefused
        Where the version was never promoted, or its bundle is not the approved one.
    BundleRefused
        Where the bundle was altered or fails its self-test; what was published before stays.
    """
    version = registry.resolve(uri)
    fetched = _fetch(registry, version)
    record = find_record(registry.list_records(version.name), version.number, fetched.bundle.sha256)
    return _place(fetched, record, settings.state_dir / "models", "current")


def publish_shadow(registry: Registry, uri: str | None, settings: Settings) -> dict[str, Any] | None:
    """Place a challenger beside the current release; where there is none to be had, the one before is withdrawn.

    Parameters
    ----------
    registry : Registry
    uri : str or None
        None: no challenger is wanted.
    settings : Settings

    Returns
    -------
    dict or None
        As of `publish`; None where the version is not there, or decides already.

    Raises
    ------
    BadInput
        Where it finds something else than the current release.
    PromotionRefused
        Where it was promoted with another bundle, or the chain of records is broken.
    BundleRefused
        Where the bundle was altered or fails its self-test; what was published before stays.
    """
    path = settings.state_dir / "models" / "shadow.json"
    version = None if uri is None else _resolve(registry, uri)
    current = find_release_folder(settings.state_dir)
    if version is None or (current and read_release(current).model == f"{version.name}/{version.number}"):
        path.unlink(missing_ok=True)
        return None
    fetched = _fetch(registry, version)
    if current is not None:
        _require_same_target(fetched.bundle, load_bundle(current / "bundle"))
    records = registry.list_records(version.name)
    promoted = any(record.version == version.number for record in records)
    record = find_record(records, version.number, fetched.bundle.sha256) if promoted else None
    return _place(fetched, record, path.parent, "shadow")


def _resolve(registry: Registry, uri: str) -> ModelVersion | None:
    try:
        return registry.resolve(uri)
    except BadInput:
        return None


def _fetch(registry: Registry, version: ModelVersion) -> FetchedModel:
    folder = registry.download_bundle(version)
    bundle = load_bundle(folder)
    bundle.run_self_test()
    return FetchedModel(version, folder, bundle)


def _require_same_target(challenger: Bundle, current: Bundle) -> None:
    if challenger.card.target != current.card.target:
        raise BadInput(
            "the challenger finds something else than the model that decides",
            got=challenger.card.target,
            expected=current.card.target,
            todo="name another in NPSRISK_SHADOW_MODEL",
        )


def _place(fetched: FetchedModel, record: PromotionRecord | None, models: Path, role: Role) -> dict[str, Any]:
    """Write the folder of a release, if it is not there yet, and make it the one of its role."""
    version, source, bundle = fetched
    models.mkdir(parents=True, exist_ok=True)
    folder = models / f"{version.name}-{version.number}-{bundle.sha256[:12]}"
    note = {
        "name": version.name,
        "version": version.number,
        "bundle_sha256": bundle.sha256,
        "record": None if record is None else json.loads(record.to_json()),
    }
    if folder.exists():
        load_bundle(folder / "bundle").run_self_test()
        _write(folder / "release.json", note)
    else:
        _create_folder(folder, source, note)
    _write(models / f"{role}.json", {"folder": folder.name})
    told = {name: note[name] for name in ("name", "version", "bundle_sha256")}
    return told | {"folder": str(folder), "approved": record is not None}


def _create_folder(folder: Path, source: Path, note: dict[str, Any]) -> None:
    made = Path(mkdtemp(prefix=".publishing-", dir=folder.parent))
    try:
        shutil.copytree(source, made / "bundle")
        _write(made / "release.json", note)
        made.chmod(0o755)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _write(path: Path, values: dict[str, Any]) -> None:
    """Replace a file at once, so that a reader sees the old or the new, never a part."""
    part = path.with_suffix(".part")
    with part.open("w") as file:
        json.dump(values, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
