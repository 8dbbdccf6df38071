"""Values of indicators: the identifiers of both parties in the normal forms of history, at one exact and some coarser resolutions.

A coarser value stays equal when a name is transliterated differently, a street is misspelt or a country prefix is left out. It fits
more parties, so it counts less. The side is not part of a value: the sender of a seizure may be a consignee elsewhere.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from consignments.records import Consignment
from features.indicators.operation_keys import OperationKey
from features.normalization.letters import NON_DIGITS, NON_LETTERS, fold_to_ascii
from features.normalization.names import rotate_to_smallest
from features.normalization.normal_forms import NormalForms, normalize_consignment
from features.table import SIDES

MIN_NAME_CONSONANTS = 4
MIN_LOCAL_LETTERS = 6
LOCAL_PHONE_DIGITS = 8
WEAK_LETTERS = b"aeiouhwy"
CACHE_SIZE = 1 << 12
"""Number of cached names and addresses. Most senders recur."""
_OTHERS_TO_SPACES = bytes(32 if code in NON_DIGITS else code for code in range(256))


class PartyForms(NamedTuple):
    """The normal forms of one party; '' if missing."""

    name: str
    address: str
    phone: str
    email: str
    account: str
    country: str


class Indicator(NamedTuple):
    """An identifier at one resolution."""

    kind: str
    resolution: str
    weight: float  # how much a match counts, 0 to 1 (assumed)
    value: Callable[[PartyForms], str]


def get_party(c: Consignment, forms: NormalForms, side: str) -> PartyForms:
    """Return the normal forms of the sender or the consignee."""
    own = (getattr(forms, f"{side}_{name}") for name in ("name", "address", "phone", "email"))
    account = fold_to_ascii(c.account_id) if c.account_id and side == "sender" else ""
    country = c.sender_country if side == "sender" else c.consignee_country
    return PartyForms._make([*own, account, (country or "").strip().upper()])


@lru_cache(CACHE_SIZE)
def build_consonants(letters: str) -> str:
    """Reduce a name in normal form, in which the letters have no beginning, to its consonants; '' if they are few."""
    if not letters.isalpha():
        return letters
    kept = _drop_weak_letters(letters)
    if len(kept) > 1 and kept[0] == kept[-1]:
        kept = kept[:-1]
    return rotate_to_smallest(kept) if len(kept) >= MIN_NAME_CONSONANTS else ""


def _drop_weak_letters(letters: str) -> str:
    """Drop vowels and the like, and letters that repeat the one before."""
    raw = letters.encode("utf-8", "surrogatepass").translate(None, WEAK_LETTERS)
    kept = raw.decode("utf-8", "surrogatepass")
    return "".join([letter for letter, before in zip(kept, f" {kept}", strict=False) if letter != before])


def _read_name(party: PartyForms) -> str:
    return f"{party.country}|{party.name}" if party.name else ""


def _read_name_and_place(party: PartyForms) -> str:
    kept = build_consonants(party.name) if party.name and party.address else ""
    home, code, _ = party.address.rsplit("|", 2) if kept else ("", "", "")
    return f"{home}|{code}|{kept}" if code else ""


@lru_cache(CACHE_SIZE)
def _split_address(address: str) -> tuple[str, str]:
    """Split an address in normal form into two coarser values: its premises, and its street."""
    if not address:
        return "", ""
    home, code, line = address.rsplit("|", 2)
    words = line.split()
    numbers = [word for word in words if not word.isalpha() and any(map(str.isdigit, word))]
    premises = f"{home}|{code}|{' '.join(numbers)}" if code and numbers else ""
    figures = sorted(line.encode("utf-8", "surrogatepass").translate(_OTHERS_TO_SPACES).decode().split())
    kept = _drop_weak_letters(max((word for word in words if word.isalpha()), key=len, default=""))
    return premises, f"{home}|{' '.join(figures)}|{kept}" if figures and len(kept) > 1 else ""


def _read_local_number(party: PartyForms) -> str:
    digits = party.phone.encode("utf-8", "surrogatepass").translate(None, NON_DIGITS).decode()
    return digits[-LOCAL_PHONE_DIGITS:] if len(digits) >= LOCAL_PHONE_DIGITS else ""


def _read_mailbox(party: PartyForms) -> str:
    local = party.email.partition("@")[0].encode("utf-8", "surrogatepass")
    kept = local.translate(None, NON_LETTERS).decode()
    return kept if len(kept) >= MIN_LOCAL_LETTERS else ""


EXACT = "exact"
INDICATORS = (
    Indicator("name", EXACT, 0.2, _read_name),
    Indicator("name", "place", 0.5, _read_name_and_place),
    Indicator("address", EXACT, 1.0, lambda party: party.address),
    Indicator("address", "premises", 0.75, lambda party: _split_address(party.address)[0]),
    Indicator("address", "street", 0.5, lambda party: _split_address(party.address)[1]),
    Indicator("phone", EXACT, 1.0, lambda party: party.phone),
    Indicator("phone", "local", 0.75, _read_local_number),
    Indicator("email", EXACT, 1.0, lambda party: party.email),
    Indicator("email", "mailbox", 0.5, _read_mailbox),
    Indicator("account", EXACT, 1.0, lambda party: party.account),
)
"""All indicators, the exact one of a kind first. A name alone counts little, because many people share it."""


def compute_indicators(c: Consignment, key: OperationKey, sides: tuple[str, ...] = SIDES) -> tuple[str, ...]:
    """Compute the indicators of a consignment's parties, as they are shared."""
    forms = normalize_consignment(c)
    tokens = (
        key.compute(each.kind, each.resolution, value)
        for party in (get_party(c, forms, side) for side in sides)
        for each in INDICATORS
        if (value := each.value(party))
    )
    return tuple(dict.fromkeys(tokens))
