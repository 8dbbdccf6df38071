"""Publisher: the only process that brings a model from MLflow to the service.

It verifies the bundle's checksums, its self-test, the scores of LightGBM and the chain of promotion records. Then it writes the model's folder
`models/NAME-VERSION-DIGEST/` in the state directory and replaces `models/current.json` atomically. A challenger is
published in `models/shadow.json`; it may lack a promotion record, and its release says so. The service itself never
connects to MLflow.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from consignments.errors import BadInput, BundleRefused, PromotionRefused
from consignments.files.folders import draft_folder
from consignments.files.whole_files import PRIVATE_FOLDER_MODE, PUBLIC_MODE, replace_file
from models.bundle import Bundle, load_bundle
from models.registry import CHAMPION, ModelVersion, Registry, require_recorded_champion
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord, find_approval
from serving.deployment.releases import BUNDLE_FOLDER, Role, find_release_folder, read_release
from serving.process.settings import Settings


def publish(registry: Registry, uri: str, settings: Settings) -> dict[str, Any]:
    """Publish a promoted version; `PromotionRefused` or `BundleRefused` if its record or a check fails: the earlier release stays."""
    version = registry.resolve(uri)
    folder, bundle = _fetch(registry, version)
    approvers, records = Approvers.read(settings.approvers_file), registry.list_signed_records(version.name)
    # Without records `find_approval` refuses.
    if uri.endswith(f"@{CHAMPION}"):
        require_recorded_champion(version, records)
    approval = find_approval(records, version.name, version.number, bundle.sha256, approvers)
    _require_released_record(version.name, records, settings.state_dir, approvers)
    return _place(version, folder, bundle, approval, settings.state_dir / "models", "current")


def publish_shadow(registry: Registry, uri: str | None, settings: Settings) -> dict[str, Any] | None:
    """Publish a challenger in addition to the current release, as `publish` does; without one, withdraw it and return None."""
    path = settings.state_dir / "models" / "shadow.json"
    version = None
    with suppress(BadInput):
        version = None if uri is None else registry.resolve(uri)
    current, approvers = find_release_folder(settings.state_dir), Approvers.read(settings.approvers_file)
    deciding = read_release(current, approvers).model if version and current else None
    if version is None or deciding == f"{version.name}/{version.number}":
        path.unlink(missing_ok=True)
        return None
    folder, bundle = _fetch(registry, version)
    if current is not None:
        target = load_bundle(current / BUNDLE_FOLDER).card.target
        if bundle.card.target != target:
            raise BadInput(
                "the challenger has another target than the current model",
                got=bundle.card.target,
                expected=target,
                todo="set NPSRISK_SHADOW_MODEL to a model with the same target",
            )
    records = registry.list_signed_records(version.name)
    promoted = any(each.record.version == version.number for each in records)
    approval = (
        find_approval(records, version.name, version.number, bundle.sha256, approvers) if promoted else None
    )
    return _place(version, folder, bundle, approval, path.parent, "shadow")


def _require_released_record(
    name: str, records: Sequence[SignedRecord], state_dir: Path, approvers: Approvers
) -> None:
    """Refuse records without the one that approved the current release: who cuts off the last ones brings back an old model."""
    record = None
    with suppress(BundleRefused):  # publishing repairs a damaged release
        folder = find_release_folder(state_dir)
        record = None if folder is None else read_release(folder, approvers).record
    if record is None or record.name != name:
        return
    if record.compute_sha256() not in {each.record.compute_sha256() for each in records}:
        raise PromotionRefused(
            "the promotion record of the current release is missing in the registry",
            where=name,
            got=f"{len(records)} records",
            expected=f"record {record.number}, {record.compute_sha256()[:12]}, among them",
            todo="find out who changed the registry, and restore it; if another registry replaces it on purpose, remove "
            f"{state_dir / 'models' / 'current.json'} and publish again",
        )


def _fetch(registry: Registry, version: ModelVersion) -> tuple[Path, Bundle]:
    """Download a version, and return its bundle with the folder of the bundle."""
    folder = registry.download_fits(version).served
    bundle = load_bundle(folder)
    bundle.run_self_test()
    bundle.require_scores_of_lightgbm()
    return folder, bundle


def _place(
    version: ModelVersion,
    source: Path,
    bundle: Bundle,
    approval: SignedRecord | None,
    models: Path,
    role: Role,
) -> dict[str, Any]:
    """Write the folder of a release, if it is not there or damaged, and make it the release of its role."""
    models.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    models.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
    folder = models / f"{version.name}-{version.number}-{bundle.sha256[:12]}"
    published = {"name": version.name, "version": version.number, "bundle_sha256": bundle.sha256}
    note = published | {"envelope": None if approval is None else approval.to_envelope()}
    if _has_bundle(folder, bundle.sha256):
        _write(folder / "release.json", note)
    else:
        with draft_folder(folder, "release") as made:
            shutil.copytree(source, made / BUNDLE_FOLDER)
            _write(made / "release.json", note)
            shutil.rmtree(folder, ignore_errors=True)  # a damaged copy
    _write(models / f"{role}.json", {"folder": folder.name})
    return published | {"folder": str(folder), "approved": approval is not None}


def _has_bundle(folder: Path, sha256: str) -> bool:
    """Check if the folder of a release has an undamaged copy of a bundle."""
    with suppress(BundleRefused):
        return load_bundle(folder / BUNDLE_FOLDER).sha256 == sha256
    return False


def _write(path: Path, values: dict[str, Any]) -> None:
    replace_file(path, json.dumps(values, indent=1, sort_keys=True).encode(), PUBLIC_MODE)
