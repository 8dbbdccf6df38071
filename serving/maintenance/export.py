"""Export of the log, as of the start of the export, to a folder of tables; atomic, and possible while the service runs.

Personal columns are exported only on request, and only with the data key.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consignments.errors import BundleRefused, FileFault
from consignments.files.folders import open_work_folder
from consignments.files.whole_files import PRIVATE_FILE_MODE, flush_file, flush_folder
from consignments.records import Consignment
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.log_keys import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import find_redaction_end
from serving.maintenance.export_tables import ExportSchema, LogTables, name_features_table
from serving.scoring.past_models import PastModels

MANIFEST_FILE = "export.json"
"""File that describes the exported tables and their log."""
PROGRESS_ENTRIES = 5_000
EXCLUDED_FROM_SCHEMA = ("sealed", "keys", "features", "reasons")
EXCLUDED_FROM_TABLES = ("keys",)
NO_PERSONAL_COLUMNS = (
    "personal columns are not exported; to include them, run npsrisk export --personal with the data key"
)


def export_log(
    log: LogReader, vault: Vault | None, bundles: PastModels, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Export the log up to its `last_sequence` as tables; personal columns only with a vault.

    `bundles` are the models that made the decisions, for the names of their features. `out` is new, empty, or an earlier export, which is
    replaced. Returns the content of `export.json`: `log_id`, `last_sequence`, `head`, `exported_at`, `personal`, `tables` (rows by name),
    `models`, and `notes` in words. Raises `FileFault` if the folder contains other files, or cannot be written, `BadSetting` if the log was
    written with another data key, and `ServiceFault` if an entry cannot be read, or a sealing key is missing.
    """
    if vault is not None:
        check_vault(log, vault)
    notes = [] if vault is not None else [NO_PERSONAL_COLUMNS]
    manifest: dict[str, Any] = {
        "log_id": log.log_id,
        "last_sequence": log.last_sequence,
        "head": log.head,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "personal": vault is not None,
        "notes": notes,
    }
    entries = EventCodec(vault, Consignment, ())
    with _replace_folder(out) as folder:
        survey = _scan_schema(log, progress)
        if survey.emptied:
            notes.append(
                f"{survey.emptied:,} consignments (all up to entry {find_redaction_end(log):,}) are not exported, because "
                "npsrisk forget removed their content; history computed from these tables does not count them"
            )
        survey.names = _feature_names(survey, bundles, notes)
        tables = LogTables(log, entries, folder, survey, manifest)
        for event in log.read_events(until=log.last_sequence, without=EXCLUDED_FROM_TABLES):
            tables.add(event)
            _report_progress(progress, "export", event.sequence, log.last_sequence)
        manifest["tables"] = tables.close()
        manifest["models"] = [
            {
                "model": model,
                "model_sha256": bundle,
                "decisions": count,
                "features": name_features_table(spec),
            }
            for (model, bundle, spec), count in sorted(survey.models.items())
        ]
        (folder / MANIFEST_FILE).touch(mode=PRIVATE_FILE_MODE)
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1))
    return manifest


def _scan_schema(log: LogReader, progress: Progress | None) -> ExportSchema:
    survey = ExportSchema()
    for event in log.read_arrivals(until=log.last_sequence, without=EXCLUDED_FROM_SCHEMA):
        survey.scan(event)
        _report_progress(progress, "columns", event.sequence, log.last_sequence)
    return survey


def _feature_names(survey: ExportSchema, bundles: PastModels, notes: list[str]) -> dict[str, list[str]]:
    """Find the feature names of every spec that still has a model, and note the specs without one."""
    names: dict[str, list[str]] = {}
    faults: dict[str, str] = {}
    for model, bundle, spec in sorted(survey.models):
        try:
            names[spec] = list(bundles.find(model, bundle).judge.spec.names)
        except BundleRefused as error:
            faults[spec] = f"{name_features_table(spec)} has no feature names: {error}"
    notes += [fault for spec, fault in faults.items() if spec not in names]
    return names


def _report_progress(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None and (done % PROGRESS_ENTRIES == 0 or done == total):
        progress(what, done, total)


@contextmanager
def _replace_folder(out: Path) -> Iterator[Path]:
    """Create a private folder that replaces `out` after everything is written.

    A kill leaves the folder, which may have personal data, or the earlier export under another name. The next export to the same
    place removes the one and restores the other first.
    """
    out = out.absolute()
    earlier = out.with_name(f".{out.name}.old")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open_work_folder(out.with_name(f".{out.name}.draft"), "export") as made:
            if earlier.exists() and not out.exists():
                earlier.rename(out)
            _require_replaceable(out)
            yield made
            _flush(made)
            shutil.rmtree(earlier, ignore_errors=True)
            if out.exists():
                out.rename(earlier)
            made.rename(out)
            flush_folder(out.parent)
            shutil.rmtree(earlier, ignore_errors=True)
    except OSError as error:
        raise FileFault(
            "the output folder cannot be written", where=str(out), got=error.strerror or str(error)
        ) from error


def _flush(folder: Path) -> None:
    """Flush the files of a folder to disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            flush_file(file)
    flush_folder(folder)


def _require_replaceable(out: Path) -> None:
    """Check that a folder contains nothing but an earlier export."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FileFault("the output is not a folder", where=str(out), todo="give a folder for the tables")
    try:
        tables = json.loads((out / MANIFEST_FILE).read_text())["tables"]
        mine = {MANIFEST_FILE, *(f"{name}.parquet" for name in tables)}
    except (OSError, ValueError, KeyError, TypeError):
        mine = set()
    others = sorted({path.name for path in out.iterdir()} - mine)
    if others:
        raise FileFault(
            "the output folder contains other files",
            where=str(out),
            got=others[0],
            expected="a new or empty folder, or only an earlier export, which is replaced",
            todo="give another folder",
        )
