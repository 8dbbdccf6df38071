"""Manifests of tables in parts: which files belong to a table, with rows and SHA-256 of each, and what it was computed from.

A folder of parts with a manifest is read as a whole or not at all: a missing, additional or changed part is an error.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from consignments.errors import BadInput, FileFault, explain_failure, name_file
from consignments.files.file_listing import list_table_files
from consignments.files.whole_files import draft_file

MANIFEST_NAME = "_manifest.json"
MAX_MANIFEST_BYTES = 1 << 26
FORMAT = 1
T = TypeVar("T")


class ColumnEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the table: its name, and its type as Arrow writes it."""

    name: str
    type: str


class PartEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished part: its file name, rows, size in bytes, and SHA-256 (hexadecimal)."""

    name: str
    rows: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest of a table in parts; `inputs` are the SHA-256 of what it was computed from, and the options that change the result."""

    inputs: dict[str, str]
    columns: tuple[ColumnEntry, ...] = ()
    parts: tuple[PartEntry, ...] = ()
    complete: bool = False
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Return the number of rows of the finished parts."""
        return sum(part.rows for part in self.parts)

    @classmethod
    def read(
        cls, folder: Path, inputs: Mapping[str, str] | None = None, what: str = "", todo: str = ""
    ) -> Self:
        """Read the manifest of a folder; raise `BadInput` if inputs are given and the table was computed from other ones."""
        again = "remove the folder and write the table again"
        manifest = read_manifest(folder / MANIFEST_NAME, cls, "the manifest of the table", again, FORMAT)
        differing = [] if inputs is None else list_differences(manifest.inputs, inputs)
        if differing:
            raise BadInput(what, where=str(folder), got=f"other {', '.join(differing)}", todo=todo)
        return manifest

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder, at once and flushed to disk."""
        with draft_file(folder / MANIFEST_NAME) as draft:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def check_files(self, folder: Path, names: Iterable[str]) -> None:
        """Check that a folder holds exactly the parts of the manifest, unchanged."""
        known = {part.name for part in self.parts}
        for name in names:
            if name not in known:
                raise FileFault(
                    "this file is not in the manifest of the table",
                    where=name_file(folder / name),
                    todo=f"move it out of the folder, or remove {MANIFEST_NAME} to read all files",
                )
        todo, by = "restore it, or remove the folder and write the table again", f", by {MANIFEST_NAME}"
        for part in self.parts:
            check_file(folder / part.name, part.bytes, part.sha256, "a part of the table", todo, by)


def list_differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """List the names of inputs whose values differ."""
    return [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]


def read_manifest(path: Path, kind: type[T], what: str, todo: str, known: int | None = None) -> T:
    """Read a manifest; raise `FileFault` if that is not possible, or if its format is not the `known` one."""
    try:
        with path.open("rb") as file:
            given = msgspec.json.decode(file.read(MAX_MANIFEST_BYTES), type=dict[str, Any])
        if (found := given.get("format", known)) == known:
            return msgspec.convert(given, kind)
    except (OSError, msgspec.DecodeError) as error:
        got = str(error).splitlines()[0]
        raise FileFault(f"{what} cannot be read", where=str(path), got=got, todo=todo) from error
    got, expected = f"format {found}", f"format {known}"
    raise FileFault(f"{what} has another format", where=str(path), got=got, expected=expected, todo=todo)


def check_file(path: Path, size: int, sha256: str, what: str, todo: str, by: str = "") -> None:
    """Raise `FileFault` if a file has not its size or its SHA-256."""
    with explain_failure(f"{what} cannot be read", path, todo):
        found = path.stat().st_size
        digest = compute_sha256(path) if found == size else ""
    if digest != sha256:
        raise FileFault(
            f"{what} was changed or damaged",
            where=str(path),
            got=f"SHA-256 {digest[:12]}" if digest else f"{found:,} bytes",
            expected=f"SHA-256 {sha256[:12]}, {size:,} bytes{by}",
            todo=todo,
        )


def check_parts(folder: Path, files: Iterable[Path]) -> None:
    """Check the files of a table in parts against its manifest."""
    manifest = Manifest.read(folder)
    if not manifest.complete:
        raise FileFault(
            "the table is incomplete: its computation was interrupted",
            where=str(folder),
            got=f"{manifest.rows:,} rows in {len(manifest.parts):,} parts",
            todo="run the command that writes it again; it continues after the last part",
        )
    manifest.check_files(folder, [file.as_posix() for file in files])


def compute_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identify_tables(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Compute the SHA-256 of each table, by its name; "none" for a table that is not given.

    That of a directory covers the relative names and the contents of all its files, see `list_table_files`.
    """
    return {name: "none" if path is None else _identify_table(path) for name, path in paths.items()}


def _identify_table(path: Path) -> str:
    if not path.is_dir():
        with explain_failure("cannot be read", path):
            return compute_sha256(path)
    whole = hashlib.sha256()
    for file in list_table_files(path):
        if (path / file).is_file():
            whole.update(os.fsencode(file) + f"\n{_identify_table(path / file)}\n".encode())
    return whole.hexdigest()
