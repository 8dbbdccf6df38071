"""The errors of npsrisk: one tree, and one way to say what is wrong.

    NpsriskError
    ├── BadInput            the caller can mend it; the command line ends with exit code 2
    │   ├── FileFault       a file: missing, unreadable, cut in half, without a required column
    │   ├── MessageFault    one message: too large, not well formed, hostile, of an unknown kind
    │   ├── UnknownName     an unknown column, key, metric or alias; the nearest known name is given
    │   └── BadSetting      a missing or bad setting or configuration value
    ├── BundleRefused       a model bundle that was altered, is incomplete, or fails its self-test
    ├── PromotionRefused    the gate said no
    └── ServiceFault        the service cannot do its work: its log, its state or its model is not usable

Faults of single rows are values, not exceptions (`consignments.tables.Reject`): a bad row never sinks a good one.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self


class NpsriskError(Exception):
    """Say what is wrong, where, what was got, what was expected, and what to do next.

    Parameters
    ----------
    what : str
        The fault in one clause.
    where, got, expected, todo : str
        Parts of the message; empty parts are left out.

    Examples
    --------
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
    """Something the caller gave and can mend."""


class FileFault(BadInput):
    """A file that cannot be used as a whole; nothing was written."""


class MessageFault(BadInput):
    """One message that cannot be read."""


class UnknownName(BadInput):
    """A name that is not known here."""

    @classmethod
    def from_candidates(cls, name: str, known: Iterable[str], *, kind: str, where: str = "") -> Self:
        """Build the error for `name`, naming the nearest of the `known` names."""
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
    """A missing or bad setting, or a bad value in a configuration file."""


class BundleRefused(NpsriskError):
    """A model bundle that must not be used."""


class PromotionRefused(NpsriskError):
    """The promotion gate said no."""


class ServiceFault(NpsriskError):
    """The service cannot do its work."""
