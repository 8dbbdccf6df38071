"""The report of a trace, as text and as plain values. It has personal data only if values are given."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from consignments.timestamps import NO_TIME, convert_us_to_day, to_datetime
from consignments.visibility import FINAL_RESULTS
from features.links.identifiers import LINK_IDENTIFIERS
from features.links.known import format_moment
from features.links.trace import (
    NO_RESULT,
    WINDOW_DAYS,
    ConsignmentLink,
    LinkedConsignment,
    LinkTrace,
    SharedIdentifier,
)

ReadConsignments = Callable[[NDArray[np.int64]], Sequence[Consignment]]
"""A function that reads the consignments of rows of a link table, in order. The rows are sorted and distinct."""
MAX_OTHERS_IN_TEXT = 30  # maximum number of linked consignments without a detection that the text lists
RESULT_TEXTS = {
    "nps": "NPS found",
    "controlled_drug": "controlled drug found",
    "other_offence": "another offence found",
    "clear": "inspected, nothing found",
    "pending": "result pending",
    NO_RESULT: "selected, without a result",
}


class TraceReport:
    """The report of a trace, with each identifier as it was written (personal data) if values are given."""

    def __init__(self, trace: LinkTrace, values: Sequence[str] = ()) -> None:
        self.trace, self._values = trace, values
        self._root = trace.consignments[0]

    def to_dict(self) -> dict[str, Any]:
        """Convert the trace to a graph of plain values, for JSON."""
        trace = self.trace
        return {
            "consignment_id": self._root.consignment_id,
            "as_of": _format_time(trace.known.moment_us),
            "own_moment": not trace.as_of_given,
            "cancelled": trace.known.cancelled,
            "limits": trace.limits._asdict(),
            "left_out": trace.left_out,
            "nodes": [self._build_node(c) for c in trace.consignments],
            "edges": [_build_edge(link) for link in trace.links],
            "identifiers": [self._build_identifier(place) for place in range(len(trace.identifiers))],
        }

    def to_text(self) -> str:
        """Describe the trace in sentences, one per line."""
        return "\n".join(self._write_lines())

    def _build_node(self, c: LinkedConsignment) -> dict[str, Any]:
        return {
            "consignment_id": c.consignment_id,
            "distance": c.distance,
            "received_at": _format_time(c.received_us),
            "days_before": self._count_days_before(c),
            "result": c.result,
            "visible_at": _format_time(c.visible_us),
        }

    def _build_identifier(self, place: int) -> dict[str, Any]:
        found = self.trace.identifiers[place]
        value = {"value": self._values[place]} if self._values else {}
        kind = LINK_IDENTIFIERS[found.column].kind
        return {"kind": kind, "consignments": found.consignments, "followed": found.followed, **value}

    def _write_lines(self) -> Iterator[str]:
        trace, root = self.trace, self._root
        moment = format_moment(to_datetime(trace.known.moment_us))
        yield (
            f"{root.consignment_id}, received {format_moment(to_datetime(root.received_us))}, as of "
            + (moment if trace.as_of_given else "that time")
            + f": {_count(len(trace.consignments) - 1, 'linked consignment')}, "
            + f"{sum(c.found for c in trace.consignments[1:]):,} of them with a detection."
        )
        if trace.known.cancelled:
            yield f"{root.consignment_id} was cancelled by then; the links are those before its cancellation."
        if root.result is not None:
            yield f"{root.consignment_id}: {_format_outcome(root)}."
        yield from self._write_links()
        yield from self._write_shared_by_many()
        if trace.left_out:
            yield (
                f"Limited to {_count(trace.limits.consignments, 'consignment')}: at least {trace.left_out:,} more linked "
                "consignments and their links are left out."
            )

    def _write_links(self) -> Iterator[str]:
        """Write one sentence per linked consignment: all detections, then at most `MAX_OTHERS_IN_TEXT` others."""
        of_targets: dict[str, list[ConsignmentLink]] = {}
        for link in self.trace.links:
            of_targets.setdefault(link.target.consignment_id, []).append(link)
        finds = [links for links in of_targets.values() if links[0].target.found]
        others = [links for links in of_targets.values() if not links[0].target.found]
        yield from map(self._write_link, [*finds, *others[:MAX_OTHERS_IN_TEXT]])
        if len(others) > MAX_OTHERS_IN_TEXT:
            more = _count(len(others) - MAX_OTHERS_IN_TEXT, "more linked consignment")
            yield f"{more} without a known detection; --json lists them."

    def _write_link(self, links: Sequence[ConsignmentLink]) -> str:
        """Describe the first link of a consignment, and the number of its other links."""
        first, target = links[0], links[0].target
        shared = _join_phrases(list(dict.fromkeys(self._write_shared(each) for each in first.shared)))
        further = f" (which is linked to {len(links) - 1:,} more of these)" if len(links) > 1 else ""
        return (
            f"{first.source.consignment_id} shares {shared} with {target.consignment_id}{further}, "
            f"received {to_datetime(target.received_us):%Y-%m-%d}, {self._write_days(target)}: {_format_outcome(target)}."
        )

    def _write_shared(self, shared: SharedIdentifier) -> str:
        mine, theirs = LINK_IDENTIFIERS[shared.source_column], LINK_IDENTIFIERS[shared.target_column]
        text = f"its {mine.noun}"
        if shared.source_column != shared.target_column:
            text += f" (there the {theirs.noun})"
        return f"{text} [{self._values[shared.identifier]}]" if self._values else text

    def _write_shared_by_many(self) -> Iterator[str]:
        names = {c.row: c.consignment_id for c in self.trace.consignments}
        for place, found in enumerate(self.trace.identifiers):
            if not found.followed:
                value = f" [{self._values[place]}]" if self._values else ""
                yield (
                    f"Not followed: the {LINK_IDENTIFIERS[found.column].noun} of {names[found.row]}{value}, which "
                    f"{found.consignments:,} consignments had in the last {WINDOW_DAYS} days "
                    f"(more than {self.trace.limits.sharing:,})."
                )

    def _write_days(self, c: LinkedConsignment) -> str:
        days = self._count_days_before(c)
        if days == 0:
            return "on the same day"
        return f"{_count(abs(days), 'day')} {'earlier' if days > 0 else 'later'}"

    def _count_days_before(self, c: LinkedConsignment) -> int:
        """Count the UTC days from a consignment to the traced one."""
        return convert_us_to_day(self._root.received_us) - convert_us_to_day(c.received_us)


def read_values(trace: LinkTrace, read: ReadConsignments) -> list[str]:
    """Read each identifier of a trace as it was written. The result is personal data."""
    rows = np.unique(np.array([found.row for found in trace.identifiers], dtype=np.int64))
    consignments = dict(zip(rows.tolist(), read(rows), strict=True))
    return [LINK_IDENTIFIERS[each.column].format_value(consignments[each.row]) for each in trace.identifiers]


def _build_edge(link: ConsignmentLink) -> dict[str, Any]:
    return {
        "from": link.source.consignment_id,
        "to": link.target.consignment_id,
        "shared": [
            {
                "identifier": each.identifier,
                "from": LINK_IDENTIFIERS[each.source_column].noun,
                "to": LINK_IDENTIFIERS[each.target_column].noun,
            }
            for each in link.shared
        ],
    }


def _format_outcome(c: LinkedConsignment) -> str:
    if c.result is None:
        return "no inspection known"
    text = RESULT_TEXTS[c.result]
    return f"{text}, known since {to_datetime(c.visible_us):%Y-%m-%d}" if c.result in FINAL_RESULTS else text


def _format_time(us: int) -> str | None:
    return None if us == NO_TIME else to_datetime(us).isoformat()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _join_phrases(phrases: Sequence[str]) -> str:
    """Join phrases to a list in a sentence: a, b and c."""
    *others, last = phrases
    return f"{', '.join(others)} and {last}" if others else last
