"""Index of alerts by their most selective pattern, so that a consignment is compared with few alerts."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from consignments.records import Alert
from features.alerts.patterns import AlertPattern, ComparedConsignment, Word

GRAM_LETTERS = 3  # number of first or last letters by which words with wildcards are looked up
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


class AlertIndex:
    """An index of alerts by their most selective pattern. An alert is in one bucket; an address is under each of its words."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, list[AlertVersion]]] = defaultdict(dict)

    def add(self, entry: AlertVersion) -> None:
        """Add a version."""
        for bucket, key in _choose_keys(entry.pattern):
            self._buckets[bucket].setdefault(key, []).append(entry)

    def remove(self, entry: AlertVersion) -> None:
        """Remove a version."""
        for bucket, key in _choose_keys(entry.pattern):
            self._buckets[bucket][key].remove(entry)

    def find_candidates(self, seen: ComparedConsignment) -> list[AlertVersion]:
        """Find the alerts whose most selective pattern may match, each once."""
        found: list[AlertVersion] = []
        for bucket, entries in self._buckets.items():
            looked_up = _find_parts(entries, seen) if bucket == PART else _LOOKED_UP[bucket](seen)
            for key in entries.keys() & looked_up:
                found += entries[key]
        return found


PART = "part"
_LOOKED_UP: dict[str, Callable[[ComparedConsignment], Iterable[str]]] = {
    "sender": lambda seen: (seen.forms.sender_name,),
    "consignee": lambda seen: (seen.forms.consignee_name,),
    "sender street": lambda seen: (_get_first_word(seen.forms.sender_address),),
    "consignee street": lambda seen: (_get_first_word(seen.forms.consignee_address),),
    "word": lambda seen: seen.words,
    "start": lambda seen: [word[:GRAM_LETTERS] for word in seen.words],
    "end": lambda seen: [word[-GRAM_LETTERS:] for word in seen.words],
    "place": lambda seen: seen.places.split(">"),
    "product": lambda seen: [seen.forms.hs[:length] for length in range(1, len(seen.forms.hs) + 1)],
    "departure": lambda seen: (seen.departure,),
}
"""Of each bucket but that of parts of words: what is looked up of a consignment."""


def _find_parts(parts: Iterable[str], seen: ComparedConsignment) -> list[str]:
    text = " ".join(seen.words)
    return [part for part in parts if part in text]


def _choose_keys(pattern: AlertPattern) -> list[tuple[str, str]]:
    """Choose the bucket of an alert, and the keys under which it is there."""
    for bucket, name in (("sender", pattern.sender), ("consignee", pattern.consignee)):
        if name:
            return [(bucket, name)]
    streets = ("sender street", pattern.sender_street), ("consignee street", pattern.consignee_street)
    for bucket, street in streets:
        if street:
            return [(bucket, word) for word in street.korean | street.other]
    if pattern.words:
        return [_choose_word(pattern.words)]
    if pattern.places:
        return [("place", pattern.places.split(">")[1])]
    codes = ("product", pattern.hs), ("departure", pattern.departure)
    return [(bucket, code) for bucket, code in codes if code][:1]


def _choose_word(words: Sequence[Word]) -> tuple[str, str]:
    """Choose the longest whole word, else a beginning or an end that is long enough, else the longest part of a word."""
    if literal := max((word[0] for word in words if len(word) == 1), key=len, default=""):
        return "word", literal
    start, end = max((word[0] for word in words), key=len), max((word[-1] for word in words), key=len)
    if len(start) >= GRAM_LETTERS:
        return "start", start[:GRAM_LETTERS]
    if len(end) >= GRAM_LETTERS:
        return "end", end[-GRAM_LETTERS:]
    return PART, max((part for word in words for part in word), key=len)


def _get_first_word(address: str) -> str:
    return address.rpartition("|")[2].partition(" ")[0]
