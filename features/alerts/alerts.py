"""Alerts of partners, matched with consignments at the time of scoring.

An alert issued on Monday that expires on Friday matches consignments received from Monday to Thursday night, if all its
patterns match. An alert without a pattern matches nothing. Each alert is indexed by its most selective pattern. A
consignment is therefore compared with few alerts, even if many are active.

An alert may have indicators too: keyed hashes of the parties of a partner's seizure. They match by themselves, if a party has one
of them, and have their own features. They count less with every day since the seizure.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.records import Alert, Consignment
from consignments.timestamps import to_us
from features.indicators.matching import IndicatorIndex, IndicatorMatch, read_prefix
from features.indicators.operation_keys import OperationKeys, get_installed_keys
from features.normalization.compiling import Int
from features.normalization.normal_forms import (
    NormalForms,
    clean_hs,
    fold_to_ascii,
    make_letter_table,
    split_place_words,
)
from features.route import join_places
from features.rows.alert_kernels import (
    BUCKETS,
    CONSIGNEE_STREETS,
    CONSIGNEES,
    DEPARTURES,
    ENDS,
    GRAM_LETTERS,
    PARTS,
    PLACES,
    PRODUCTS,
    SENDER_STREETS,
    SENDERS,
    STARTS,
    WORDS,
    AlertTables,
    AlertValues,
)
from features.rows.described_rows import PartyDetails, describe_party, split_street_words
from features.spec import Feature

NO_PATTERN = (0.0, nan, 0.0, 0.0, 0.0, 0.0)
NO_INDICATOR = (0.0, 0.0, nan, nan, 0.0)
NO_MATCH = NO_PATTERN + NO_INDICATOR
MIN_TIME, MAX_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ONE_DAY = timedelta(days=1)
REASON = "operation_alert"
INDICATOR_REASON = "partner_indicator"
HALF_LIFE_DAYS = 30.0
"""Days after which a match with an indicator counts half (assumed)."""
WILDCARD = "*"
KOREA = "KR"
_LETTERS, _LETTERS_AND_STARS = make_letter_table(), make_letter_table(WILDCARD)
# 3-CMC and a-PVP are one word each, tea-bag is two.
_HYPHEN_IN_NAME = re.compile(r"(?<=\d)-(?=\w)|(?<=\w)-(?=\d)|(?<=\b[a-z])-(?=\w)")

Word = tuple[str, ...]
"""A word of a pattern, split at its wildcards. Any letters may stand between the parts."""


class StreetWords(NamedTuple):
    """The words of an alert's address line, normalized with the Korean rules for street names and with the general rules."""

    korean: frozenset[str]
    other: frozenset[str]


class AlertPattern(NamedTuple):
    """The patterns of an alert in normal form. An empty pattern matches every consignment."""

    sender: str
    consignee: str
    sender_street: StreetWords | None
    consignee_street: StreetWords | None
    words: tuple[Word, ...]
    hs: str
    departure: str
    places: str


class AlertMatch(NamedTuple):
    """An alert that matches a consignment.

    Attributes
    ----------
    alert : Alert
    shared : tuple of str
        Identifiers that are among its indicators, for example `sender_phone`; empty if it matches by its patterns alone.
    """

    alert: Alert
    shared: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _AlertVersion:
    """A version of an alert. `until` is the sequence in the log of the version that replaced it."""

    alert: Alert
    pattern: AlertPattern
    sequence: int | None
    until: int | None = None

    def is_active(self, moment: datetime, sequence: int | None) -> bool:
        if not self.alert.issued_at <= moment < _get_expiry(self.alert):
            return False
        if sequence is None:
            return self.until is None
        if self.sequence is not None and self.sequence >= sequence:
            return False
        return self.until is None or sequence <= self.until


class Alerts:
    """The alerts known so far, and the features of consignments that match them.

    Parameters
    ----------
    alerts : iterable of Alert
    sequences : iterable of int, optional
        Their sequence numbers in the log, in the same order.
    keys : OperationKeys, optional
        Keys of the operations whose indicators are compared. Default: the installed ones.
    """

    features = (
        Feature("alerts.matching", "count", REASON),
        Feature("alerts.days_since_issued", "days", REASON),
        Feature("alerts.party", "flag", REASON),
        Feature("alerts.goods", "flag", REASON),
        Feature("alerts.route", "flag", REASON),
        Feature("alerts.closeness", "count", REASON),
        Feature("alerts.sender_indicators", "count", INDICATOR_REASON),
        Feature("alerts.consignee_indicators", "count", INDICATOR_REASON),
        Feature("alerts.days_since_sender_indicator", "days", INDICATOR_REASON),
        Feature("alerts.days_since_consignee_indicator", "days", INDICATOR_REASON),
        Feature("alerts.indicator_strength", "points", INDICATOR_REASON),
    )

    def __init__(
        self,
        alerts: Iterable[Alert] = (),
        sequences: Iterable[int] | None = None,
        keys: OperationKeys | None = None,
    ) -> None:
        self._index = _AlertIndex()
        self._indicators: IndicatorIndex[_AlertVersion] = IndicatorIndex(
            get_installed_keys() if keys is None else keys
        )
        self._current: dict[str, _AlertVersion] = {}
        self._first_issue, self._last_end = MAX_TIME, MIN_TIME
        places = iter(sequences) if sequences is not None else None
        for alert in alerts:
            self.add(alert, next(places) if places is not None else None)

    def __len__(self) -> int:
        return len(self._current)

    def add(self, alert: Alert, sequence: int | None = None) -> None:
        """Add an alert. It replaces an earlier version of the same alert; a repeat changes nothing.

        Parameters
        ----------
        alert : Alert
        sequence : int, optional
            Its sequence number in the log. Consignments before it are not compared with it.
        """
        known = self._current.get(alert.alert_id)
        if known is not None:
            if known.alert == alert:
                return
            if sequence is None:
                self._index.remove(known)
                self._indicators.remove(known, known.alert.indicators or ())
            known.until = sequence
        entry = _AlertVersion(alert, normalize_pattern(alert), sequence)
        self._current[alert.alert_id] = entry
        self._index.add(entry)
        self._indicators.add(entry, alert.indicators or ())
        for token in alert.indicators or ():
            if (prefix := read_prefix(token)) is not None:
                self._index.values.add_indicator(prefix)
        self._first_issue = min(self._first_issue, alert.issued_at)
        self._last_end = max(self._last_end, _get_expiry(alert))

    def find(self, alert_id: str) -> Alert | None:
        """Return the latest version of an alert; None if it is unknown."""
        known = self._current.get(alert_id)
        return None if known is None else known.alert

    def may_match(self, c: Consignment) -> bool:
        """Check if any alert was or will be in force when a consignment was received, so that its normal forms are needed."""
        moment = c.received_at
        return moment is not None and self._first_issue <= moment < self._last_end

    def mask_possible(self, received_us: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mark the times of arrival, in microseconds, for which `may_match` is true."""
        first, end = to_us(self._first_issue), to_us(self._last_end)
        possible: NDArray[np.bool_] = (received_us >= first) & (received_us < end)
        return possible

    def build_tables(self) -> AlertTables:
        """Return what kernels search rows for. It has all that any version of an alert asks for, whenever it is in force."""
        values = self._index.values
        return AlertTables(values.lists, values.hashes.slots, self._indicators.get_key_rows())

    def list_matches(
        self, c: Consignment, forms: NormalForms, sequence: int | None = None
    ) -> "list[AlertMatch]":
        """List the alerts that match a consignment by their patterns or their indicators, each once.

        Parameters
        ----------
        c : Consignment
            Without `received_at` no alert matches.
        forms : NormalForms
        sequence : int, optional
            Its sequence number in the log. Alerts at or after it do not count. Without it the latest version of each alert counts.
        """
        moment = c.received_at
        if moment is None or not self.may_match(c):
            return []
        patterns = self._find_by_pattern(_ConsignmentView(c, forms), moment, sequence)
        matches = self._find_by_indicator(c, forms, moment, sequence) if self._indicators else []
        shared: dict[str, list[str]] = {}
        for match in matches:
            named = shared.setdefault(match.entry.alert.alert_id, [])
            named += [] if (noun := f"{match.side}_{match.kind}") in named else [noun]
        entries = {entry.alert.alert_id: entry.alert for entry in [*patterns, *(m.entry for m in matches)]}
        return [AlertMatch(alert, tuple(shared.get(alert_id, ()))) for alert_id, alert in entries.items()]

    def compute(self, c: Consignment, forms: NormalForms, sequence: int | None = None) -> Sequence[float]:
        """Compute the features of alerts for one consignment.

        Parameters
        ----------
        c : Consignment
            Without `received_at` no alert matches.
        forms : NormalForms
        sequence : int, optional
            Its sequence number in the log. Alerts at or after it do not count.
        """
        moment = c.received_at
        if moment is None or not self.may_match(c):
            return NO_MATCH
        patterns = _describe_patterns(
            self._find_by_pattern(_ConsignmentView(c, forms), moment, sequence), moment
        )
        if not self._indicators:
            return patterns + NO_INDICATOR
        return patterns + _describe_indicators(self._find_by_indicator(c, forms, moment, sequence), moment)

    def _find_by_pattern(
        self, seen: "_ConsignmentView", moment: datetime, sequence: int | None
    ) -> list[_AlertVersion]:
        return [
            entry
            for entry in self._index.find_candidates(seen)
            if entry.is_active(moment, sequence) and _match_pattern(entry.pattern, seen)
        ]

    def _find_by_indicator(
        self, c: Consignment, forms: NormalForms, moment: datetime, sequence: int | None
    ) -> list[IndicatorMatch[_AlertVersion]]:
        return [match for match in self._indicators.find(c, forms) if match.entry.is_active(moment, sequence)]


def _describe_patterns(matching: list[_AlertVersion], moment: datetime) -> tuple[float, ...]:
    if not matching:
        return NO_PATTERN
    patterns = [entry.pattern for entry in matching]
    newest = max(entry.alert.issued_at for entry in matching)
    return (
        float(len(matching)),
        (moment - newest) / ONE_DAY,
        float(any(p.sender or p.consignee or p.sender_street or p.consignee_street for p in patterns)),
        float(any(p.words or p.hs for p in patterns)),
        float(any(p.departure or p.places for p in patterns)),
        float(max(sum(map(bool, p)) for p in patterns)),
    )


def _describe_indicators(matches: list[IndicatorMatch[_AlertVersion]], moment: datetime) -> tuple[float, ...]:
    """Count the identifiers of each side that match, the days since the newest of their seizures, and the decayed points."""
    if not matches:
        return NO_INDICATOR
    points: dict[tuple[str, str], float] = {}
    days: dict[str, float] = {}
    for side, kind, weight, entry in matches:
        age = max((moment - (entry.alert.occurred_at or entry.alert.issued_at)) / ONE_DAY, 0.0)
        points[side, kind] = max(points.get((side, kind), 0.0), weight * 0.5 ** (age / HALF_LIFE_DAYS))
        days[side] = min(days.get(side, age), age)
    return (
        float(sum(side == "sender" for side, _ in points)),
        float(sum(side == "consignee" for side, _ in points)),
        days.get("sender", nan),
        days.get("consignee", nan),
        float(sum(points[each] for each in sorted(points))),
    )


def _get_expiry(alert: Alert) -> datetime:
    return alert.expires_at or MAX_TIME


def normalize_pattern(alert: Alert) -> AlertPattern:
    """Convert the patterns of an alert into normal form."""
    return AlertPattern(
        describe_party(PartyDetails(alert.sender_name)).name,
        describe_party(PartyDetails(alert.consignee_name)).name,
        _read_street(alert.sender_address),
        _read_street(alert.consignee_address),
        _parse_pattern(alert.description_pattern),
        clean_hs(alert.hs_code),
        alert.departure_country.strip().upper() if alert.departure_country else "",
        join_places(alert.route) if alert.route else "",
    )


def match_word(word: Word, text: str) -> bool:
    """Check if a whole word matches the word of a pattern. The time is linear in their lengths.

    Examples
    --------
    >>> match_word(("", "nitazene"), "metonitazene"), match_word(("nit",), "nitazene")
    (True, False)
    """
    if len(word) == 1:
        return text == word[0]
    first, *middle, last = word
    end = len(text) - len(last)
    if len(first) > end or not text.startswith(first) or not text.endswith(last):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class _ConsignmentView:
    """A consignment with the values that alerts are compared with. Its words are split on first use."""

    __slots__ = ("_words", "c", "departure", "forms", "places")

    def __init__(self, c: Consignment, forms: NormalForms) -> None:
        self.c, self.forms = c, forms
        self.places = join_places(c.route) if c.route else ""
        self.departure = c.departure_country.strip().upper() if c.departure_country else ""
        self._words: list[str] | None = None

    @property
    def words(self) -> list[str]:
        if self._words is None:
            self._words = _split_words(self.forms.text, _LETTERS)
        return self._words


def _match_pattern(pattern: AlertPattern, seen: _ConsignmentView) -> bool:
    c, forms = seen.c, seen.forms
    if pattern.sender and pattern.sender != forms.sender_name:
        return False
    if pattern.consignee and pattern.consignee != forms.consignee_name:
        return False
    if pattern.departure and pattern.departure != seen.departure:
        return False
    if pattern.hs and not forms.hs.startswith(pattern.hs):
        return False
    if pattern.places not in seen.places:
        return False
    if pattern.sender_street and not _is_same_street(
        pattern.sender_street, forms.sender_address, c.sender_city, c.sender_postcode
    ):
        return False
    if pattern.consignee_street and not _is_same_street(
        pattern.consignee_street, forms.consignee_address, c.consignee_city, c.consignee_postcode
    ):
        return False
    return not pattern.words or _contains_phrase(pattern.words, seen.words)


def _is_same_street(street: StreetWords, address: str, city: str | None, postcode: str | None) -> bool:
    """Check if an address has the street line of an alert, with or without city, postcode and country."""
    if not address:
        return False
    home, code, line = address.rsplit("|", 2)
    asked = street.korean if home == KOREA else street.other
    words = set(line.split())
    if not words <= asked:
        return False
    return asked - words <= {
        code,
        home.lower(),
        *split_place_words(city),
        *fold_to_ascii(postcode or "").split(),
    }


def _contains_phrase(phrase: tuple[Word, ...], words: Sequence[str]) -> bool:
    length = len(phrase)
    return any(
        all(map(match_word, phrase, words[start : start + length]))
        for start in range(len(words) - length + 1)
    )


def _read_street(address: str | None) -> StreetWords | None:
    if not address:
        return None
    korean, other = (split_street_words(address, home) for home in (KOREA, ""))
    return StreetWords(korean, other) if korean and other else None


def _split_words(text: str, letters: bytes) -> list[str]:
    folded = fold_to_ascii(text)
    if "-" in folded:
        folded = _HYPHEN_IN_NAME.sub("", folded)
    return folded.encode().translate(letters, b"'`").decode().split()


def _parse_pattern(pattern: str | None) -> tuple[Word, ...]:
    """Split a pattern into words, and drop wildcards that are whole words at its ends."""
    words = [tuple(word.split(WILDCARD)) for word in _split_words(pattern or "", _LETTERS_AND_STARS)]
    asked = [place for place, word in enumerate(words) if any(word)]
    return tuple(words[asked[0] : asked[-1] + 1]) if asked else ()


_Bucket = dict[str, list[_AlertVersion]]


class _AlertIndex:
    """An index of alerts by their most selective pattern. An alert is in one bucket; an address is under each of its words.

    Attributes
    ----------
    values : AlertValues
        The keys of all buckets, also of alerts that were removed.
    """

    def __init__(self) -> None:
        self.values = AlertValues()
        self._buckets: list[_Bucket] = [{} for _ in range(BUCKETS)]

    def add(self, entry: _AlertVersion) -> None:
        for place, key in _choose_buckets(entry.pattern):
            self._buckets[place].setdefault(key, []).append(entry)
            self.values.add(place, key)

    def remove(self, entry: _AlertVersion) -> None:
        for place, key in _choose_buckets(entry.pattern):
            self._buckets[place][key].remove(entry)

    def find_candidates(self, seen: _ConsignmentView) -> list[_AlertVersion]:
        """Find the alerts whose most selective pattern may match, each once. `features.rows.alert_kernels` searches rows in the same way."""
        forms, buckets = seen.forms, self._buckets
        found: list[_AlertVersion] = []
        for place, key in (
            (SENDERS, forms.sender_name),
            (CONSIGNEES, forms.consignee_name),
            (DEPARTURES, seen.departure),
            (SENDER_STREETS, _get_first_word(forms.sender_address)),
            (CONSIGNEE_STREETS, _get_first_word(forms.consignee_address)),
        ):
            found += buckets[place].get(key, ())
        if buckets[PRODUCTS]:
            found += _collect_entries(
                buckets[PRODUCTS], {forms.hs[:length] for length in range(1, len(forms.hs) + 1)}
            )
        if buckets[PLACES]:
            found += _collect_entries(buckets[PLACES], seen.places.split(">"))
        if any(buckets[place] for place in (WORDS, STARTS, ENDS, PARTS)):
            found += self._find_by_text(seen.words)
        return found

    def _find_by_text(self, words: list[str]) -> list[_AlertVersion]:
        buckets = self._buckets
        found = _collect_entries(buckets[WORDS], words)
        if buckets[STARTS]:
            found += _collect_entries(buckets[STARTS], [word[:GRAM_LETTERS] for word in words])
        if buckets[ENDS]:
            found += _collect_entries(buckets[ENDS], [word[-GRAM_LETTERS:] for word in words])
        if buckets[PARTS]:
            text = " ".join(words)
            for part, entries in buckets[PARTS].items():
                if part in text:
                    found += entries
        return found


def _choose_buckets(pattern: AlertPattern) -> list[tuple[Int, str]]:
    """Choose the bucket of an alert, and the keys under which it is there."""
    if pattern.sender:
        return [(SENDERS, pattern.sender)]
    if pattern.consignee:
        return [(CONSIGNEES, pattern.consignee)]
    for place, street in (
        (SENDER_STREETS, pattern.sender_street),
        (CONSIGNEE_STREETS, pattern.consignee_street),
    ):
        if street:
            return [(place, word) for word in street.korean | street.other]
    return _choose_goods_buckets(pattern) or _choose_route_buckets(pattern)


def _choose_goods_buckets(pattern: AlertPattern) -> list[tuple[Int, str]]:
    if not pattern.words:
        return []
    literal = max((word[0] for word in pattern.words if len(word) == 1), key=len, default="")
    if literal:
        return [(WORDS, literal)]
    start = max((word[0] for word in pattern.words), key=len)
    if len(start) >= GRAM_LETTERS:
        return [(STARTS, start[:GRAM_LETTERS])]
    end = max((word[-1] for word in pattern.words), key=len)
    if len(end) >= GRAM_LETTERS:
        return [(ENDS, end[-GRAM_LETTERS:])]
    return [(PARTS, max((part for word in pattern.words for part in word), key=len))]


def _choose_route_buckets(pattern: AlertPattern) -> list[tuple[Int, str]]:
    if pattern.places:
        return [(PLACES, pattern.places.split(">")[1])]
    if pattern.hs:
        return [(PRODUCTS, pattern.hs)]
    if pattern.departure:
        return [(DEPARTURES, pattern.departure)]
    return []


def _collect_entries(bucket: _Bucket, keys: Collection[str]) -> list[_AlertVersion]:
    """Collect the entries under any of the keys. Usually there are none."""
    if bucket.keys().isdisjoint(keys):
        return []
    return [entry for key in set(keys) for entry in bucket.get(key, ())]


def _get_first_word(address: str) -> str:
    return address.rpartition("|")[2].partition(" ")[0]
