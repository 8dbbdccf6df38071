"""The identifiers that link consignments, each as one number.

The values are the values of the history keys (`features.history.keys`). Equal values of sender and consignee are one identifier,
so that the consignee of one consignment can be found as the sender of another.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from features.history.keys import COMMON_KINDS, KeyBuilder, KeyKind
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import normalize_consignment

LinkNumbers = NDArray[np.uint64]
_PLACES = {kind.name: place for place, kind in enumerate(COMMON_KINDS)}


@dataclass(frozen=True, slots=True)
class LinkIdentifier:
    """The definition of an identifier that may link a consignment to others."""

    kind: str  # equal values of one kind are a link, also across the two sides
    side: str
    noun: str
    keys: tuple[str, ...]  # kinds of history keys that form its value; missing if one is missing
    columns: tuple[str, ...]  # as it was written

    def format_value(self, c: Consignment) -> str:
        """Format the value as it was written. It is personal data."""
        return ", ".join(value for name in self.columns if (value := getattr(c, name)))


NAME_AND_ADDRESS, ADDRESS = "name and address", "address"
_ADDRESS_PARTS = ("address", "city", "postcode", "country")


def _list_side_identifiers(side: str) -> tuple[LinkIdentifier, ...]:
    address = tuple(f"{side}_{part}" for part in _ADDRESS_PARTS)
    both = f"{side}'s name and address"
    return (
        LinkIdentifier(NAME_AND_ADDRESS, side, both, (side, address[0]), (f"{side}_name", *address)),
        _build_identifier(ADDRESS, side, address[0], address),
        _build_identifier("phone", side, f"{side}_phone", (f"{side}_phone",)),
        _build_identifier("e-mail", side, f"{side}_email", (f"{side}_email",)),
    )


def _build_identifier(kind: str, side: str, key: str, columns: tuple[str, ...]) -> LinkIdentifier:
    return LinkIdentifier(kind, side, COMMON_KINDS[_PLACES[key]].noun, (key,), columns)


LINK_IDENTIFIERS = (
    *_list_side_identifiers("sender"),
    _build_identifier("account", "sender", "account", ("account_id",)),
    *_list_side_identifiers("consignee"),
)
"""All link identifiers, in the order of the columns of `LinkNumbers`."""


class LinkNumberBuilder:
    """A builder of the link numbers of consignments."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        own = [sum((COMMON_KINDS[_PLACES[key]].parts for key in each.keys), ()) for each in LINK_IDENTIFIERS]
        # Both sides of a kind have one name, so that their values have one number.
        named = zip(LINK_IDENTIFIERS, own, strict=True)
        kinds = [KeyKind(f"link {each.kind}", each.noun, None, names) for each, names in named]
        self._keys = KeyBuilder(kinds, pseudonyms)

    def build_rows(self, consignments: Iterable[Consignment]) -> LinkNumbers:
        """Build one row of numbers per consignment."""
        records = list(consignments)
        numbers = np.zeros((len(records), len(LINK_IDENTIFIERS)), np.uint64)
        self._keys.fill(records, list(map(normalize_consignment, records)), numbers, np.zeros_like(numbers))
        return numbers
