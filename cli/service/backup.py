"""Verbs backup and restore."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from cli.options import json_option
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import read_settings

keys_option = click.option(
    "--keys",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FOLDER",
    help="Folder of the keys. Default: keys in the folder of the backup.",
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@keys_option
@click.option(
    "--keep-days",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Then delete the backups of this log in the same folder that are older than N days.",
)
@json_option
def backup(folder: Path, keys: Path | None, keep_days: int | None, as_json: bool) -> None:
    """Copy the event log, the published models and the keys.

    The service may keep running. The copy of the log is as of one moment, and its hash chain and keys are verified. The log
    is written as an SQLite file, also if it is in PostgreSQL.

    With the log, anyone who has the keys can read personal fields. Use --keys to store them elsewhere. A copy keeps what is forgotten
    later: with --keep-days, older backups of this log next to DIR are deleted, and their keys next to FOLDER.

    Private keys of approvers, API keys and TLS files are not included.

    Writes a new folder. Exit code 2 if the log is damaged or a key is missing; then nothing is written.

    \b
    Example:
    npsrisk backup /backup/log/2026-07-01 --keys /backup/keys/2026-07-01 --keep-days 30
    """
    from serving.maintenance.backup import back_up, delete_old_backups, to_plain

    with show_progress_bar() as progress:
        done = back_up(read_settings(), folder, keys, progress)
    where = folder / "keys" if keys is None else keys
    text = f"{done.last_sequence:,} entries -> {folder}; keys -> {where}\nhead {done.head}"
    deleted: list[Path] = []
    if keep_days is not None:
        deleted = delete_old_backups(folder, keys, done.log_id, datetime.now(UTC) - timedelta(days=keep_days))
        text += f"\ndeleted {len(deleted):,} backups older than {keep_days} days"
    result = {"folder": str(folder), "keys": str(where), "deleted": [*map(str, deleted)]}
    print_result(to_plain(done) | result, as_json, text)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@keys_option
@json_option
def restore(folder: Path, keys: Path | None, as_json: bool) -> None:
    """Restore a backup to an empty state directory and database.

    Verifies each file, the hash chain and the keys before anything is put in place. Existing files are never replaced.
    What was forgotten after the backup, by the list forgotten.jsonl next to the data key, is removed again: copy the newest list there
    before. A data key that is there already stays if it has all keys of the backup.

    After an interruption, run the same command again. A file of approvers outside the state directory is not restored: an
    administrator copies it.

    Set NPSRISK_STATE_DIR, and NPSRISK_DATABASE_URL for PostgreSQL, before. Compare the head that is printed with one that
    was stored elsewhere: entries after the backup are missing. Run "npsrisk doctor" and "npsrisk serve" after.

    \b
    Example:
    NPSRISK_STATE_DIR=/var/lib/npsrisk npsrisk restore /backup/log/2026-07-01 --keys /backup/keys/2026-07-01
    """
    from serving.maintenance.backup import restore as run
    from serving.maintenance.backup import to_plain

    settings = read_settings()
    with show_progress_bar() as progress:
        done = run(settings, folder, keys, progress)
    manifest = done.manifest
    text = f"{manifest.last_sequence:,} entries -> {settings.state_dir}\nhead {manifest.head}"
    if done.removed:
        text += f"\nremoved again what was forgotten after the backup: {done.removed:,} more entries, head {done.head}"
    copy = (folder / "keys" if keys is None else keys) / "approvers.toml"
    if copy.exists() and not settings.approvers_file.exists():
        text += f"\nnot restored, because only an administrator may write it: install -m 0644 {copy} {settings.approvers_file}"
    result = {"state_dir": str(settings.state_dir), "removed": done.removed, "head_now": done.head}
    print_result(to_plain(manifest) | result, as_json, text)
