"""A fault of one row or one message: a value, not an exception, so that a bad row never sinks a good one."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reject:
    """One row, or one message, that was left out.

    Attributes
    ----------
    place : str
        Where it stands, as `outcomes.csv row 12`; the header is not counted, JSON Lines are counted by line.
    identifier : str
        Its `consignment_id` or `alert_id`; empty where it has none.
    column : str
        The column at fault; several are separated by commas; empty where the row as a whole is at fault.
    reason : str
        What is wrong; never shows personal data.
    row : str
        The row as it was given, as JSON or as the text of the line. It may hold personal data: it goes into the
        file of rejects that the caller asked for, and is never printed.

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
