"""Hunt of a page: what a consignment with a new result, or an alert, shares with those in hand and those that have passed.

What is in hand is ranked twice: by the scores of its arrival, and by the scores that it would get now.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from consignments.errors import NpsriskError
from consignments.records import Alert, Consignment
from consignments.timestamps import US_PER_DAY, convert_us_to_day, to_datetime
from operation.desk.background import BackgroundValue, BackgroundValues
from operation.desk.day_list import DayList, ListRow
from operation.desk.messages import Viewer
from operation.hunting import (
    HUNT_DAYS,
    IN_HAND,
    IN_HAND_DAYS,
    NOT_INSPECTED,
    HuntMatcher,
    HuntTarget,
    SharedCount,
    build_consignment_target,
    count_shared,
)
from operation.second_scores import SecondScorer
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import AlertEvent, DecisionEvent
from serving.event_log.reader import LogReader
from serving.event_log.versions import find_counting_version
from serving.process.settings import Settings

EXCLUDED_FROM_HUNTS = ("features", "reasons")
MAX_RESCORED = 2_000
"""Maximum number of consignments in hand that are scored again, the highest scores first."""
RELEASED = "release"
MAX_HITS, MAX_IN_HAND = 200, 50
"""Maximum numbers of consignments that a page shows."""
MAX_HUNTS = 8
"""Maximum number of hunts whose results are kept."""


class HuntRow(NamedTuple):
    """A consignment of a hunt.

    Attributes
    ----------
    name, spelling : str
    office : str or None
    received_us : int
    state : str
        A key of the table of texts `state`: `in hand`, `not inspected`, `release`, a result, `pending` or `missed`.
    shared : tuple of str
        What it shares with the target, such as `sender_phone`; empty if it is only in hand.
    score_then : float
        Score of its latest decision.
    score_now : float or None
        None if it was not scored again.
    rank_then, rank_now : int or None
        Rank among what is in hand in its office; None if it is not.
    """

    name: str
    spelling: str
    office: str | None
    received_us: int
    state: str
    shared: tuple[str, ...]
    score_then: float
    score_now: float | None = None
    rank_then: int | None = None
    rank_now: int | None = None


class LoggedHunt(NamedTuple):
    """The result of a hunt.

    Attributes
    ----------
    as_of_us : int
    counts : list of SharedCount
    hits : list of HuntRow
        What shares something with the target: in hand first, then the latest first.
    in_hand : list of HuntRow
        All that is in hand, ranked by the scores of now.
    fault : str
        Why nothing was scored again; '' if it was.
    """

    as_of_us: int
    counts: list[SharedCount]
    hits: list[HuntRow]
    in_hand: list[HuntRow]
    fault: str


class LogHunter:
    """A hunter in the log of a service, one hunt at a time.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._url, self._scorer = settings.database_url, SecondScorer(settings)
        self._turn = threading.Lock()

    def hunt(self, name: str, entries: EventCodec, now_us: int, *, alert: bool) -> LoggedHunt | None:
        """Find what shares something with a consignment, or with an alert; None if there is no such target, or its content was deleted.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        now = to_datetime(now_us)
        with self._turn, LogReader.open_to_read(self._url) as log:
            target = find_alert(log, entries, name) if alert else _find_target(log, entries, name, now)
            if target is None:
                return None
            matcher = HuntMatcher(target, now - timedelta(days=HUNT_DAYS))
            found = dict(_read_wanted(log, entries, matcher, target.name, now_us))
            scores, fault = self._score(log, entries, found, now)
        rows = _rank([row._replace(score_now=scores.get(row.name)) for row in found])
        hits = sorted(
            (row for row in rows if row.shared), key=lambda row: (row.state != IN_HAND, -row.received_us)
        )
        in_hand = [row for row in rows if row.state == IN_HAND]
        in_hand.sort(key=lambda row: (row.rank_now or len(rows), row.rank_then or 0, row.name))
        counts = count_shared(((row.shared, row.state) for row in hits), released=RELEASED)
        return LoggedHunt(now_us, counts, hits, in_hand, fault)

    def _score(
        self, log: LogReader, entries: EventCodec, found: dict[HuntRow, Consignment], now: datetime
    ) -> tuple[dict[str, float], str]:
        """Score all hits again, and the highest of what is in hand."""
        ordered = sorted(found, key=lambda row: (not row.shared, -row.score_then))
        chosen = ordered[: sum(bool(row.shared) for row in ordered) + MAX_RESCORED]
        try:
            assert entries.vault is not None
            scores = self._scorer.score(log, entries.vault, [found[row] for row in chosen], now)
        except NpsriskError as fault:
            return {}, fault.what
        return {row.name: score for row, score in zip(chosen, scores, strict=True)}, ""


def find_alert(log: LogReader, entries: EventCodec, alert_id: str) -> HuntTarget | None:
    """Find the latest version of an alert as a target; None if there is none."""
    found: Alert | None = None
    for event in log.read_entries_of(AlertEvent, log.last_sequence):
        alert = entries.alerts.decode(event)
        found = alert if alert.alert_id == alert_id else found
    return None if found is None else HuntTarget(alert_id, "", found, None)


def _find_target(log: LogReader, entries: EventCodec, name: str, now: datetime) -> HuntTarget | None:
    latest = find_counting_version(log.read_consignment_events(name))
    c = None if latest is None else entries.find_consignment(latest)
    return None if c is None else build_consignment_target(c, now)


def _read_wanted(
    log: LogReader, entries: EventCodec, matcher: HuntMatcher, target: str, now_us: int
) -> Iterator[tuple[HuntRow, Consignment]]:
    """Read the consignments of the last days that are in hand or share something with the target, a day at a time."""
    plain, begins_us, today = (
        EventCodec(None, Consignment, ()),
        now_us - HUNT_DAYS * US_PER_DAY,
        convert_us_to_day(now_us),
    )
    for day in range(convert_us_to_day(begins_us), today + 1):
        events = log.read_scored(
            day * US_PER_DAY, (day + 1) * US_PER_DAY, log.last_sequence, EXCLUDED_FROM_HUNTS
        )
        rows = DayList(day, plain)
        rows.apply(events)
        versions = {event.sequence: event for event in events if isinstance(event, DecisionEvent)}
        for row in rows.rows.values():
            version = versions[row.sequence]
            if row.cancelled or row.name == target or not begins_us <= version.at_us <= now_us:
                continue
            c = entries.find_consignment(version)
            if c is None:
                continue
            shared, state = matcher.find_shared(c), _find_state(row, version.at_us, now_us)
            if shared or state == IN_HAND:
                yield (
                    HuntRow(row.name, row.spelling, row.office, version.at_us, state, shared, row.score),
                    c,
                )


def _find_state(row: ListRow, received_us: int, now_us: int) -> str:
    if row.result is not None:
        return row.result
    if row.action == RELEASED:
        return RELEASED
    return IN_HAND if received_us >= now_us - IN_HAND_DAYS * US_PER_DAY else NOT_INSPECTED


def _rank(rows: list[HuntRow]) -> list[HuntRow]:
    """Rank what is in hand within its office, by the scores then and now."""
    waiting = [row for row in rows if row.state == IN_HAND]
    then = _number([(row.office, row.score_then, row.name) for row in waiting])
    now = _number([(row.office, row.score_now, row.name) for row in waiting if row.score_now is not None])
    return [row._replace(rank_then=then.get(row.name), rank_now=now.get(row.name)) for row in rows]


def _number(scored: list[tuple[str | None, float, str]]) -> dict[str, int]:
    """Number consignments by office, the highest score first."""
    seen: Counter[str | None] = Counter()
    places = {}
    for office, _, name in sorted(scored, key=lambda each: (-each[1], each[2])):
        seen[office] += 1
        places[name] = seen[office]
    return places


class Hunts:
    """The hunts of the last pages; each is read in the background.

    Parameters
    ----------
    hunter : LogHunter
    load_entries : callable
        Returns the event codec, with a vault.
    """

    def __init__(self, hunter: LogHunter, load_entries: Callable[[], EventCodec]) -> None:
        self._hunter, self._load_entries = hunter, load_entries
        self._hunts: BackgroundValues[tuple[str, bool], LoggedHunt | None] = BackgroundValues(MAX_HUNTS)
        self._now_us = 0

    def start(self, name: str, alert: bool, now_us: int) -> BackgroundValue[LoggedHunt | None] | None:
        """Start a hunt, or return the one of an earlier page; None if too many hunts are being read."""
        self._now_us = max(self._now_us, now_us)
        return self._hunts.start(
            (name, alert), lambda: self._hunter.hunt(name, self._load_entries(), self._now_us, alert=alert)
        )


def list_hunt_values(found: LoggedHunt | None, viewer: Viewer) -> dict[str, Any]:
    """List the values of the page of a hunt, without consignments of offices that the viewer may not see."""
    hits = [] if found is None else [row for row in found.hits if viewer.may_see(row.office)]
    in_hand = [] if found is None else [row for row in found.in_hand if viewer.may_see(row.office)]
    return {
        "hunt": found,
        "days": HUNT_DAYS,
        "in_hand_days": IN_HAND_DAYS,
        "hits": hits[:MAX_HITS],
        "foreign": 0 if found is None else len(found.hits) - len(hits),
        "in_hand": in_hand[:MAX_IN_HAND],
        "in_hand_count": len(in_hand),
    }
