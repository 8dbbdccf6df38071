"""Verb data-key: a new file of data keys, and a new sealing key."""

from pathlib import Path

import click

from cli.stores import read_settings
from cli.verb import Result, argument, sub_verb


@click.group("data-key")
def data_key() -> None:
    """Create data keys, or replace the key that seals the log.

    The file of the data keys has a pseudonym key, which is never replaced because history depends on it, and sealing keys.

    \b
    Example:
    npsrisk data-key rotate
    """


@sub_verb(data_key)
def create(file: Path = argument("FILE")) -> Result:
    """Create a file of data keys for a new log.

    The service creates the file by itself in its state directory. For another place, such as a mounted secret, create it first.

    Writes a new file, which only its owner can read. Exit code 2 if there is one already: a key is never replaced.

    \b
    Example:
    npsrisk data-key create /etc/npsrisk/data.key
    """
    from consignments.files.whole_files import create_key_file
    from features.history.data_keys import DataKeys, encode_data_keys

    create_key_file(file, encode_data_keys(DataKeys.create()))
    return Result({"file": str(file)}, f"New data keys -> {file}")


@sub_verb(data_key)
def rotate() -> Result:
    """Add a new sealing key.

    What is recorded from now on is encrypted with it; earlier entries stay readable with the earlier keys, which stay in the file. The
    service may keep running: it uses the new key within a second.

    Copy the file to the machines that share the log, and to its backup, at once: without the new key, new personal fields are lost.

    Writes the file of NPSRISK_DATA_KEY_FILE. Exit code 2 if there is no such file, or it cannot be written.

    \b
    Example:
    npsrisk data-key rotate
    """
    from features.history.data_keys import rotate_sealing_key

    path = read_settings().data_key_file
    new = rotate_sealing_key(path)
    text = f"New sealing key {new.id} -> {path}\nCopy this file to the other machines of the log, and to its backup."
    return Result({"id": new.id, "created_at": new.created_at, "file": str(path)}, text)
