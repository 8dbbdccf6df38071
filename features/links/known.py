"""The consignments that counted at a given time, and the outcome of each that was valid then.

    1 March 09:00  A arrives
    3 March 09:00  B arrives
    9 March 12:00  A's result nps becomes visible
   12 March 12:00  B is cancelled

A version that was issued before the one that counts does not count, and brings no cancelled consignment back.
When B arrives, A is known without a result. As of 10 March the detection in A is known too. As of 13 March B no longer counts.
The order of events is the order of `features.history.ordering`, so that a trace and the history use the same events.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import normalize_names
from consignments.errors import BadInput, UnknownName
from consignments.timestamps import to_datetime
from consignments.versions import mark_late_versions
from features.history import ordering
from features.history.kernels import RESULTS, Longs
from features.history.ordering import ArrivalEvents, HistoryEvents, Outcomes
from features.history.states import NOT_FINAL

NONE = -1
MAX_SIMILAR_NAMES = 5_000
"""Maximum number of identifiers that are searched for the nearest to an unknown one."""
_SEPARATORS = "[ -]"


@dataclass(frozen=True)
class KnownConsignments:
    """The consignments and outcomes that were known at the time of a trace."""

    rows: Longs  # arrivals that counted, one per consignment, including the traced one
    root: int  # row of the version of the traced consignment that counts
    cancelled: bool  # if the traced one was; other cancelled consignments do not count
    outcome: Longs  # row of the valid outcome of each of `rows`; negative if none was visible
    moment_us: int


def find_known(
    arrivals: ArrivalEvents, outcomes: Outcomes, consignment_id: str, as_of_us: int | None = None
) -> KnownConsignments:
    """Find what was known of all before a consignment arrived, or before `as_of_us`."""
    codes = _IdentifierCodes(arrivals, outcomes)
    root = codes.find(consignment_id)
    events = ordering.order_events(arrivals, outcomes, as_of_us)
    if as_of_us is not None:
        arrived = arrivals.received_us[np.where(events.what == ordering.OUTCOME, 0, events.row)] < as_of_us
        events = events.select((events.what == ordering.OUTCOME) | arrived)
    events = _drop_late_versions(events, codes)
    if as_of_us is None:
        mine = (events.what == ordering.ARRIVAL) & (codes.encode_events(events) == root)
        events = events.select(np.arange(len(mine)) <= np.flatnonzero(mine)[-1])
    return _summarize_events(events, codes, root, as_of_us)


class _IdentifierCodes:
    """A mapping from consignment identifiers, whatever their spelling, to small numbers, shared by arrivals and outcomes."""

    def __init__(self, arrivals: ArrivalEvents, outcomes: Outcomes) -> None:
        self.arrivals, self.outcomes = arrivals, outcomes
        names = [ordering.get_identity(arrivals), ordering.get_identity(outcomes)]
        encoded = pa.concat_arrays(names).dictionary_encode()
        codes = encoded.indices.to_numpy().astype(np.int64)
        self.names = encoded.dictionary
        self.of_arrivals, self.of_outcomes = codes[: len(names[0])], codes[len(names[0]) :]

    def find(self, consignment_id: str) -> int:
        """Find the number of an arrived consignment."""
        # Arguments that are not UTF-8 contain lone surrogates. No identifier has them.
        consignment_id = consignment_id.encode(errors="replace").decode()
        identity = normalize_names(ordering.to_arrow_strings([consignment_id]))[0]
        code = pc.index(self.names, identity.cast(self.names.type)).as_py()
        if code not in self.of_arrivals:
            near = _find_nearest_name(consignment_id, ordering.to_arrow_strings(self.arrivals.consignment_id))
            todo = "check the identifier, and that its table or log is named"
            todo = f"did you mean {near!r}?" if near else todo
            raise UnknownName("unknown consignment", got=repr(consignment_id), todo=todo)
        return int(code)

    def encode_events(self, events: HistoryEvents) -> Longs:
        """Return the number of the consignment of each event."""
        return ordering.select_columns(events, self.of_outcomes, self.of_arrivals, self.of_arrivals)


def _drop_late_versions(events: HistoryEvents, codes: _IdentifierCodes) -> HistoryEvents:
    """Drop the arrivals that do not take the place of an earlier one, not even of a cancelled one."""
    issued_us = codes.arrivals.issued_us
    if issued_us is None:
        return events
    counts = np.ones(len(events.row), dtype=bool)
    arrived = events.what == ordering.ARRIVAL
    rows = events.row[arrived]
    counts[arrived] = ~mark_late_versions(codes.of_arrivals[rows], issued_us[rows])
    return events.select(counts)


def _summarize_events(
    events: HistoryEvents, codes: _IdentifierCodes, root: int, as_of_us: int | None
) -> KnownConsignments:
    """Find the last arrival, the last cancellation and the valid outcome of each consignment."""
    code, place = codes.encode_events(events), np.arange(len(events.row))
    last, gone = np.full((2, len(codes.names)), NONE, dtype=np.int64)
    for what, latest in ((ordering.ARRIVAL, last), (ordering.CANCELLATION, gone)):
        mine = events.what == what
        latest[code[mine]] = place[mine]  # the last of several places of one consignment is kept
    if last[root] < 0:
        first_us = int(codes.arrivals.received_us[codes.of_arrivals == root].min())
        raise BadInput(
            f"{codes.names[root].as_py()} arrived later than this time",
            where="--as-of",
            got="" if as_of_us is None else format_moment(to_datetime(as_of_us)),
            expected=f"a time after {format_moment(to_datetime(first_us))}",
        )
    counting = last > gone
    cancelled = not counting[root]
    counting[root] = True
    outcome = _find_standing(events.row[events.what == ordering.OUTCOME], codes)
    rows = events.row[last[counting]]
    root_row = int(events.row[last[root]])
    moment_us = int(codes.arrivals.received_us[root_row]) if as_of_us is None else as_of_us
    return KnownConsignments(rows, root_row, bool(cancelled), outcome[counting], moment_us)


def _find_standing(rows: Longs, codes: _IdentifierCodes) -> Longs:
    """Find the valid outcome of each consignment: the last by known time, recorded time, sequence and result."""
    standing = np.full(len(codes.names), NONE, dtype=np.int64)
    ranks = [RESULTS.get(codes.outcomes.result[row] or "", NOT_FINAL) for row in rows.tolist()]
    ordered = ordering.sort_outcomes(codes.outcomes, rows[np.argsort(ranks, kind="stable")])
    standing[codes.of_outcomes[ordered]] = ordered
    return standing


def format_moment(moment: datetime) -> str:
    """Format a time for a person, to the second, in UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _find_nearest_name(name: str, known: Any) -> str | None:
    """Find the identifier that is equal except for case, spaces and hyphens; else a similar one that has an equal half."""
    plain = pc.utf8_upper(pc.replace_substring_regex(known, _SEPARATORS, ""))
    wanted = re.sub(_SEPARATORS, "", name).upper()
    equal = pc.index(plain, pa.scalar(wanted, plain.type)).as_py()
    if equal >= 0:
        return str(known[equal])
    half = max(len(wanted) // 2, 1)
    alike = pc.or_(pc.starts_with(plain, wanted[:half]), pc.ends_with(plain, wanted[half:]))
    candidates = known.filter(alike).unique().slice(0, MAX_SIMILAR_NAMES).to_pylist()
    return next(iter(get_close_matches(name, candidates, n=1)), None)
