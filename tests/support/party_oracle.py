"""The values of the parties in plain Python: the oracle of the kernels in `features.parties`."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import nan
from operator import attrgetter, not_
from typing import NamedTuple, cast

from support.form_oracle import check_phone, read_country

from consignments.records import Consignment
from consignments.timestamps import EPOCH, to_day
from features.normalization.normal_forms import (
    NormalForms,
    fold_to_ascii,
    make_letter_table,
)
from features.parties import (
    BUSINESS_WORDS,
    CHEMICAL_PHRASES,
    CHEMICAL_WORDS,
    DORMITORY_SIGNS,
    FIRM_PHRASES,
    FORWARDER_WORDS,
    FREE_PROVIDERS,
    HOME_SIGNS,
    MIN_LINE_LENGTH,
    MIN_REPEATS,
    NON_LETTERS,
    OFFICE_WORDS,
    PARTY_FEATURES,
    PLACEHOLDERS,
    UNTRACEABLE_PROVIDERS,
    VIRTUAL_OFFICE_WORDS,
)

_KIND_WORDS = BUSINESS_WORDS | CHEMICAL_WORDS | FORWARDER_WORDS
_ADDRESS_KIND_WORDS = FORWARDER_WORDS | VIRTUAL_OFFICE_WORDS | OFFICE_WORDS
_FIRM_IN_SCRIPTS = re.compile("|".join(map(re.escape, FIRM_PHRASES)))
_CHEMICALS_IN_SCRIPTS = re.compile("|".join(map(re.escape, CHEMICAL_PHRASES)))
ASCII_HOME_SIGNS = tuple(filter(str.isascii, HOME_SIGNS))

DOMAIN_CACHE_SIZE = 1 << 12

_LETTERS = make_letter_table()
_DIGIT = re.compile(r"\d")

SIDES = ("sender", "consignee")
_PARTS = ("name", "address", "city", "postcode", "country", "phone", "email")


Details = tuple[str | None, str | None, str | None, str | None, str | None, str | None, str | None]
"""The name, street address, city, postcode, country, telephone and e-mail of one side, as filled in."""
_SENDER, _CONSIGNEE = cast(
    tuple[Callable[[Consignment], Details], Callable[[Consignment], Details]],
    tuple(attrgetter(*(f"{side}_{part}" for part in _PARTS)) for side in SIDES),
)
Numbers = tuple[float, ...]
# The flags of missing details, and their number.
_COMPLETENESS: dict[tuple[bool, ...], Numbers] = {
    missing: (*map(float, missing), float(sum(missing)))
    for missing in product((False, True), repeat=len(_PARTS))
}


class PartyFeatures:
    """The features of both sides in plain Python."""

    features = PARTY_FEATURES

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the features of the parties. A feature is NaN if its detail is missing."""
        sender, consignee = _SENDER(c), _CONSIGNEE(c)
        sends, of_sender = _read_name(sender[0], forms.sender_name)
        receives, of_consignee = _read_name(consignee[0], forms.consignee_name)
        at_sender = _address_values(sender[1], forms.sender_address, sends)
        at_consignee = _address_values(consignee[1], forms.consignee_address, receives)
        return (
            *_check_completeness(sender),
            *of_sender,
            *at_sender,
            *_phone_values(sender[5], forms.sender_phone, sender[4]),
            *_email_values(sender[6], forms.sender_email, sends),
            *_check_completeness(consignee),
            *of_consignee,
            *at_consignee,
            *_phone_values(consignee[5], forms.consignee_phone, consignee[4]),
            *_email_values(consignee[6], forms.consignee_email, receives),
            _is_same(forms.sender_name, forms.consignee_name),
            _is_same(forms.sender_address, forms.consignee_address),
            _is_same(forms.sender_phone, forms.consignee_phone),
            _is_same(forms.sender_email, forms.consignee_email),
            *_compare_parties(c.nature, sends, receives),
            0.0 if c.account_id else 1.0,
            _account_age_days(c),
        )


class PartyKind(NamedTuple):
    """The kind of a party by its name, as flags: 1, 0, or NaN without a name."""

    business: float
    chemical: float
    forwarder: float


UNKNOWN_KIND, PERSON = PartyKind(nan, nan, nan), PartyKind(0.0, 0.0, 0.0)


def classify_party(name: str | None) -> PartyKind:
    """Classify a party by its name.

    Examples
    --------
    >>> classify_party("Orchid Fine Chemicals Ltd"), classify_party("Kim Min-su")
    (PartyKind(business=1.0, chemical=1.0, forwarder=0.0), PartyKind(business=0.0, chemical=0.0, forwarder=0.0))
    """
    if not name:
        return UNKNOWN_KIND
    plain = name if name.isascii() else fold_to_ascii(name)
    words = plain.encode().translate(_LETTERS, b".'`").decode().split()
    known = not _KIND_WORDS.isdisjoint(words)
    if plain is name and not known:
        return PERSON
    business = known or _FIRM_IN_SCRIPTS.search(name) is not None
    chemical = not CHEMICAL_WORDS.isdisjoint(words) or _CHEMICALS_IN_SCRIPTS.search(name) is not None
    forwarder = not FORWARDER_WORDS.isdisjoint(words)
    return PartyKind(float(business or chemical), float(chemical), float(forwarder))


def is_filler(text: str) -> bool:
    """Check if a text is filler: it has no letter, repeats one letter, or is a placeholder.

    The rules follow the invalid texts of PACT for names, addresses and descriptions.

    Examples
    --------
    >>> [is_filler(text) for text in ("XXX", "N/A", "12-34", "Kim")]
    [True, True, True, False]
    """
    if not text.strip(NON_LETTERS):
        return True
    low = text.strip().lower()
    return low in PLACEHOLDERS or (len(low) >= MIN_REPEATS and low == low[0] * len(low))


def _check_completeness(details: Details) -> Numbers:
    given: Iterable[str | None] = details
    if any(map(str.isspace, filter(None, details))):
        given = [part.strip() if part else part for part in details]
    return _COMPLETENESS[tuple(map(not_, given))]


def _read_name(name: str | None, form: str) -> tuple[PartyKind, Numbers]:
    """Classify the party of a name, and compute the features of name and kind."""
    kind = classify_party(name)
    return kind, (*_name_values(name, form), kind.business, kind.chemical)


def _name_values(name: str | None, form: str) -> Numbers:
    if not name:
        return nan, nan
    # Capitals, words and length are not used: only some scripts have capitals, and only some peoples have one name or long names.
    invalid = is_filler(name) or not form
    return 1.0 if invalid else 0.0, 1.0 if _DIGIT.search(name) else 0.0


def _address_values(address: str | None, form: str, kind: PartyKind) -> Numbers:
    line = form.rpartition("|")[2]
    if not address or address.isspace():
        return (kind.forwarder, *(nan,) * 8)
    if not line:
        return (kind.forwarder, 1.0, 1.0, 1.0, *(0.0,) * 5)
    low = address.lower()
    at_home = _contains_any(low, ASCII_HOME_SIGNS if low.isascii() else HOME_SIGNS)
    words = line.split()
    telling = words if not _ADDRESS_KIND_WORDS.isdisjoint(words) else ()
    return (
        1.0 if kind.forwarder == 1.0 or not FORWARDER_WORDS.isdisjoint(telling) else 0.0,
        1.0 if is_filler(address) else 0.0,
        0.0 if line[0].isdigit() or _DIGIT.search(line) else 1.0,
        1.0 if len(line) < MIN_LINE_LENGTH else 0.0,
        1.0 if "pobox" in line else 0.0,
        0.0 if VIRTUAL_OFFICE_WORDS.isdisjoint(telling) else 1.0,
        1.0 if at_home and _contains_any(low, DORMITORY_SIGNS) else 0.0,
        1.0 if at_home and kind.business == 1.0 else 0.0,
        1.0 if kind.business == 0.0 and not OFFICE_WORDS.isdisjoint(telling) else 0.0,
    )


def _contains_any(text: str, signs: tuple[str, ...]) -> bool:
    for sign in signs:  # noqa: SIM110 - half the time of any() on the path of every request
        if sign in text:
            return True
    return False


def _phone_values(phone: str | None, form: str, country: str | None) -> Numbers:
    if not phone:
        return nan, nan
    implausible, foreign = check_phone(form, read_country(country))
    return 1.0 if implausible else 0.0, 1.0 if foreign else 0.0


def _email_values(email: str | None, form: str, kind: PartyKind) -> Numbers:
    if not email:
        return (nan,) * 4
    local, _, domain = form.rpartition("@")
    invalid, free, untraceable = _read_domain(domain)
    return invalid if local else 1.0, free, untraceable, free if kind.business == 1.0 else 0.0


def _read_domain(domain: str) -> tuple[float, float, float]:
    """Check if a domain is invalid, belongs to a free provider, or belongs to an untraceable provider."""
    free = domain in FREE_PROVIDERS or domain.partition(".")[0] in FREE_PROVIDERS
    return (
        0.0 if "." in domain else 1.0,
        1.0 if free else 0.0,
        1.0 if domain in UNTRACEABLE_PROVIDERS else 0.0,
    )


def _compare_parties(nature: str | None, sends: PartyKind, receives: PartyKind) -> Numbers:
    from_firm = sends.business == 1.0
    from_person, to_person = sends.business == 0.0, receives.business == 0.0
    nature = nature and nature.strip().casefold()
    return (
        1.0 if from_person and to_person else 0.0,
        1.0 if to_person and sends.chemical == 1.0 else 0.0,
        1.0 if nature == "gift" and from_firm else 0.0,
        1.0 if nature == "sale" and from_person else 0.0,
    )


def _is_same(one: str, other: str) -> float:
    return 1.0 if one and one == other else 0.0


def _account_age_days(c: Consignment) -> float:
    """Compute the age of the account in days at the time of scoring. A negative age counts as zero."""
    if c.account_opened_on is None or c.received_at is None:
        return nan
    opened = c.account_opened_on.toordinal() - EPOCH.toordinal()
    return float(max(to_day(c.received_at) - opened, 0))
