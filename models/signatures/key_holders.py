"""Files of those who hold keys: a TOML table for each holder with name, public key and, optionally, the end of the key."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from consignments.errors import BadSetting
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from models.signatures.envelope import PAYLOAD_TYPE, Signature, encode_for_signing
from models.signatures.keys import VerifyingKey

MAX_FILE_BYTES = 1_000_000
Layout = TypeVar("Layout", bound=msgspec.Struct)


class KeyHolder(Protocol):
    """A holder of a key, as the file has it."""

    @property
    def name(self) -> str:
        """Return the name."""

    @property
    def public_key(self) -> str:
        """Return the Ed25519 public key in Base64."""

    @property
    def until(self) -> datetime | None:
        """Return when the key ends, if it ends."""


def read_key_holders(path: Path, layout: type[Layout], *, what: str, expected: str, todo: str) -> Layout:
    """Read a file of key holders; without a file it is the layout without entries.

    Parameters
    ----------
    path : Path
    layout : type of msgspec.Struct
        Fields of the file, all with a default.
    what, expected, todo : str
        Name of the file, its content, and what to do if it is damaged, for the error.

    Raises
    ------
    BadSetting
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return msgspec.convert(tomllib.loads(file.read(MAX_FILE_BYTES).decode()), layout)
    except FileNotFoundError:
        return layout()
    except OSError as error:
        raise BadSetting(f"{what} cannot be read", where=str(path), got=error.__class__.__name__) from error
    except (ValueError, msgspec.ValidationError) as error:
        raise BadSetting(
            f"{what} cannot be read", where=str(path), got=str(error), expected=expected, todo=todo
        ) from error


def write_key_holders(path: Path, head: Sequence[str], table: str, holders: Iterable[KeyHolder]) -> None:
    """Write a file of key holders at once: the lines of its head, then a table for each holder."""
    lines = list(head)
    for each in holders:
        lines += [
            "",
            f"[[{table}]]",
            f"name = {_quote(each.name)}",
            f"public_key = {_quote(each.public_key)}",
        ]
        lines += [] if each.until is None else [f"until = {each.until.isoformat()}"]
    replace_file(path, ("\n".join(lines) + "\n").encode(), PUBLIC_MODE)


def list_signers(
    keys: Mapping[str, tuple[VerifyingKey, KeyHolder]],
    statement: bytes,
    signatures: Iterable[Signature],
    at: datetime,
) -> list[str]:
    """List the holders whose signatures of a statement hold, each once; keys that had ended by `at` do not count."""
    message = encode_for_signing(PAYLOAD_TYPE, statement)
    signers: list[str] = []
    for signature in signatures:
        key, holder = keys.get(signature.keyid, (None, None))
        if key is None or holder is None or holder.name in signers:
            continue
        ended = holder.until is not None and at >= holder.until
        if not ended and key.verifies(signature.to_bytes(), message):
            signers.append(holder.name)
    return signers


def _quote(text: str) -> str:
    """Write a text as a TOML basic string, which has JSON's escapes."""
    return msgspec.json.encode(text).decode()
