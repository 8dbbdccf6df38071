"""Rejects: errors of single rows or messages, as values instead of exceptions, so that valid rows are still processed."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row or message.

    Attributes
    ----------
    place : str
        Its place, for example `outcomes.csv row 12`. Rows are counted without the header, JSON Lines by line.
    identifier : str
        Its `consignment_id` or `alert_id`; empty if it has none.
    column : str
        The invalid column; several are separated by commas; empty if the whole row is invalid.
    reason : str
        What is wrong; it never contains personal data.
    row : str
        The original row, as JSON or as the text of the line. It may contain personal data: it is written only to the
        file of rejects that the caller requested, and never printed.

    Examples
    --------
    >>> print(Reject("outcomes.csv row 12", "RB123456785GB", "known_at", "bad time"))
    outcomes.csv row 12 (RB123456785GB), known_at: bad time
    """

    place: str
    identifier: str
    column: str
    reason: str
    row: str = field(default="", repr=False)

    def __str__(self) -> str:
        who = f" ({self.identifier})" if self.identifier else ""
        where = f", {self.column}" if self.column else ""
        return f"{self.place}{who}{where}: {self.reason}"
