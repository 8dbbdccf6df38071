"""Index of alerts by their most selective pattern, so that a consignment is compared with few alerts."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from consignments.records import Alert
from features.alerts.patterns import AlertPattern, ComparedConsignment

# Buckets: names and words of streets of senders and consignees, words of goods with their first and last letters and their parts, and codes.
SENDERS, CONSIGNEES, SENDER_STREETS, CONSIGNEE_STREETS = range(4)
WORDS, STARTS, ENDS, PARTS = range(4, 8)
PLACES, PRODUCTS, DEPARTURES = range(8, 11)
BUCKETS = 11
GRAM_LETTERS = 3
"""Number of first or last letters by which words with wildcards are looked up."""
MAX_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class AlertVersion:
    """A version of an alert."""

    alert: Alert
    pattern: AlertPattern
    sequence: int | None
    until: int | None = None  # sequence number of the version that replaced it

    @property
    def end(self) -> datetime:
        """Time at which it expires."""
        return self.alert.expires_at or MAX_TIME

    def is_active(self, moment: datetime, sequence: int | None) -> bool:
        """Check if it is in force at a time, for the consignment with a sequence number in the log; None: the latest version is."""
        if not self.alert.issued_at <= moment < self.end:
            return False
        if sequence is None:
            return self.until is None
        if self.sequence is not None and self.sequence >= sequence:
            return False
        return self.until is None or sequence <= self.until


_Bucket = dict[str, list[AlertVersion]]


class AlertIndex:
    """An index of alerts by their most selective pattern. An alert is in one bucket; an address is under each of its words."""

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = [{} for _ in range(BUCKETS)]

    def add(self, entry: AlertVersion) -> None:
        """Add a version."""
        for place, key in _choose_buckets(entry.pattern):
            self._buckets[place].setdefault(key, []).append(entry)

    def remove(self, entry: AlertVersion) -> None:
        """Remove a version."""
        for place, key in _choose_buckets(entry.pattern):
            self._buckets[place][key].remove(entry)

    def find_candidates(self, seen: ComparedConsignment) -> list[AlertVersion]:
        """Find the alerts whose most selective pattern may match, each once."""
        forms, buckets = seen.forms, self._buckets
        found: list[AlertVersion] = []
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

    def _find_by_text(self, words: list[str]) -> list[AlertVersion]:
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


def _choose_buckets(pattern: AlertPattern) -> list[tuple[int, str]]:
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


def _choose_goods_buckets(pattern: AlertPattern) -> list[tuple[int, str]]:
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


def _choose_route_buckets(pattern: AlertPattern) -> list[tuple[int, str]]:
    if pattern.places:
        return [(PLACES, pattern.places.split(">")[1])]
    if pattern.hs:
        return [(PRODUCTS, pattern.hs)]
    if pattern.departure:
        return [(DEPARTURES, pattern.departure)]
    return []


def _collect_entries(bucket: _Bucket, keys: Collection[str]) -> list[AlertVersion]:
    """Collect the entries under any of the keys. Usually there are none."""
    if bucket.keys().isdisjoint(keys):
        return []
    return [entry for key in set(keys) for entry in bucket.get(key, ())]


def _get_first_word(address: str) -> str:
    return address.rpartition("|")[2].partition(" ")[0]
