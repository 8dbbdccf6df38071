"""Index of the indicators that partners sent, and the comparison of a consignment with them.

Hashes are computed only for the keys, kinds and resolutions of known indicators. Without indicators a consignment costs nothing.
"""

import logging
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from consignments.records import Consignment
from features.indicators.operation_keys import OperationKeys
from features.indicators.values import INDICATORS, SIDES, get_party
from features.normalization.normal_forms import NormalForms

Entry = TypeVar("Entry")
log = logging.getLogger("npsrisk")


class IndicatorMatch(NamedTuple, Generic[Entry]):
    """An identifier of a consignment that is among the indicators of an entry."""

    side: str
    kind: str
    weight: float
    entry: Entry


class IndicatorIndex(Generic[Entry]):
    """An index of entries by their indicators.

    Parameters
    ----------
    keys : OperationKeys
        Indicators made with another key match nothing; a warning names the key.
    """

    def __init__(self, keys: OperationKeys) -> None:
        self._keys = keys
        self._entries: dict[str, list[Entry]] = {}
        self._domains: dict[str, set[tuple[str, str]]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry, tokens: Iterable[str]) -> None:
        """Add an entry under its indicators."""
        for token in tokens:
            key_id, domain = split_token(token)
            if key_id not in self._domains:
                self._domains[key_id] = set()
                self._warn_without_key(key_id)
            self._domains[key_id].add(domain)
            self._entries.setdefault(token, []).append(entry)

    def remove(self, entry: Entry, tokens: Iterable[str]) -> None:
        """Remove an entry that `add` added."""
        for token in tokens:
            self._entries[token].remove(entry)

    def find(self, c: Consignment, forms: NormalForms) -> list[IndicatorMatch[Entry]]:
        """Find the identifiers of a consignment that are known, with each entry that has them."""
        found: list[IndicatorMatch[Entry]] = []
        for key_id, domains in self._domains.items():
            key = self._keys.get(key_id)
            if key is None:
                continue
            for side in SIDES:
                party = get_party(c, forms, side)
                for kind, resolution, weight, read in INDICATORS:
                    if (kind, resolution) in domains and (value := read(party)):
                        entries = self._entries.get(key.compute(kind, resolution, value), ())
                        found += [IndicatorMatch(side, kind, weight, entry) for entry in entries]
        return found

    def _warn_without_key(self, key_id: str) -> None:
        if self._keys.get(key_id) is None:
            log.warning(
                "alerts have indicators of operation key %s, which is not in the exchange folder: they match nothing",
                key_id,
            )


def split_token(token: str) -> tuple[str, tuple[str, str]]:
    """Split an indicator into the identifier of its key, and its kind and resolution.

    Examples
    --------
    >>> split_token("0123456789abcdef:phone/exact:00ff")
    ('0123456789abcdef', ('phone', 'exact'))
    """
    key_id, _, rest = token.partition(":")
    kind, _, resolution = rest.partition(":")[0].partition("/")
    return key_id, (kind, resolution)
