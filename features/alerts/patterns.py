"""The patterns of alerts in normal form, and their comparison with a consignment.

An alert matches if all its patterns match. An alert without a pattern matches nothing, and neither does one with a pattern that has
no normal form, such as "***" for a name: without it, the others would match too much.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from consignments.records import Alert, Consignment
from features.normalization.addresses import split_place_words, split_street_words
from features.normalization.letters import fold_to_ascii, make_letter_table
from features.normalization.names import normalize_name
from features.normalization.normal_forms import NormalForms, clean_hs
from features.route import join_places

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
    """The patterns of an alert in normal form. An empty one is not compared. If all are empty, the alert matches nothing."""

    sender: str = ""
    consignee: str = ""
    sender_street: StreetWords | None = None
    consignee_street: StreetWords | None = None
    words: tuple[Word, ...] = ()
    hs: str = ""
    departure: str = ""
    places: str = ""


ALERT_CRITERIA = (
    *("sender_name", "consignee_name", "sender_address", "consignee_address"),
    *("description_pattern", "hs_code", "departure_country", "route"),
)
"""Fields of an alert that are compared with consignments, in the order of `AlertPattern`."""


def normalize_pattern(alert: Alert) -> AlertPattern:
    """Convert the patterns of an alert into normal form. All are empty if one that is given has no normal form."""
    return AlertPattern() if list_unusable_criteria(alert) else _read_pattern(alert)


def list_unusable_criteria(alert: Alert) -> list[str]:
    """List the criteria of an alert that are given and have no normal form."""
    read = zip(ALERT_CRITERIA, _read_pattern(alert), strict=True)
    return [name for name, form in read if getattr(alert, name) and not form]


def _read_pattern(alert: Alert) -> AlertPattern:
    return AlertPattern(
        normalize_name(alert.sender_name),
        normalize_name(alert.consignee_name),
        _read_street(alert.sender_address),
        _read_street(alert.consignee_address),
        _parse_pattern(alert.description_pattern),
        clean_hs(alert.hs_code),
        alert.departure_country.strip().upper() if alert.departure_country else "",
        join_places(alert.route) if alert.route else "",
    )


def match_word(word: Word, text: str) -> bool:
    """Check if a whole word matches the word of a pattern. The time is linear in their lengths."""
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


class ComparedConsignment:
    """A consignment with the values that alerts are compared with. Its words are split on first use."""

    def __init__(self, c: Consignment, forms: NormalForms) -> None:
        self.c, self.forms = c, forms
        self.places = join_places(c.route) if c.route else ""
        self.departure = c.departure_country.strip().upper() if c.departure_country else ""

    @cached_property
    def words(self) -> list[str]:
        """The words of the goods text."""
        return _split_words(self.forms.text, _LETTERS)


def match_pattern(pattern: AlertPattern, seen: ComparedConsignment) -> bool:
    """Check if all patterns of an alert match a consignment; an empty one matches."""
    c, forms = seen.c, seen.forms
    sender_place, consignee_place = (
        (c.sender_city, c.sender_postcode),
        (c.consignee_city, c.consignee_postcode),
    )
    return (
        pattern.sender in ("", forms.sender_name)
        and pattern.consignee in ("", forms.consignee_name)
        and pattern.departure in ("", seen.departure)
        and forms.hs.startswith(pattern.hs)
        and pattern.places in seen.places
        and _is_same_street(pattern.sender_street, forms.sender_address, *sender_place)
        and _is_same_street(pattern.consignee_street, forms.consignee_address, *consignee_place)
        and (not pattern.words or _contains_phrase(pattern.words, seen.words))
    )


def _is_same_street(street: StreetWords | None, address: str, city: str | None, postcode: str | None) -> bool:
    """Check if an address has the street line of an alert, if it names one, with or without city, postcode and country."""
    if not street or not address:
        return not street
    home, code, line = address.rsplit("|", 2)
    asked = street.korean if home == KOREA else street.other
    words = set(line.split())
    place = {code, home.lower(), *split_place_words(city), *fold_to_ascii(postcode or "").split()}
    return words <= asked and asked - words <= place


def _contains_phrase(phrase: tuple[Word, ...], words: Sequence[str]) -> bool:
    length = len(phrase)
    return any(
        all(map(match_word, phrase, words[start : start + length]))
        for start in range(len(words) - length + 1)
    )


def _read_street(address: str | None) -> StreetWords | None:
    if not address:
        return None
    korean, other = (frozenset(split_street_words(address, home)) for home in (KOREA, ""))
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
