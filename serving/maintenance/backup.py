"""Backup of an installation while the service runs, and its verified restore.

    DIR/manifest.json   number of entries, head of the hash chain, and the SHA-256 of each file
    DIR/events.db       the event log, as an SQLite file whatever the database is
    DIR/models/         published models
    DIR/keys/           data keys, list of what was forgotten, and approvers; with --keys FOLDER they are written there instead

Both write to a new folder next to or in the target, verify what they wrote, and only then rename it. After a kill the next
run removes what the killed one left.
"""

import hashlib
import shutil
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from consignments.errors import BadInput, BadSetting, FileFault, explain_failure
from consignments.files.folders import PART_SUFFIX, WRITE_TODO, draft_folder
from consignments.files.part_manifest import read_manifest
from consignments.files.whole_files import flush_file, flush_folder
from consignments.timestamps import to_us
from features.history.data_keys import read_data_keys
from serving.encryption.vault import Vault
from serving.event_log.copies import convert_file, copy_to_database, copy_to_file
from serving.event_log.databases.database import find_sqlite_path
from serving.event_log.log import EventLog, check_vault
from serving.event_log.reader import LogReader, Progress
from serving.event_log.verification import refuse_broken_chain, verify_chain
from serving.process.settings import Settings
from serving.process.state_directory import RESTORE_PART, create_private_files, lock_state, record_done
from serving.state.forgetting import LIST_NAME, ForgottenList, forget_again

FORMAT = 1
MANIFEST_FILE, LOG_FILE, MODELS, KEYS = "manifest.json", "events.db", "models", "keys"
DATA_KEY_FILE, APPROVERS_FILE = "data.key", "approvers.toml"
COPY_BYTES = 1 << 20


class BackupFile(msgspec.Struct, frozen=True):
    """Size and SHA-256 (hexadecimal) of a file of a backup."""

    bytes: int
    sha256: str


class BackupManifest(msgspec.Struct, frozen=True):
    """The manifest of a backup; `files` are by their path in it, where those of the keys begin with `keys/`, wherever they were written."""

    format: int
    created_at: str
    npsrisk_version: str
    log_id: str
    key_fingerprint: str
    last_sequence: int
    head: str
    files: dict[str, BackupFile]


class RestoreResult(NamedTuple):
    """The manifest of what was restored, the number of removals of forgotten content that were repeated, and the hash of the last entry."""

    manifest: BackupManifest
    removed: int
    head: str


def back_up(
    settings: Settings, out: Path, keys_out: Path | None = None, progress: Progress | None = None
) -> BackupManifest:
    """Copy log, models and keys (by default to `keys` in the backup) to new or empty folders; the service may keep running."""
    if keys_out is not None and keys_out.absolute().is_relative_to(out.absolute()):
        raise BadInput(
            "the keys would be in the backup",
            where=str(keys_out),
            todo="name a folder elsewhere, or omit --keys",
        )
    for folder in (out, keys_out):
        if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileFault(
                "the output folder is not empty",
                where=str(folder),
                todo="name a new folder; an earlier backup is never replaced",
            )
    read_data_keys(settings.data_key_file)  # a missing one is named before anything is written
    with ExitStack() as stack, create_private_files():
        part = stack.enter_context(draft_folder(out, "backup"))
        keys = part / KEYS if keys_out is None else stack.enter_context(draft_folder(keys_out, "backup"))
        stack.enter_context(explain_failure("the folder cannot be written", out, WRITE_TODO))
        # First the log, then the keys: a key is created before the entries that it seals.
        copy_to_file(settings.database_url, part / LOG_FILE, progress)
        for path, name in (
            (settings.data_key_file, DATA_KEY_FILE),
            (ForgottenList(settings.data_key_file).path, LIST_NAME),
            (settings.approvers_file, APPROVERS_FILE),
        ):
            if path.exists():
                _copy(path, keys / name)
        for path in _list_files(settings.state_dir / MODELS):
            # What is being published now has another name, and is left out.
            if PART_SUFFIX not in {piece.suffix for piece in (path, *path.parents)}:
                _copy(path, part / path.relative_to(settings.state_dir))
        log = _describe_log(part, keys, progress)
        files = {path.relative_to(part).as_posix(): _describe_file(path) for path in _list_files(part)}
        files |= {f"{KEYS}/{path.name}": _describe_file(path) for path in _list_files(keys)}
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = BackupManifest(FORMAT, created_at, version("npsrisk"), **log, files=files)
        (part / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    record_done(settings.state_dir, "backup")
    return manifest


def restore(
    settings: Settings, source: Path, keys_source: Path | None = None, progress: Progress | None = None
) -> RestoreResult:
    """Restore a backup to the state directory and the database of the settings, both without a log.

    What the lists of the backup and next to the data key say was forgotten is removed again. A file of data keys that is there already
    stays if it has all keys of the backup.
    """
    manifest = _read_manifest(source)
    keys = source / KEYS if keys_source is None else keys_source
    with lock_state(settings.state_dir):
        part = settings.state_dir / RESTORE_PART
        targets = _find_targets(settings, manifest)
        if _keeps_keys(settings.data_key_file, keys / DATA_KEY_FILE):
            targets.pop(f"{KEYS}/{DATA_KEY_FILE}")
        _require_absent(targets, manifest, killed_before=part.exists())
        with explain_failure("the folder cannot be written", settings.state_dir, WRITE_TODO):
            shutil.rmtree(part, ignore_errors=True)
            for name, expected in manifest.files.items():
                origin = keys / PurePosixPath(name).name if name.startswith(f"{KEYS}/") else source / name
                _copy_verified(origin, part / name, expected)
            convert_file(part / LOG_FILE)  # a backup of an earlier version
            _verify(part, part / KEYS, manifest, progress)
            forgotten = ForgottenList(settings.data_key_file)
            forgotten.add(ForgottenList(part / KEYS / DATA_KEY_FILE).read())
            _place(settings, part, targets, progress)
            shutil.rmtree(part)
            flush_folder(settings.state_dir)
        vault = Vault.load(settings.data_key_file)
        with EventLog.open(settings.database_url, vault) as log:
            log.rename(to_us(datetime.now(UTC)))  # entries after the backup had the old name
            removed = forget_again(log, forgotten, settings.state_dir)
            return RestoreResult(manifest, removed, log.head)


def _keeps_keys(here: Path, copy: Path) -> bool:
    """Check whether a file of data keys is there already and has all keys of the copy; a later one has more sealing keys."""
    try:
        mine, theirs = read_data_keys(here), read_data_keys(copy)
    except BadSetting:
        return False
    same = mine.pseudonym_key == theirs.pseudonym_key
    return same and all(key in mine.sealing_keys for key in theirs.sealing_keys)


def delete_old_backups(folder: Path, keys: Path | None, log_id: str, before: datetime) -> list[Path]:
    """Delete the whole backups of a log next to `folder` from before a time, with their keys; return the deleted folders."""
    deleted = []
    for path in sorted(folder.absolute().parent.iterdir()):
        try:
            manifest = _read_manifest(path)
        except FileFault:
            continue
        if manifest.log_id != log_id or datetime.fromisoformat(manifest.created_at) >= before:
            continue
        apart = None if keys is None else keys.absolute().parent / path.name
        with explain_failure("the folder cannot be written", path, WRITE_TODO):
            # Without its manifest a folder is no backup, if the rest cannot be deleted now.
            (path / MANIFEST_FILE).unlink()
            shutil.rmtree(path)
            if apart is not None and (apart / DATA_KEY_FILE).exists():
                shutil.rmtree(apart)
        deleted.append(path)
    return deleted


def _place(settings: Settings, part: Path, targets: dict[str, Path], progress: Progress | None) -> None:
    """Rename the verified files to their places; the log comes last, so that nothing starts without its keys."""
    if find_sqlite_path(settings.database_url) is None:
        copy_to_database(part / LOG_FILE, settings.database_url, progress)
    for name in sorted(targets, key=lambda each: each == LOG_FILE):
        targets[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.move(part / name, targets[name])
        flush_folder(targets[name].parent)


def _find_targets(settings: Settings, manifest: BackupManifest) -> dict[str, Path]:
    """Return the place of each file that a restore puts there."""
    named = {f"{KEYS}/{DATA_KEY_FILE}": settings.data_key_file}
    if (log := find_sqlite_path(settings.database_url)) is not None:
        named[LOG_FILE] = log
    # Elsewhere only an administrator writes it.
    if settings.approvers_file.absolute().is_relative_to(settings.state_dir.absolute()):
        named[f"{KEYS}/{APPROVERS_FILE}"] = settings.approvers_file
    without = {LOG_FILE, f"{KEYS}/{APPROVERS_FILE}", f"{KEYS}/{LIST_NAME}"} - named.keys()
    return {
        name: named.get(name, settings.state_dir / name) for name in manifest.files if name not in without
    }


def _require_absent(targets: dict[str, Path], manifest: BackupManifest, *, killed_before: bool) -> None:
    """Refuse to replace any file, except one that a killed restore of the same backup put there."""
    log = targets.get(LOG_FILE)
    aside = [] if log is None else [log.with_name(f"{log.name}-wal"), log.with_name(f"{log.name}-shm")]
    for name, path in [*targets.items(), *((LOG_FILE, each) for each in aside)]:
        if path.exists() and not (killed_before and _describe_file(path) == manifest.files[name]):
            raise FileFault(
                "there is already a file",
                where=str(path),
                expected="a state directory without log, keys and models",
                todo="nothing was written; set NPSRISK_STATE_DIR to a new folder, or move the old files away",
            )


def _verify(folder: Path, keys: Path, manifest: BackupManifest, progress: Progress | None) -> None:
    """Check that chain, head and keys of a copied log are those of the manifest."""
    for name, found in _describe_log(folder, keys, progress).items():
        if found != getattr(manifest, name):
            raise FileFault(
                f"the backup does not match its manifest: {name}",
                where=str(folder),
                got=str(found),
                expected=str(getattr(manifest, name)),
                todo="use another backup",
            )


def _describe_log(folder: Path, keys: Path, progress: Progress | None) -> dict[str, Any]:
    """Verify the log and the keys of a folder, and return what its manifest says of the log."""
    vault = Vault.load(keys / DATA_KEY_FILE)
    with LogReader.open_to_read(f"sqlite:///{folder / LOG_FILE}") as log:
        found = verify_chain(log, progress=progress)
        refuse_broken_chain(found)
        check_vault(log, vault)
        identity = {"log_id": log.log_id, "key_fingerprint": log.key_fingerprint}
        return identity | {"last_sequence": found.entries, "head": found.head}


def _copy_verified(source: Path, target: Path, expected: BackupFile) -> None:
    with explain_failure("a file of the backup cannot be read", source):
        found = _describe_file(source)
    if found != expected:
        raise FileFault(
            "a file of the backup was changed",
            where=str(source),
            got=f"{found.bytes:,} bytes, SHA-256 {found.sha256[:12]}",
            expected=f"{expected.bytes:,} bytes, SHA-256 {expected.sha256[:12]}",
            todo="nothing was restored; use another backup",
        )
    _copy(source, target)


def _read_manifest(source: Path) -> BackupManifest:
    path, todo = source / MANIFEST_FILE, "name a folder of npsrisk backup"
    manifest = read_manifest(path, BackupManifest, "the manifest of a backup", todo, FORMAT)
    unsafe = [name for name in manifest.files if not _is_safe(name)]
    if unsafe or LOG_FILE not in manifest.files:
        raise FileFault(
            "the manifest is not one of npsrisk backup",
            where=str(path),
            got=f"file {unsafe[0]!r}" if unsafe else f"no {LOG_FILE}",
            expected=f"{LOG_FILE} and paths inside the backup",
        )
    return manifest


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name or "\0" in name:
        return False
    return name == LOG_FILE or (len(path.parts) > 1 and path.parts[0] in (MODELS, KEYS))


def _list_files(folder: Path) -> list[Path]:
    """List the regular files of a folder and its subfolders, in order, without links."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _describe_file(path: Path) -> BackupFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return BackupFile(file.tell(), digest)


def _copy(source: Path, target: Path) -> None:
    """Copy the content of a file, and flush it to disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as content, target.open("xb") as file:
        shutil.copyfileobj(content, file, COPY_BYTES)
        flush_file(file)
