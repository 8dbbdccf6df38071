"""Errors of npsrisk: one class tree and one message format.

    NpsriskError
    ├── BadInput            the caller can correct it; the command line ends with exit code 2
    │   ├── FileFault       a file: missing, unreadable, truncated, without a required column
    │   ├── MessageFault    one message: too large, not well formed, hostile, of an unknown kind
    │   ├── UnknownName     an unknown column, key, metric or alias; the message suggests the nearest known name
    │   └── BadSetting      a missing or invalid setting or configuration value
    ├── BundleRefused       a model bundle that was changed, is incomplete, or fails its self-test
    ├── PromotionRefused    the promotion gate refused a model
    └── ServiceFault        the service cannot work: its log, its state or its model cannot be used
        └── LogInUse        another process writes the event log

Errors of single rows are values, not exceptions (`Reject`), so an invalid row never stops valid ones.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Self


class NpsriskError(Exception):
    """An error whose message tells what is wrong, where, what was got, what was expected, and what to do; empty parts are omitted.

    >>> print(BadInput("bad time", where="outcomes row 12, known_at", got="'soon'", expected="ISO 8601", todo="correct it"))
    outcomes row 12, known_at: bad time; got 'soon'; expected ISO 8601; correct it
    """

    def __init__(
        self, what: str, *, where: str = "", got: str = "", expected: str = "", todo: str = ""
    ) -> None:
        self.what, self.where, self.got, self.expected, self.todo = what, where, got, expected, todo
        parts = [f"{where}: {what}" if where else what]
        parts += [f"got {got}"] if got else []
        parts += [f"expected {expected}"] if expected else []
        parts += [todo] if todo else []
        super().__init__("; ".join(parts))


class BadInput(NpsriskError):
    """An invalid input that the caller can correct."""


class FileFault(BadInput):
    """A file that cannot be used as a whole; nothing was written."""


class MessageFault(BadInput):
    """A message that cannot be read."""


class UnknownName(BadInput):
    """An unknown name of a column, key, metric, setting or alias."""

    @classmethod
    def from_candidates(cls, name: str, known: Iterable[str], *, kind: str, where: str = "") -> Self:
        """Build the error for `name`, with the nearest of the `known` names as a suggestion."""
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        return cls(
            f"unknown {kind}",
            where=where,
            got=repr(name),
            expected=f"one of {', '.join(names)}" if len(names) <= 20 else "",
            todo=f"did you mean {near[0]!r}?" if near else "check the spelling",
        )


class BadSetting(BadInput):
    """A missing or invalid setting, or an invalid value in a configuration file."""


class BundleRefused(NpsriskError):
    """A model bundle that must not be used."""


class PromotionRefused(NpsriskError):
    """A refusal of the promotion gate."""


class ServiceFault(NpsriskError):
    """A fault that keeps the service from working."""

    def format_public(self, todo: str = "try again") -> str:
        """Format what is wrong and what to do, without the place, which may name files and databases."""
        return f"{self.what}; {self.todo or todo}"


class LogInUse(ServiceFault):
    """Another process writes the event log."""

    @classmethod
    def by(cls, writer: str) -> Self:
        """Build the error; `writer` names the process and its machine, if that is known."""
        return cls(
            "another process writes this event log",
            where="NPSRISK_DATABASE_URL",
            got=writer,
            todo="stop that process, set another database, or set NPSRISK_STANDBY to stand by",
        )


@contextmanager
def explain_failure(what: str, where: Path, todo: str = "") -> Iterator[None]:
    """Raise `FileFault` for an error of the operating system."""
    try:
        yield
    except OSError as error:
        got = error.strerror or str(error).splitlines()[0]
        raise FileFault(what, where=name_file(where), got=got, todo=todo) from error


def name_file(path: Path) -> str:
    """Return the name of a file for reports and stores; bytes of it that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def parse_validation_message(message: str) -> tuple[str, str]:
    """Split a message of msgspec into the place of the invalid value and the fault, a clause."""
    fault, _, place = message.partition(" - at `$")
    return place.strip("`.") or "top level", fault[:1].lower() + fault[1:]


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row or message. `row` may hold personal data: it goes only to the file of rejects."""

    place: str
    identifier: str
    column: str
    reason: str
    row: str = field(default="", repr=False)

    def __str__(self) -> str:
        who = f" ({self.identifier})" if self.identifier else ""
        where = f", {self.column}" if self.column else ""
        return f"{self.place}{who}{where}: {self.reason}"
