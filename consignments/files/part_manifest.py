"""Manifests of tables in parts: which files belong to a table, with rows and SHA-256 of each, and what it was computed from.

A folder of parts with a manifest is read as a whole or not at all: a missing, additional or changed part is an error.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import msgspec

from consignments.errors import FileFault, explain_failure, name_file
from consignments.files.file_listing import list_table_files
from consignments.files.whole_files import flush_file, flush_folder

MANIFEST_NAME = "_manifest.json"
MANIFEST_FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 26


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
    format: int = MANIFEST_FORMAT

    @property
    def rows(self) -> int:
        """Return the number of rows of the finished parts."""
        return sum(part.rows for part in self.parts)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a folder."""
        path = folder / MANIFEST_NAME
        try:
            with path.open("rb") as file:
                manifest = msgspec.json.decode(file.read(MAX_MANIFEST_BYTES), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise FileFault(
                "the manifest of the table cannot be read",
                where=str(path),
                got=str(error).splitlines()[0],
                todo="remove the folder and write the table again",
            ) from error
        if manifest.format != MANIFEST_FORMAT:
            raise FileFault(
                "the manifest has another format",
                where=str(path),
                got=f"format {manifest.format}",
                expected=f"format {MANIFEST_FORMAT}",
                todo="write the table again with this version of npsrisk",
            )
        return manifest

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder, atomically and flushed to disk."""
        draft = folder / f".{MANIFEST_NAME}"
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
            flush_file(file)
        draft.replace(folder / MANIFEST_NAME)
        flush_folder(folder)

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
        for part in self.parts:
            self._check_part(folder / part.name, part)

    def _check_part(self, path: Path, part: PartEntry) -> None:
        todo = "restore it, or remove the folder and write the table again"
        with explain_failure("a part of the table cannot be read", path, todo):
            change = find_change(path, part.bytes, part.sha256)
        if change is not None:
            raise FileFault(
                "a part of the table was changed or damaged",
                where=str(path),
                got=change,
                expected=f"SHA-256 {part.sha256[:12]}, {part.bytes:,} bytes, by {MANIFEST_NAME}",
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


def find_change(path: Path, size: int, sha256: str) -> str | None:
    """Return what a file has in place of its size or its SHA-256, for a message; None if it is unchanged."""
    found = path.stat().st_size
    if found != size:
        return f"{found:,} bytes"
    digest = compute_sha256(path)
    return None if digest == sha256 else f"SHA-256 {digest[:12]}"


def identify_tables(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Compute the SHA-256 of each table, by its name; "none" for a table that is not given.

    That of a directory covers the relative names and the contents of all its files, see `list_table_files`.
    """
    return {name: "none" if path is None else _identify_table(path) for name, path in paths.items()}


def _identify_table(path: Path) -> str:
    if not path.is_dir():
        return _identify_file(path)
    whole = hashlib.sha256()
    for file in list_table_files(path):
        if (path / file).is_file():
            whole.update(os.fsencode(file) + f"\n{_identify_file(path / file)}\n".encode())
    return whole.hexdigest()


def _identify_file(path: Path) -> str:
    with explain_failure("cannot be read", path):
        return compute_sha256(path)
