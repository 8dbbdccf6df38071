"""Features of sender and consignee: are their details complete, plausible and consistent?

The features describe how details were filled in, and the kind of party. They use nothing of a person's name that could stand
for ethnicity, sex or religion: no script, no capitals, no number of words, no first name. Names of people in two
languages have the same feature values (`tests/training/evaluation/test_name_invariance.py`).
"""

import re
from functools import lru_cache
from math import nan
from operator import attrgetter
from typing import NamedTuple

from consignments.records import Consignment
from consignments.timestamps import EPOCH, to_day
from features.normalization.addresses import POST_BOX
from features.normalization.letters import clean_country, fold_to_ascii, make_letter_table
from features.normalization.names import ENDING_FORMS, FIRM_WORDS, LEGAL_FORM_PHRASES, normalize_name
from features.normalization.normal_forms import NormalForms
from features.normalization.phones import check_phone
from features.normalization.word_lists import WORD_LISTS
from features.table import SIDES, read_group

_LISTS = WORD_LISTS["parties"]
CHEMICAL_WORDS, FORWARDER_WORDS, VIRTUAL_OFFICE_WORDS, OFFICE_WORDS, PLACEHOLDERS = (
    frozenset(_LISTS[name].split())
    for name in ("chemical", "forwarder", "virtual_office", "office", "placeholders")
)
FREE_PROVIDERS, UNTRACEABLE_PROVIDERS = (
    frozenset(_LISTS[name].split()) for name in ("free_providers", "untraceable_providers")
)
FIRM_PHRASES = (*LEGAL_FORM_PHRASES, *_LISTS["firm_phrases"])
DORMITORY_SIGNS = tuple(_LISTS["dormitory"])
CHEMICAL_PHRASES = tuple(_LISTS["chemical_phrases"])
HOME_SIGNS = (*DORMITORY_SIGNS, *_LISTS["home"])
NON_LETTERS = " .,;:-_/\\\\|*+#?!'\"()[]{}<>&%$@=~^`0123456789"
MIN_REPEATS = 3
MIN_LINE_LENGTH = 6

_KIND_WORDS = FIRM_WORDS | frozenset(_LISTS["firm"].split()) | CHEMICAL_WORDS | FORWARDER_WORDS
MIN_SLIP_LETTERS = 7
"""A word of a firm of so many letters is known with a slip. Shorter ones are like names of people."""

MIN_WORD_LETTERS = 6  # the same for a firm whose name is only compared with that of others (`resembles_firm`)


def list_slips(word: str) -> set[str]:
    """List the spellings of a word with one slip."""
    places = range(1, len(word))
    swapped = {word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :] for at in places}
    lost = {word[:at] + word[at + 1 :] for at in places}
    return swapped | lost | {word[:at] + word[at - 1 :] for at in range(1, len(word) + 1)}


_SLIPS = {
    slip for word in _KIND_WORDS if len(word) >= MIN_SLIP_LETTERS for slip in list_slips(word)
} - _KIND_WORDS
_LONG_WORDS = frozenset(word for word in _KIND_WORDS if len(word) >= MIN_WORD_LETTERS)
_LONG_WORD_INSIDE = re.compile("|".join(sorted(_LONG_WORDS)))
_FIRM_IN_SCRIPTS = re.compile("|".join(map(re.escape, FIRM_PHRASES)))
_CHEMICALS_IN_SCRIPTS = re.compile("|".join(map(re.escape, CHEMICAL_PHRASES)))
_LETTERS, _OMITTED_SIGNS = make_letter_table(), b".'`"
_DIGIT = re.compile(r"\d")
_CACHED_NAMES = _CACHED_NUMBERS = 1 << 14

PARTS = ("name", "address", "city", "postcode", "country", "phone", "email")
_MISSING_PARTS = tuple(f"{part}_missing" for part in PARTS)
_SENDER, _CONSIGNEE = (read_group(f"parties.{side}_") for side in SIDES)
_BOTH = read_group("parties.", without=SIDES)
PARTY_FEATURES = (*_SENDER.features, *_CONSIGNEE.features, *_BOTH.features)
_GET_SENDER, _GET_CONSIGNEE = (attrgetter(*(f"{side}_{part}" for part in PARTS)) for side in SIDES)
Values = dict[str, float]


class PartyKind(NamedTuple):
    """The kind of a party by its name, as flags: 1, 0, or NaN without a name."""

    business: float
    chemical: float
    forwarder: float


UNKNOWN_KIND, PERSON = PartyKind(nan, nan, nan), PartyKind(0.0, 0.0, 0.0)


class _Party(NamedTuple):
    """The details of a party as they were filled in, None if missing, and their normal forms."""

    name: str | None
    address: str | None
    city: str | None
    postcode: str | None
    country: str | None
    phone: str | None
    email: str | None
    name_form: str
    address_form: str
    phone_form: str
    email_form: str


def compute_party_values(c: Consignment, forms: NormalForms) -> tuple[float, ...]:
    """Compute the features of both sides, of what they have in common, and of the shipper's account."""
    sender = _Party._make((*_GET_SENDER(c), *forms[:4]))
    consignee = _Party._make((*_GET_CONSIGNEE(c), *forms[4:8]))
    return (
        *_SENDER.arrange(_describe_party(sender)),
        *_CONSIGNEE.arrange(_describe_party(consignee)),
        *_BOTH.arrange(_compare_parties(c, sender, consignee)),
    )


def _describe_party(party: _Party) -> Values:
    kind, named = classify_party(party.name), zip(_MISSING_PARTS, party, strict=False)
    missing = {name: 1.0 if not part or part.isspace() else 0.0 for name, part in named}
    return {
        **missing,
        "missing": sum(missing.values()),
        **_describe_name(party.name),
        **_describe_address(party.address, party.address_form, kind),
        **_describe_phone(party.phone, party.phone_form, party.country),
        **_describe_email(party.email, party.email_form, kind.business),
    }


def _split_words(name: str) -> tuple[str, list[str]]:
    """Return a name in ASCII and its words."""
    plain = name if name.isascii() else fold_to_ascii(name)
    return plain, plain.encode().translate(_LETTERS, _OMITTED_SIGNS).decode().split()


def resembles_firm(name: str) -> bool:
    """Check if a word of a firm is in a name with a slip or without the blanks around it. No feature depends on it."""
    _, words = _split_words(name)
    is_inside = _LONG_WORD_INSIDE.search("".join(words)) is not None
    return is_inside or not all(_LONG_WORDS.isdisjoint(list_slips(word)) for word in words)


@lru_cache(_CACHED_NAMES)
def classify_party(name: str | None) -> PartyKind:
    """Classify a party by its name."""
    if not name:
        return UNKNOWN_KIND
    plain, words = _split_words(name)
    # B.V. and the like end the name of a firm; elsewhere they are initials or names.
    known = not (_KIND_WORDS.isdisjoint(words) and _SLIPS.isdisjoint(words))
    known = known or (len(words) > 1 and words[-1] in ENDING_FORMS)
    if plain is name and not known:
        return PERSON
    business = known or _FIRM_IN_SCRIPTS.search(name) is not None
    chemical = not CHEMICAL_WORDS.isdisjoint(words) or _CHEMICALS_IN_SCRIPTS.search(name) is not None
    forwarder = not FORWARDER_WORDS.isdisjoint(words)
    return PartyKind(float(business or chemical), float(chemical), float(forwarder))


def is_filler(text: str) -> bool:
    """Check if a text is filler by the rules of PACT for invalid texts: no letter, one repeated letter, or a placeholder."""
    if not text.strip(NON_LETTERS):
        return True
    low = text.strip().lower()
    return low in PLACEHOLDERS or (len(low) >= MIN_REPEATS and low == low[0] * len(low))


@lru_cache(_CACHED_NAMES)
def _describe_name(name: str | None) -> Values:
    # Capitals, words and length are not used: only some scripts have capitals, and only some peoples have one name or long names.
    kind = classify_party(name)
    return {
        "name_invalid": float(is_filler(name) or not normalize_name(name)) if name else nan,
        "name_digits": float(_DIGIT.search(name) is not None) if name else nan,
        "business": kind.business,
        "chemical": kind.chemical,
    }


def _describe_address(address: str | None, form: str, kind: PartyKind) -> Values:
    if not address or address.isspace():
        return {**_NO_ADDRESS, "forwarder": kind.forwarder}
    line = form.rpartition("|")[2]
    if not line:
        return {**_UNREADABLE_ADDRESS, "forwarder": kind.forwarder}
    low, words = address.lower(), line.split()
    at_home = any(map(low.__contains__, HOME_SIGNS))
    dormitory = at_home and any(map(low.__contains__, DORMITORY_SIGNS))
    return {
        "forwarder": 1.0 if kind.forwarder == 1.0 or not FORWARDER_WORDS.isdisjoint(words) else 0.0,
        "address_invalid": 1.0 if is_filler(address) else 0.0,
        "address_numberless": 0.0 if _DIGIT.search(line) else 1.0,
        "address_short": 1.0 if len(line) < MIN_LINE_LENGTH else 0.0,
        "post_box": 1.0 if POST_BOX in line else 0.0,
        "virtual_office": 0.0 if VIRTUAL_OFFICE_WORDS.isdisjoint(words) else 1.0,
        "dormitory": 1.0 if dormitory else 0.0,
        "firm_at_home": 1.0 if at_home and kind.business == 1.0 else 0.0,
        "person_at_office": 1.0 if kind.business == 0.0 and not OFFICE_WORDS.isdisjoint(words) else 0.0,
    }


_ADDRESS_VALUES_TEXT = """
    address_invalid address_numberless address_short post_box virtual_office dormitory firm_at_home person_at_office
"""
_NO_ADDRESS = dict.fromkeys(_ADDRESS_VALUES_TEXT.split(), nan)
# An address that is not blank and has no word or number in normal form.
_UNREADABLE_ADDRESS = dict.fromkeys(_NO_ADDRESS, 0.0) | dict.fromkeys(
    ("address_invalid", "address_numberless", "address_short"), 1.0
)


@lru_cache(_CACHED_NUMBERS)
def _describe_phone(phone: str | None, form: str, country: str | None) -> Values:
    if not phone:
        return {"phone_implausible": nan, "phone_foreign": nan}
    implausible, foreign = check_phone(form, clean_country(country))
    return {"phone_implausible": float(implausible), "phone_foreign": float(foreign)}


@lru_cache(_CACHED_NUMBERS)
def _describe_email(email: str | None, form: str, business: float) -> Values:
    if not email:
        return dict.fromkeys(
            ("email_invalid", "email_free", "email_untraceable", "firm_with_free_email"), nan
        )
    local, _, domain = form.rpartition("@")
    free = domain in FREE_PROVIDERS or domain.partition(".")[0] in FREE_PROVIDERS
    return {
        "email_invalid": 0.0 if local and "." in domain else 1.0,
        "email_free": float(free),
        "email_untraceable": float(domain in UNTRACEABLE_PROVIDERS),
        "firm_with_free_email": float(free and business == 1.0),
    }


def _compare_parties(c: Consignment, sender: _Party, consignee: _Party) -> Values:
    nature = c.nature.strip().casefold() if c.nature else ""
    sends, receives = classify_party(sender.name), classify_party(consignee.name)
    return {
        "same_name": _is_same(sender.name_form, consignee.name_form),
        "same_address": _is_same(sender.address_form, consignee.address_form),
        "same_phone": _is_same(sender.phone_form, consignee.phone_form),
        "same_email": _is_same(sender.email_form, consignee.email_form),
        "person_to_person": 1.0 if sends.business == 0.0 and receives.business == 0.0 else 0.0,
        "chemical_to_person": 1.0 if receives.business == 0.0 and sends.chemical == 1.0 else 0.0,
        "gift_from_firm": 1.0 if nature == "gift" and sends.business == 1.0 else 0.0,
        "sale_by_person": 1.0 if nature == "sale" and sends.business == 0.0 else 0.0,
        "account_missing": 0.0 if c.account_id else 1.0,
        "account_age_days": _compute_account_age(c),
    }


def _is_same(one: str, other: str) -> float:
    return 1.0 if one and one == other else 0.0


def _compute_account_age(c: Consignment) -> float:
    """Compute the age of the account in days at the time of scoring. A negative age counts as zero."""
    if c.account_opened_on is None or c.received_at is None:
        return nan
    opened = c.account_opened_on.toordinal() - EPOCH.toordinal()
    return float(max(to_day(c.received_at) - opened, 0))
