"""Verbs backup and restore."""

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
@json_option
def backup(folder: Path, keys: Path | None, as_json: bool) -> None:
    """Copy the event log, the published models and the keys.

    The service may keep running. The copy of the log is as of one moment, and its hash chain and keys are verified. The log
    is written as an SQLite file, also if it is in PostgreSQL.

    With the log, anyone who has the keys can read personal fields. Use --keys to store them elsewhere, for a shorter time.
    Private keys of approvers, API keys and TLS files are not included.

    Writes a new folder. Exit code 2 if the log is damaged or a key is missing; then nothing is written.

    \b
    Example:
    npsrisk backup /backup/log/2026-07-01 --keys /backup/keys/2026-07-01
    """
    from serving.maintenance.backup import back_up, to_plain

    with show_progress_bar() as progress:
        done = back_up(read_settings(), folder, keys, progress)
    where = folder / "keys" if keys is None else keys
    text = f"{done.last_sequence:,} entries -> {folder}; keys -> {where}\nhead {done.head}"
    print_result(to_plain(done) | {"folder": str(folder), "keys": str(where)}, as_json, text)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@keys_option
@json_option
def restore(folder: Path, keys: Path | None, as_json: bool) -> None:
    """Restore a backup to an empty state directory and database.

    Verifies each file, the hash chain and the keys before anything is put in place. Existing files are never replaced.
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
    text = f"{done.last_sequence:,} entries -> {settings.state_dir}\nhead {done.head}"
    copy = (folder / "keys" if keys is None else keys) / "approvers.toml"
    if copy.exists() and not settings.approvers_file.exists():
        text += f"\nnot restored, because only an administrator may write it: install -m 0644 {copy} {settings.approvers_file}"
    print_result(to_plain(done) | {"state_dir": str(settings.state_dir)}, as_json, text)
