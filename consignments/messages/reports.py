"""The table of a run, and the report of it: what was read, which doubts there are, and how full each column is by month.

Rules change and fields shift: a column that fills from one month to the next says more of a regulation than of its senders.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import INTEGER, TEXT
from consignments.messages.linking import Linker
from consignments.messages.parsed import EXTRA_COLUMNS, StateRow
from consignments.messages.spool import Spool, Topic
from consignments.records import Consignment, get_fields
from consignments.tables import CHUNK_ROWS, build_rows
from consignments.validation import SEQUENCE

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
            lines.append("warnings, in rows:")
            shown = list(self.warnings.items())[:MAX_SHOWN_LINES]
            lines += [f"  {count:,} {warning}" for warning, count in shown]
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
                shown = " ".join(f"{shares.get(month, 0):>8.0%}" for month in months)
                lines.append(f"  {name:<{width}} {shown}")
        never = [name for name, shares in self.filled.items() if not any(shares.values())]
        return [*lines, *([f"  never given: {', '.join(never)}"] if never else [])]


def _list_counts(lead: str, counts: dict[str, int]) -> list[str]:
    shown = [f"{lead}{count:,} x {what}" for what, count in list(counts.items())[:MAX_SHOWN_LINES]]
    hidden = len(counts) - MAX_SHOWN_LINES
    return [*shown, f"{lead}and {hidden} further kinds"] if hidden > 0 else shown


def start_report(spool: Spool, linker: Linker, states: list[StateRow]) -> MessageReport:
    """Begin the report with all that is known before the table is written."""
    reasons = Counter(reject.reason.split(";")[0] for reject in spool.read(Topic.REJECT))
    return MessageReport(
        kinds=spool.count_texts(Topic.KIND),
        repeats=linker.repeats,
        changes=dict(linker.changes),
        states=dict(Counter(str(state.state) for state in states).most_common()),
        ignored=spool.count_texts(Topic.IGNORED),
        rejected=reasons.total(),
        reasons=dict(reasons.most_common()),
        notes=spool.count_texts(Topic.NOTE),
    )


def build_table(
    linker: Linker,
    report: MessageReport,
    complete: Callable[[Consignment], Consignment] = lambda record: record,
) -> Iterator[pa.Table]:
    """Build the table of all rows in pieces, at least one, each row completed; complete the report with them."""
    extras = [name for name in EXTRA_COLUMNS if name in linker.extras]
    levels, quality, warnings = Counter[str](), Counter[str](), Counter[str]()
    months, given = Counter[str](), Counter[tuple[str, str]]()
    rows, start = iter(linker.rows.values()), 0
    while (chunk := list(islice(rows, CHUNK_ROWS))) or not start:
        records = [complete(row.record) for row in chunk]
        table = build_rows(records, get_fields(Consignment))
        for name in extras:
            table = table.append_column(name, pa.array([row.extras.get(name) for row in chunk], TEXT))
        if linker.changes["amended"] or linker.changes["houses amended by their master"]:
            numbers = pa.array(range(start + 1, start + len(table) + 1), INTEGER)
            table = table.append_column(SEQUENCE, numbers)
        levels.update(record.level or "item" for record in records)
        quality.update(code for record in records for code in record.quality or ())
        for row in chunk:
            names = (f"{each.field}: {each.code}" if each.field else each.text for each in row.warnings)
            warnings.update(dict.fromkeys(names).keys())
        dated = table.append_column("month", pc.strftime(table.column("received_at"), "%Y-%m"))
        months.update(dated.column("month").to_pylist())
        counted = dated.group_by("month").aggregate([(name, "count") for name in FILLED_COLUMNS])
        for row in counted.to_pylist():
            given.update({(name, row["month"]): row[f"{name}_count"] for name in FILLED_COLUMNS})
        yield table
        start += max(len(chunk), 1)
    report.consignments = months.total()
    counted = (dict(each.most_common()) for each in (levels, quality, warnings))
    report.levels, report.quality, report.warnings = counted
    report.months = dict(sorted(months.items()))
    report.filled = {
        name: {month: given[name, month] / number for month, number in report.months.items()}
        for name in FILLED_COLUMNS
    }
