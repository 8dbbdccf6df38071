"""The publisher: the only process that takes a model from MLflow to the service.

It verifies the bundle's sums, its self-test and the chain of promotion records, writes `models/NAME-VERSION/` in the
state directory and moves `models/current.json` atomically. The service itself never talks to MLflow.
"""

import json
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from models.bundle import Bundle, load_bundle
from models.promotion import PromotionRecord, record_for
from models.registry import Registry, Version
from serving.settings import Settings


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
        `name`, `version`, `folder`, `bundle_sha256`.

    Raises
    ------
    PromotionRefused
        Where the version was never promoted, or its bundle is not the approved one.
    BundleRefused
        Where the bundle was altered or fails its self-test; what was published before stays.
    """
    version = registry.resolve(uri)
    source = registry.bundle_dir(version)
    bundle = load_bundle(source)
    bundle.self_test()
    record = record_for(registry.records(version.name), version.number, bundle.sha256)
    folder = _place(source, settings.state_dir / "models", version, record, bundle)
    _write(settings.state_dir / "models" / "current.json", {"folder": folder.name})
    return {
        "name": version.name,
        "version": version.number,
        "folder": str(folder),
        "bundle_sha256": bundle.sha256,
    }


def _place(source: Path, models: Path, version: Version, record: PromotionRecord, bundle: Bundle) -> Path:
    models.mkdir(parents=True, exist_ok=True)
    folder = models / f"{version.name}-{version.number}-{bundle.sha256[:12]}"
    if folder.exists():
        load_bundle(folder / "bundle").self_test()
        return folder
    made = Path(mkdtemp(prefix=".publishing-", dir=models))
    try:
        shutil.copytree(source, made / "bundle")
        release = {
            "name": version.name,
            "version": version.number,
            "bundle_sha256": bundle.sha256,
            "record": json.loads(record.to_json()),
        }
        _write(made / "release.json", release)
        made.chmod(0o755)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return folder


def _write(path: Path, values: dict[str, Any]) -> None:
    """Replace a file at once, so that a reader sees the old or the new, never a part."""
    part = path.with_suffix(".part")
    with part.open("w") as file:
        json.dump(values, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
