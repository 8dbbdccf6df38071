"""The file of the data keys: the pseudonym key, which is never replaced, and the sealing keys, of which the newest encrypts.

    {"format": 2, "pseudonym_key": "5b1c…", "sealing_keys": [{"id": "0f3a9c21", "created_at": "2026-11-29", "key": "77e0…"}]}

Pseudonyms and all digests are computed with the pseudonym key, so they stay. Personal fields in the log are encrypted with a sealing
key, and begin with its id; earlier sealing keys decrypt what they encrypted.
"""

import logging
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

import msgspec

from consignments.errors import BadSetting
from consignments.files.whole_files import create_key_file

KEY_BYTES, ID_BYTES = 32, 4
FORMAT = 2
KEY_SETTING = "NPSRISK_DATA_KEY_FILE"
HexKey = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * KEY_BYTES}}}$")]

log = logging.getLogger("npsrisk")


class SealingKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that encrypts personal fields, with its identifier and the day of its creation."""

    id: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * ID_BYTES}}}$")]
    created_at: str
    key: HexKey

    @classmethod
    def create(cls) -> Self:
        """Draw a random key."""
        today = datetime.now(UTC).date().isoformat()
        return cls(secrets.token_hex(ID_BYTES), today, secrets.token_hex(KEY_BYTES))


class DataKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of one installation. The last sealing key is the newest."""

    pseudonym_key: HexKey
    sealing_keys: Annotated[Sequence[SealingKey], msgspec.Meta(min_length=1)]
    format: int = FORMAT

    @classmethod
    def create(cls) -> Self:
        """Draw random keys."""
        return cls(secrets.token_hex(KEY_BYTES), [SealingKey.create()])

    @property
    def pseudonyms(self) -> bytes:
        """Return the pseudonym key of 32 bytes, from which the other keys that are never replaced are derived."""
        return bytes.fromhex(self.pseudonym_key)


def read_data_keys(path: Path, *, create: bool = False) -> DataKeys:
    """Read the file of the data keys, or create it with random keys; two processes that start together get the same."""
    if create and not path.exists():
        _create_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        got, todo = error.strerror or str(error), f"set {KEY_SETTING} to the file of the data key"
        raise BadSetting("the data key cannot be read", where=str(path), got=got, todo=todo) from error
    try:
        keys = msgspec.json.decode(content, type=DataKeys)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if len(content) == KEY_BYTES:
            what, got = "the data key is one of an earlier version", f"{KEY_BYTES} bytes"
            todo = "export its log with npsrisk of commit 049ba582, and import the tables into a new log (docs/install.md)"
            raise BadSetting(what, where=str(path), got=got, todo=todo) from error
        raise _describe_damage(path, f"{len(content):,} bytes that are not data keys") from error
    if keys.format != FORMAT:
        raise _describe_damage(path, f"format {keys.format}")
    return keys


def encode_data_keys(keys: DataKeys) -> bytes:
    """Encode data keys as the file has them."""
    return msgspec.json.format(msgspec.json.encode(keys), indent=1) + b"\n"


def _describe_damage(path: Path, got: str) -> BadSetting:
    return BadSetting(
        "the file is not one of data keys",
        where=str(path),
        got=got,
        expected=f"a file of npsrisk, format {FORMAT}",
        todo="restore the file from a backup",
    )


def _create_file(path: Path) -> None:
    """Create the keys in a draft, and then link it, so that no process reads half a file and one file wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        create_key_file(draft, encode_data_keys(DataKeys.create()))
        _link_once(draft, path)
    except OSError as error:
        got = error.strerror or str(error)
        raise BadSetting("the data key cannot be created", where=str(path), got=got) from error


def _link_once(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    log.warning(
        "created a new data key in %s: keep a backup; without it no pseudonym can be recomputed", path
    )
