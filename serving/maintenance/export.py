"""Export: the log as it stood at the start, as tables in a folder; whole or not at all, while the service runs on.

Personal columns leave the log only where they are asked for, and then only with the data key.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from consignments.errors import BundleRefused, FileFault
from consignments.records import Consignment
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.key_erasures import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import find_redaction_end
from serving.maintenance.export_tables import ExportSchema, LogTables, name_features_table
from serving.process.state_directory import PRIVATE_FILE_MODE
from serving.scoring.past_models import PastModels

MANIFEST_FILE = "export.json"
"""What the folder holds, and of which log."""
PROGRESS_ENTRIES = 5_000
EXCLUDED_FROM_SCHEMA = ("keys", "features", "reasons")
EXCLUDED_FROM_TABLES = ("keys",)
NO_PERSONAL_COLUMNS = (
    "personal columns are left out; npsrisk export --personal writes them, with the data key"
)


def export_log(
    log: LogReader, vault: Vault | None, bundles: PastModels, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the log as tables.

    Parameters
    ----------
    log : LogReader
        Entries up to its `last_sequence` are written.
    vault : Vault or None
        With it personal columns are written.
    bundles : PastModels
        Tell the names of features.
    out : Path
        A folder: new, empty, or an earlier export, which is replaced.
    progress : callable, optional

    Returns
    -------
    dict
        What `export.json` holds: `log_id`, `last_sequence`, `head`, `exported_at`, `personal`, `tables` (name to rows),
        `models`, and `notes` in words.

    Raises
    ------
    FileFault
        Where the folder holds anything else, or cannot be written.
    BadSetting
        Where the data key is not this log's.
    ServiceFault
        Where an entry cannot be read, or the key of a month is missing.
    """
    if vault is not None:
        check_vault(log, vault)
    notes = [] if vault is not None else [NO_PERSONAL_COLUMNS]
    told: dict[str, Any] = {
        "log_id": log.log_id,
        "last_sequence": log.last_sequence,
        "head": log.head,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "personal": vault is not None,
        "notes": notes,
    }
    entries = EventCodec(vault, Consignment, ())
    with _replace_folder(out) as folder:
        survey = _scan_schema(log, entries, progress)
        if survey.emptied:
            notes.append(
                f"{survey.emptied:,} consignments up to entry {find_redaction_end(log):,} are left out: npsrisk forget removed "
                "their content; history that is computed from these tables does not count them"
            )
        notes += [
            f"{count:,} consignments are left out: {erasure}; history that is computed from these tables does not count them"
            for erasure, count in survey.erased.items()
        ]
        survey.names = _feature_names(survey, bundles, notes)
        tables = LogTables(log, entries, folder, survey, told)
        for event in log.read_events(until=log.last_sequence, without=EXCLUDED_FROM_TABLES):
            tables.add(event)
            _report_progress(progress, "export", event.sequence, log.last_sequence)
        told["tables"] = tables.close()
        told["models"] = [
            {
                "model": model,
                "model_sha256": bundle,
                "decisions": count,
                "features": name_features_table(spec),
            }
            for (model, bundle, spec), count in sorted(survey.models.items())
        ]
        (folder / MANIFEST_FILE).touch(mode=PRIVATE_FILE_MODE)
        (folder / MANIFEST_FILE).write_text(json.dumps(told, indent=1))
    return told


def _scan_schema(log: LogReader, entries: EventCodec, progress: Progress | None) -> ExportSchema:
    survey = ExportSchema()
    without = EXCLUDED_FROM_SCHEMA if entries.has_erasures else (*EXCLUDED_FROM_SCHEMA, "sealed")
    for event in log.read_arrivals(until=log.last_sequence, without=without):
        survey.scan(event, entries.find_erasure(event))
        _report_progress(progress, "columns", event.sequence, log.last_sequence)
    return survey


def _feature_names(survey: ExportSchema, bundles: PastModels, notes: list[str]) -> dict[str, list[str]]:
    """Name the features of every spec of which a model is still there; what has none is noted."""
    names: dict[str, list[str]] = {}
    faults: dict[str, str] = {}
    for model, bundle, spec in sorted(survey.models):
        try:
            names[spec] = list(bundles.find(model, bundle).judge.spec.names)
        except BundleRefused as error:
            faults[spec] = f"{name_features_table(spec)} has no names of features: {error}"
    notes += [fault for spec, fault in faults.items() if spec not in names]
    return names


def _report_progress(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None and (done % PROGRESS_ENTRIES == 0 or done == total):
        progress(what, done, total)


@contextmanager
def _replace_folder(out: Path) -> Iterator[Path]:
    """Give a private folder that takes the place of `out` when all is written."""
    out = out.absolute()
    _require_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise FileFault("cannot be written", where=str(out), got=error.strerror or "") from error
    try:
        yield made
        earlier = out.with_name(f".{out.name}-{os.getpid()}.old")
        if out.exists():
            out.rename(earlier)
        made.rename(out)
        shutil.rmtree(earlier, ignore_errors=True)
    except OSError as error:
        raise FileFault("cannot be written", where=str(out), got=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _require_replaceable(out: Path) -> None:
    """Refuse a folder with anything in it that no export wrote there."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FileFault("not a folder", where=str(out), todo="name a folder for the tables")
    try:
        tables = json.loads((out / MANIFEST_FILE).read_text())["tables"]
        mine = {MANIFEST_FILE, *(f"{name}.parquet" for name in tables)}
    except (OSError, ValueError, KeyError, TypeError):
        mine = set()
    others = sorted({path.name for path in out.iterdir()} - mine)
    if others:
        raise FileFault(
            "the folder holds other things",
            where=str(out),
            got=others[0],
            expected="a new or empty folder, or an earlier export alone, which is replaced",
            todo="name another folder",
        )
