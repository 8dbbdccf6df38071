"""The table of a run, and the report of it: what was read, which doubts there are, and how full each column is by month.

Rules change and fields shift: a column that fills from one month to the next says more of a regulation than of its senders.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from consignments.messages.linking import Row
from consignments.messages.parsed import EXTRA_COLUMNS
from consignments.messages.reading import IGNORED_PREFIX, NOTE_PREFIX, LinkResult
from consignments.messages.spool import Spool
from consignments.messages.states import EVENT_COLUMNS, StateRow
from consignments.records import Consignment, get_fields
from consignments.tables import build_frame
from consignments.validation import SEQUENCE

CHUNK_ROWS = 10_000
MAX_SHOWN_LINES = 10
FILLED_COLUMNS = tuple(
    each.name
    for each in get_fields(Consignment)
    if not each.required and each.name not in ("cancelled_at", "quality")
)


@dataclass
class MessageReport:
    """Report of a run."""

    kinds: dict[str, int] = field(default_factory=dict)
    consignments: int = 0
    levels: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    quality: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    months: dict[str, int] = field(default_factory=dict)
    filled: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """Messages read, those rejected before their kind was known not included."""
        return sum(self.kinds.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """Format the report as text."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.items()) or "none"
        lines = [f"messages: {kinds}; {self.rejected:,} rejected"]
        levels = ", ".join(f"{count:,} {level}" for level, count in self.levels.items())
        lines.append(f"consignments: {self.consignments:,} rows" + (f" ({levels})" if levels else ""))
        if self.repeats:
            lines.append(f"  {self.repeats:,} retransmissions changed nothing")
        lines += _list_counts("  ", self.changes)
        lines += _list_counts("  answers of customs: ", self.states)
        lines += _list_counts("  ignored: ", self.ignored)
        lines += _list_counts("  rejected: ", self.reasons)
        lines += _list_counts("  noted: ", self.notes)
        if self.quality:
            lines.append("quality codes, in rows:")
            lines += [f"  {count:,} {code}" for code, count in self.quality.items()]
        if self.warnings:
            lines.append("warnings about a column, in rows:")
            lines += [f"  {count:,} {warning}" for warning, count in self.warnings.items()]
        lines += self._list_fill()
        return "\n".join(lines)

    def _list_fill(self) -> list[str]:
        """Show how full each column is, by month if there are several."""
        months = list(self.months)[-6:]
        if not months:
            return []
        width = max(map(len, self.filled), default=0)
        lines = [f"{'filled, by month':<{width + 2}} " + " ".join(f"{month:>8}" for month in months)]
        for name, shares in self.filled.items():
            if any(shares.values()):
                lines.append(
                    f"  {name:<{width}} " + " ".join(f"{shares.get(month, 0):>8.0%}" for month in months)
                )
        never = [name for name, shares in self.filled.items() if not any(shares.values())]
        return [*lines, *([f"  never given: {', '.join(never)}"] if never else [])]


def _list_counts(lead: str, counts: dict[str, int]) -> list[str]:
    shown = [f"{lead}{count:,} x {what}" for what, count in list(counts.items())[:MAX_SHOWN_LINES]]
    hidden = len(counts) - MAX_SHOWN_LINES
    return [*shown, f"{lead}and {hidden} further kinds"] if hidden > 0 else shown


def start_report(spool: Spool, linked: LinkResult) -> MessageReport:
    """Begin the report with all that is known before the table is written."""
    kinds, ignored, notes = Counter[str](), Counter[str](), Counter[str]()
    for kind, count in spool.read_counts().items():
        if kind.startswith(IGNORED_PREFIX):
            ignored[kind.removeprefix(IGNORED_PREFIX)] += count
        elif kind.startswith(NOTE_PREFIX):
            notes[kind.removeprefix(NOTE_PREFIX)] += count
        else:
            kinds[kind] += count
    reasons = Counter(reason.split(";")[0] for _, _, reason in spool.read_rejects())
    return MessageReport(
        kinds=dict(kinds.most_common()),
        repeats=linked.repeats,
        changes={what: count for what, count in linked.counts.items() if what != "new"},
        states=dict(Counter(str(state.state) for state in linked.states).most_common()),
        ignored=dict(ignored.most_common()),
        rejected=reasons.total(),
        reasons=dict(reasons.most_common()),
        notes=dict(notes.most_common()),
    )


def build_table(
    spool: Spool,
    linked: LinkResult,
    report: MessageReport,
    complete: Callable[[Consignment], Consignment] = lambda record: record,
) -> Iterator[pd.DataFrame]:
    """Build the table of all rows in pieces, at least one, each row completed; complete the report with them."""
    extras = [name for name in EXTRA_COLUMNS if name in linked.extras]
    counter = _FillCounter()
    start = 0
    for rows in _cut_chunks(spool.read_rows()):
        for row in rows:
            row.record = complete(row.record)
        frame = _build_chunk(rows, extras)
        if linked.repeated:
            frame[SEQUENCE] = np.arange(start + 1, start + len(frame) + 1)
        start += len(frame)
        counter.add(rows, frame)
        yield frame
    counter.complete(report)


def _cut_chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Cut rows into chunks, at least one."""
    chunk = list(islice(rows, CHUNK_ROWS))
    yield chunk
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk


def _build_chunk(rows: list[Row], extras: list[str]) -> pd.DataFrame:
    frame = build_frame([row.record for row in rows], Consignment).drop(columns=SEQUENCE, errors="ignore")
    for name in extras:
        frame[name] = pd.array([row.extras.get(name) for row in rows], dtype=pd.StringDtype(na_value=np.nan))
    return frame


class _FillCounter:
    """Counts rows, values and codes of a table in pieces."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._given: Counter[tuple[str, str]] = Counter()
        self._levels: Counter[str] = Counter()
        self._quality: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()

    def add(self, rows: list[Row], frame: pd.DataFrame) -> None:
        for row in rows:
            self._levels[row.record.level or "item"] += 1
            self._quality.update(row.record.quality or ())
            self._warnings.update({f"{each.field}: {each.code}" for each in row.warnings})
        if frame.empty:
            return
        months = frame["received_at"].dt.strftime("%Y-%m")
        self._rows.update(months)
        given = frame[list(FILLED_COLUMNS)].notna().groupby(months).sum()
        for month, counts in given.iterrows():
            for name, count in counts.items():
                self._given[str(name), str(month)] += int(count)

    def complete(self, report: MessageReport) -> None:
        report.consignments = self._rows.total()
        report.levels = dict(self._levels.most_common())
        report.quality = dict(self._quality.most_common())
        report.warnings = dict(self._warnings.most_common())
        report.months = dict(sorted(self._rows.items()))
        report.filled = {
            name: {month: self._given[name, month] / rows for month, rows in report.months.items()}
            for name in FILLED_COLUMNS
        }


def build_event_frame(states: list[StateRow]) -> pd.DataFrame:
    """Build the table of the states that customs answered."""
    text = pd.StringDtype(na_value=np.nan)
    frame = pd.DataFrame({name: [getattr(state, name) for state in states] for name in EVENT_COLUMNS})
    kinds = {name: "datetime64[us, UTC]" if name == "issued_at" else text for name in EVENT_COLUMNS}
    return frame.astype(kinds)
