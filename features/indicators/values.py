"""Values of indicators: the identifiers of both parties in the normal forms of history, at one exact and some coarser resolutions.

A coarser value stays equal when a name is transliterated differently, a street is misspelt or a country prefix is left out. It fits
more parties, so it counts less. The side is not part of a value: the sender of a seizure may be a consignee elsewhere.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consignments.records import Consignment
from features.indicators.operation_keys import OperationKey
from features.normalization.normal_forms import (
    NormalForms,
    fold_to_ascii,
    normalize_consignment,
    rotate_to_smallest,
)

SIDES = ("sender", "consignee")
MIN_NAME_CONSONANTS = 4
MIN_LOCAL_LETTERS = 6
LOCAL_PHONE_DIGITS = 8
_WEAK_LETTERS = str.maketrans("", "", "aeiouhwy")
_DOUBLED = re.compile(r"(.)\1+")
_DIGIT = re.compile(r"\d")
_NOT_DIGITS = re.compile(r"\D")
_SIGNS = re.compile(r"[^a-z0-9]")


class PartyForms(NamedTuple):
    """The normal forms of one party; '' if missing."""

    name: str
    address: str
    phone: str
    email: str
    account: str
    country: str


class Indicator(NamedTuple):
    """An identifier at one resolution.

    Attributes
    ----------
    kind : str
        `name`, `address`, `phone`, `email` or `account`.
    resolution : str
    weight : float
        How much a match counts, from 0 to 1 (assumed).
    value : callable
        Returns the value of a party; '' if missing.
    """

    kind: str
    resolution: str
    weight: float
    value: Callable[[PartyForms], str]


def get_party(c: Consignment, forms: NormalForms, side: str) -> PartyForms:
    """Return the normal forms of the sender or the consignee."""
    if side == "sender":
        account = fold_to_ascii(c.account_id) if c.account_id else ""
        return PartyForms(
            forms.sender_name, forms.sender_address, forms.sender_phone, forms.sender_email, account,
            (c.sender_country or "").strip().upper(),
        )  # fmt: skip
    return PartyForms(
        forms.consignee_name, forms.consignee_address, forms.consignee_phone, forms.consignee_email, "",
        (c.consignee_country or "").strip().upper(),
    )  # fmt: skip


def build_consonants(letters: str) -> str:
    """Reduce a name in normal form, in which the letters have no beginning, to its consonants.

    Examples
    --------
    >>> from features.normalization.normal_forms import normalize_name
    >>> build_consonants(normalize_name("Mohammed Rahman")) == build_consonants(normalize_name("RAHMAN, Muhamad"))
    True
    """
    if not letters.isalpha():
        return letters
    kept = _DOUBLED.sub(r"\1", letters.translate(_WEAK_LETTERS))
    if len(kept) > 1 and kept[0] == kept[-1]:
        kept = kept[:-1]
    return rotate_to_smallest(kept) if len(kept) >= MIN_NAME_CONSONANTS else ""


def _read_name(party: PartyForms) -> str:
    return f"{party.country}|{party.name}" if party.name else ""


def _read_name_and_place(party: PartyForms) -> str:
    kept = build_consonants(party.name) if party.name and party.address else ""
    home, code, _ = party.address.split("|") if kept else ("", "", "")
    return f"{home}|{code}|{kept}" if code else ""


def _read_premises(party: PartyForms) -> str:
    """Return country, postcode or city, and the words with digits: house, flat, building."""
    if not party.address:
        return ""
    home, code, line = party.address.split("|")
    numbers = [word for word in line.split() if _DIGIT.search(word)]
    return f"{home}|{code}|{' '.join(numbers)}" if code and numbers else ""


def _read_street(party: PartyForms) -> str:
    """Return country, numbers, and the consonants of the longest word, without the postcode."""
    if not party.address:
        return ""
    home, _, line = party.address.split("|")
    words = line.split()
    numbers = sorted(number for word in words for number in re.findall(r"\d+", word))
    letters = max((word for word in words if word.isalpha()), key=len, default="")
    kept = _DOUBLED.sub(r"\1", letters.translate(_WEAK_LETTERS))
    return f"{home}|{' '.join(numbers)}|{kept}" if numbers and len(kept) > 1 else ""


def _read_local_number(party: PartyForms) -> str:
    digits = _NOT_DIGITS.sub("", party.phone)
    return digits[-LOCAL_PHONE_DIGITS:] if len(digits) >= LOCAL_PHONE_DIGITS else ""


def _read_mailbox(party: PartyForms) -> str:
    local = _SIGNS.sub("", party.email.partition("@")[0])
    return local if len(local) >= MIN_LOCAL_LETTERS else ""


EXACT = "exact"
INDICATORS = (
    Indicator("name", EXACT, 0.2, _read_name),
    Indicator("name", "place", 0.5, _read_name_and_place),
    Indicator("address", EXACT, 1.0, lambda party: party.address),
    Indicator("address", "premises", 0.75, _read_premises),
    Indicator("address", "street", 0.5, _read_street),
    Indicator("phone", EXACT, 1.0, lambda party: party.phone),
    Indicator("phone", "local", 0.75, _read_local_number),
    Indicator("email", EXACT, 1.0, lambda party: party.email),
    Indicator("email", "mailbox", 0.5, _read_mailbox),
    Indicator("account", EXACT, 1.0, lambda party: party.account),
)
"""All indicators, the exact one of a kind first. A name alone counts little, because many people share it."""


def compute_indicators(c: Consignment, key: OperationKey, sides: tuple[str, ...] = SIDES) -> tuple[str, ...]:
    """Compute the indicators of a consignment's parties, as they are shared.

    Parameters
    ----------
    c : Consignment
    key : OperationKey
    sides : tuple of str
        Parties whose identifiers are shared.
    """
    forms = normalize_consignment(c)
    return tuple(dict.fromkeys(_iterate_tokens(c, forms, key, sides)))


def _iterate_tokens(
    c: Consignment, forms: NormalForms, key: OperationKey, sides: tuple[str, ...]
) -> Iterator[str]:
    for side in sides:
        party = get_party(c, forms, side)
        for each in INDICATORS:
            value = each.value(party)
            if value:
                yield key.compute(each.kind, each.resolution, value)
