"""The verbs that keep a log safe: data-key with new keys, backup and restore."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from msgspec import to_builtins

from cli.options import Count
from cli.stores import read_settings
from cli.verb import Progress, Result, argument, option, sub_verb, verb
from consignments.files.whole_files import create_key_file
from features.history.data_keys import DataKeys, encode_data_keys
from serving.encryption.key_rotation import rotate_sealing_key

KEYS = option("Folder of the keys. Default: keys in the folder of the backup.", metavar="FOLDER")


@verb
def backup(
    progress: Progress,
    folder: Path = argument("DIR"),
    keys: Path | None = KEYS,
    keep_days: Count | None = option("Then delete backups of this log next to DIR older than N days."),
) -> Result:
    """Copy the event log, the published models and the keys.

    The service may keep running. The copy of the log is as of one moment, and its hash chain and keys are verified. It is an
    SQLite file, also if the log is in PostgreSQL. Anyone who has log and keys can read personal fields: use --keys to store the
    keys elsewhere. A copy keeps what is forgotten later: with --keep-days, older backups of this log next to DIR are deleted,
    and their keys next to FOLDER.

    Private keys of approvers, API keys and TLS files are not included. Writes a new folder. Exit code 2 if the log is damaged
    or a key is missing; then nothing is written.

    \b
    Example:
    npsrisk backup /backup/log/2026-07-01 --keys /backup/keys/2026-07-01 --keep-days 30
    """
    from serving.maintenance.backup import back_up, delete_old_backups

    done = back_up(read_settings(), folder, keys, progress)
    where = folder / "keys" if keys is None else keys
    text = f"{done.last_sequence:,} entries -> {folder}; keys -> {where}\nhead {done.head}"
    deleted: list[Path] = []
    if keep_days is not None:
        deleted = delete_old_backups(folder, keys, done.log_id, datetime.now(UTC) - timedelta(days=keep_days))
        text += f"\ndeleted {len(deleted):,} backups older than {keep_days} days"
    values = {"folder": str(folder), "keys": str(where), "deleted": [*map(str, deleted)]}
    return Result(to_builtins(done) | values, text)


@verb
def restore(progress: Progress, folder: Path = argument("DIR"), keys: Path | None = KEYS) -> Result:
    """Restore a backup to an empty state directory and database.

    Verifies each file, the hash chain and the keys before anything is put in place. Existing files are never replaced. What was
    forgotten after the backup, by the list forgotten.jsonl next to the data key, is removed again: copy the newest list there
    before. A data key that is there already stays if it has all keys of the backup. A file of approvers outside the state
    directory is not restored: an administrator copies it. After an interruption, run the same command again.

    Set NPSRISK_STATE_DIR, and NPSRISK_DATABASE_URL for PostgreSQL, before. Compare the head that is printed with one that
    was stored elsewhere: entries after the backup are missing. Run "npsrisk doctor" and "npsrisk serve" after.

    \b
    Example:
    NPSRISK_STATE_DIR=/var/lib/npsrisk npsrisk restore /backup/log/2026-07-01 --keys /backup/keys/2026-07-01
    """
    from serving.maintenance.backup import restore as run

    settings = read_settings()
    done = run(settings, folder, keys, progress)
    text = f"{done.manifest.last_sequence:,} entries -> {settings.state_dir}\nhead {done.manifest.head}"
    if done.removed:
        text += f"\nremoved again what was forgotten after the backup: {done.removed:,} more entries, head {done.head}"
    copy = (folder / "keys" if keys is None else keys) / "approvers.toml"
    if copy.exists() and not settings.approvers_file.exists():
        text += f"\nnot restored, because only an administrator may write it: install -m 0644 {copy} {settings.approvers_file}"
    values = {"state_dir": str(settings.state_dir), "removed": done.removed, "head_now": done.head}
    return Result(to_builtins(done.manifest) | values, text)


@click.group("data-key")
def data_key() -> None:
    """Create data keys, or replace the key that seals the log.

    The file of the data keys has a pseudonym key, which is never replaced because history depends on it, and sealing keys.

    \b
    Examples:
    npsrisk data-key create /etc/npsrisk/data.key
    npsrisk data-key rotate
    """


@sub_verb(data_key)
def create(file: Path = argument("FILE")) -> Result:
    """Create a file of data keys for a new log.

    The service creates the file by itself in its state directory. For another place, such as a mounted secret, create it first.
    Only its owner can read it. Exit code 2 if there is one already: a key is never replaced.
    """
    create_key_file(file, encode_data_keys(DataKeys.create()))
    return Result({"file": str(file)}, f"New data keys -> {file}")


@sub_verb(data_key)
def rotate() -> Result:
    """Add a new sealing key.

    What is recorded from now on is encrypted with it. The earlier keys stay in the file, and earlier entries readable. The service
    may keep running: it uses the new key within a second.

    Copy the file (NPSRISK_DATA_KEY_FILE) to the machines that share the log, and to its backup, at once: without the new key,
    new personal fields are lost. Exit code 2 if there is no such file, or it cannot be written.
    """
    path = read_settings().data_key_file
    new = rotate_sealing_key(path)
    text = f"New sealing key {new.id} -> {path}\nCopy this file to the other machines of the log, and to its backup."
    return Result({"id": new.id, "created_at": new.created_at, "file": str(path)}, text)
