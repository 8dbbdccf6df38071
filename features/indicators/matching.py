"""Index of the indicators that partners sent, and the comparison of a consignment with them.

Hashes are computed only for the keys, kinds and resolutions of known indicators. Without indicators a consignment costs nothing.
"""

import logging
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from consignments.records import Consignment
from features.indicators.operation_keys import OperationKeys
from features.indicators.values import CACHE_SIZE, INDICATORS, PartyForms, get_party
from features.normalization.normal_forms import NormalForms
from features.table import SIDES

Entry = TypeVar("Entry")
_Token = tuple[str, float, str]  # kind and weight of an indicator, and the indicator
CACHED_SIDE = "sender"
log = logging.getLogger("npsrisk")


class IndicatorMatch(NamedTuple, Generic[Entry]):
    """An identifier of a consignment that is among the indicators of an entry."""

    side: str
    kind: str
    weight: float
    entry: Entry


class IndicatorIndex(Generic[Entry]):
    """An index of entries by their indicators; those made with an unknown key match nothing, and a warning names it."""

    def __init__(self, keys: OperationKeys) -> None:
        self._keys = keys
        self._entries: dict[str, list[Entry]] = {}
        self._domains: dict[str, set[tuple[str, str]]] = {}
        self._cache: dict[PartyForms, list[_Token]] = {}
        self._cached_keys = len(keys)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry, tokens: Iterable[str]) -> None:
        """Add an entry under its indicators."""
        for token in tokens:
            key_id, domain = split_token(token)
            if key_id not in self._domains and self._keys.get(key_id) is None:
                log.warning(
                    "alerts have indicators of operation key %s, which is not in the exchange folder: they match nothing",
                    key_id,
                )
            if domain not in self._domains.setdefault(key_id, set()):
                self._domains[key_id].add(domain)
                self._cache.clear()
            self._entries.setdefault(token, []).append(entry)

    def remove(self, entry: Entry, tokens: Iterable[str]) -> None:
        """Remove an entry that `add` added."""
        for token in tokens:
            entries = self._entries[token]
            entries.remove(entry)
            if not entries:
                del self._entries[token]

    def find(self, c: Consignment, forms: NormalForms) -> list[IndicatorMatch[Entry]]:
        """Find the identifiers of a consignment that are known, with each entry that has them."""
        if len(self._keys) != self._cached_keys:  # a key may come later than its indicators
            self._cached_keys = len(self._keys)
            self._cache.clear()
        return [
            IndicatorMatch(side, kind, weight, entry)
            for side in SIDES
            for kind, weight, token in self._list_tokens(get_party(c, forms, side), side)
            for entry in self._entries.get(token, ())
        ]

    def _list_tokens(self, party: PartyForms, side: str) -> list[_Token]:
        """List the indicators of a party. Those of senders are cached, because most senders recur."""
        found = self._cache.get(party)
        if found is None:
            found = self._compute_tokens(party)
            if side == CACHED_SIDE:
                if len(self._cache) >= CACHE_SIZE:
                    self._cache.clear()
                self._cache[party] = found
        return found

    def _compute_tokens(self, party: PartyForms) -> list[_Token]:
        return [
            (kind, weight, key.compute(kind, resolution, value))
            for key_id, domains in self._domains.items()
            if (key := self._keys.get(key_id)) is not None
            for kind, resolution, weight, read in INDICATORS
            if (kind, resolution) in domains and (value := read(party))
        ]


def split_token(token: str) -> tuple[str, tuple[str, str]]:
    """Split an indicator into the identifier of its key, and its kind and resolution."""
    key_id, _, rest = token.partition(":")
    kind, _, resolution = rest.partition(":")[0].partition("/")
    return key_id, (kind, resolution)
