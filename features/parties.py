"""Features of sender and consignee: are their details complete, plausible and consistent?

The features describe how details were filled in, and the kind of party. They use nothing of a person's name that could stand
for ethnicity, sex or religion: no script, no capitals, no number of words, no first name. Names of people in two
languages have the same feature values (`tests/features/test_names.py`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import product
from math import nan
from operator import attrgetter, not_
from typing import NamedTuple, cast

from consignments.records import Consignment
from consignments.timestamps import EPOCH, to_day
from features.normalization.normal_forms import (
    LEGAL_FORMS,
    LEGAL_FORMS_IN_SCRIPTS,
    SENDER_CACHE_SIZE,
    NormalForms,
    fold_to_ascii,
    make_letter_table,
)
from features.normalization.phones import check_phone
from features.spec import Feature

# Words that firms and institutions have in their names in addition to their legal form.
_TRADE_WORDS_TEXT = """
    trading trade import export imports exports store shop mall outlet market supply supplies group industries industrial
    factory manufacturing technology tech biotech chem chemical chemicals pharma pharmaceutical pharmaceuticals laboratory
    laboratories university hospital institute clinic electronics logistics express services service international global
    enterprise enterprises foundation school studio media sons brothers commerce digital textile fashion warehouse cargo freight
    trdg intl
"""
BUSINESS_WORDS = LEGAL_FORMS | frozenset(_TRADE_WORDS_TEXT.split())
_CHEMICAL_WORDS_TEXT = """
    chem chemical chemicals chemistry biochem biotech biotechnology pharma pharmaceutical pharmaceuticals laboratory
    laboratories labs reagent reagents peptide peptides intermediates research nootropics coatings
"""
CHEMICAL_WORDS = frozenset(_CHEMICAL_WORDS_TEXT.split())
# The same words in scripts that write no space between words.
_FIRM_IN_SCRIPTS = re.compile(
    LEGAL_FORMS_IN_SCRIPTS.pattern
    + "|㈜|公司|会社|회사|상사|무역|물산|贸易|貿易|商贸|商行|工厂|大学|대학교|병원"
)
_CHEMICALS_IN_SCRIPTS = re.compile("化工|化学|生物科技|医药|화학|제약")
_FORWARDER_WORDS_TEXT = """
    forwarding forwarder forwarders freight logistics shipping cargo consolidation consolidator fulfillment fulfilment
    parcelhub reship reshipping transshipment warehouse baedaeji
"""
FORWARDER_WORDS = frozenset(_FORWARDER_WORDS_TEXT.split())
VIRTUAL_OFFICE_WORDS = frozenset(
    ("virtual", "coworking", "regus", "wework", "mailbox", "pmb", "locker", "suites", "hub", "mailroom")
)
# In the normal form of addresses: industrial is ind, center is ctr.
OFFICE_WORDS = frozenset(
    (
        "tower",
        "plaza",
        "ind",
        "business",
        "office",
        "offices",
        "ctr",
        "technopark",
        "techno",
        "factory",
        "mall",
    )
)
_KIND_WORDS = BUSINESS_WORDS | CHEMICAL_WORDS | FORWARDER_WORDS
_ADDRESS_KIND_WORDS = FORWARDER_WORDS | VIRTUAL_OFFICE_WORDS | OFFICE_WORDS
DORMITORY_SIGNS = ("dorm", "student", "hostel", "기숙사", "宿舍")
HOME_SIGNS = (*DORMITORY_SIGNS, "apartment", "apt", "flat ", "villa", "residence", "아파트", "빌라")
ASCII_HOME_SIGNS = tuple(filter(str.isascii, HOME_SIGNS))

# Texts that are entered if a value is not known, and file endings (PLACI assistance tables of invalid text).
_PLACEHOLDERS_TEXT = """
    n/a nda nil none null unknown test tbd tba anonymous customer consignee shipper sender receiver recipient name address
    same asdf qwerty wpx pdf doc docx xls jpg
"""
PLACEHOLDERS = frozenset(_PLACEHOLDERS_TEXT.split())
NON_LETTERS = " .,;:-_/\\\\|*+#?!'\"()[]{}<>&%$@=~^`0123456789"
MAX_PLACEHOLDER_LENGTH = max(map(len, PLACEHOLDERS))
MIN_REPEATS = 3
MIN_LINE_LENGTH = 6

# Providers that give everyone an address within a minute: the first part of the domain, or the whole domain.
_FREE_PROVIDERS_TEXT = """
    gmail yahoo ymail hotmail outlook live msn aol icloud gmx yandex naver daum hanmail nate kakao qq 163 126 sina foxmail
    rediffmail web.de mail.ru mail.com me.com t-online.de orange.fr libero.it seznam.cz wp.pl o2.pl zoho.com
"""
FREE_PROVIDERS = frozenset(_FREE_PROVIDERS_TEXT.split())
# Providers of addresses that expire within minutes, and providers that require no name.
_UNTRACEABLE_PROVIDERS_TEXT = """
    mailinator.com guerrillamail.com grr.la sharklasers.com 10minutemail.com temp-mail.org tempmail.com tempr.email yopmail.com
    trashmail.com getnada.com maildrop.cc dispostable.com throwawaymail.com fakeinbox.com moakt.com mohmal.com discard.email
    emailondeck.com burnermail.io spamgourmet.com mailnesia.com proton.me protonmail.com protonmail.ch pm.me tutanota.com
    tuta.io tuta.com cock.li riseup.net onionmail.org dnmx.org mail2tor.com secmail.pro
"""
UNTRACEABLE_PROVIDERS = frozenset(_UNTRACEABLE_PROVIDERS_TEXT.split())

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


def _declare_side(side: str) -> tuple[Feature, ...]:
    """Declare the features of one side."""

    def flag(what: str, reason: str) -> Feature:
        return Feature(f"parties.{side}_{what}", "flag", f"{side}_{reason}")

    return (
        flag("name_missing", "incomplete"),
        flag("address_missing", "incomplete"),
        flag("city_missing", "incomplete"),
        flag("postcode_missing", "incomplete"),
        flag("country_missing", "incomplete"),
        flag("phone_missing", "incomplete"),
        flag("email_missing", "incomplete"),
        Feature(
            f"parties.{side}_missing",
            "count",
            f"{side}_incomplete",
        ),
        flag("name_invalid", "name"),
        flag("name_digits", "name"),
        flag("business", "kind"),
        flag("chemical", "kind"),
        flag("forwarder", "forwarder"),
        flag("address_invalid", "address"),
        flag("address_numberless", "address"),
        flag("address_short", "address"),
        flag("post_box", "forwarder"),
        flag("virtual_office", "forwarder"),
        flag("dormitory", "address"),
        flag("firm_at_home", "kind_of_address"),
        flag("person_at_office", "kind_of_address"),
        flag("phone_implausible", "phone"),
        flag("phone_foreign", "phone"),
        flag("email_invalid", "email"),
        flag("email_free", "email"),
        flag("email_untraceable", "email"),
        flag("firm_with_free_email", "email"),
    )


class PartyFeatures:
    """The features of both sides, of what they have in common, and of the shipper's account."""

    features = (
        *(feature for side in SIDES for feature in _declare_side(side)),
        Feature("parties.same_name", "flag", "same_party"),
        Feature("parties.same_address", "flag", "same_party"),
        Feature("parties.same_phone", "flag", "same_party"),
        Feature("parties.same_email", "flag", "same_party"),
        Feature("parties.person_to_person", "flag", "kind_of_parties"),
        Feature(
            "parties.chemical_to_person",
            "flag",
            "kind_of_parties",
        ),
        Feature(
            "parties.gift_from_firm",
            "flag",
            "kind_of_parties",
        ),
        Feature(
            "parties.sale_by_person",
            "flag",
            "kind_of_parties",
        ),
        Feature("parties.account_missing", "flag", "account"),
        Feature("parties.account_age_days", "days", "account"),
    )

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the features of the parties. A feature is NaN if its detail is missing."""
        sender, consignee = _SENDER(c), _CONSIGNEE(c)
        sends, of_sender = _read_sender_name(sender[0])
        receives, of_consignee = _read_name(consignee[0])
        at_sender = _read_sender_address(sender[1], forms.sender_address, sends)
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
    if len(text) > MAX_PLACEHOLDER_LENGTH and text[0] != text[-1]:
        return False
    low = text.strip().lower()
    return low in PLACEHOLDERS or (len(low) >= MIN_REPEATS and low == low[0] * len(low))


def _check_completeness(details: Details) -> Numbers:
    given: Iterable[str | None] = details
    if any(map(str.isspace, filter(None, details))):
        given = [part.strip() if part else part for part in details]
    return _COMPLETENESS[tuple(map(not_, given))]


def _read_name(name: str | None) -> tuple[PartyKind, Numbers]:
    """Classify the party of a name, and compute the features of name and kind."""
    kind = classify_party(name)
    return kind, (*_name_values(name), kind.business, kind.chemical)


def _name_values(name: str | None) -> Numbers:
    if not name:
        return nan, nan
    # Capitals, words and length are not used: only some scripts have capitals, and only some peoples have one name or long names.
    return 1.0 if is_filler(name) else 0.0, 1.0 if _DIGIT.search(name) else 0.0


def _address_values(address: str | None, form: str, kind: PartyKind) -> Numbers:
    line = form.rpartition("|")[2]
    if not address or not line:
        return (kind.forwarder, *(nan,) * 8)
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


_read_sender_name = lru_cache(SENDER_CACHE_SIZE)(_read_name)
_read_sender_address = lru_cache(SENDER_CACHE_SIZE)(_address_values)


def _contains_any(text: str, signs: tuple[str, ...]) -> bool:
    for sign in signs:  # noqa: SIM110 - half the time of any() on the path of every request
        if sign in text:
            return True
    return False


def _phone_values(phone: str | None, form: str, country: str | None) -> Numbers:
    if not phone:
        return nan, nan
    implausible, foreign = check_phone(form, country.strip().upper() if country else "")
    return 1.0 if implausible else 0.0, 1.0 if foreign else 0.0


def _email_values(email: str | None, form: str, kind: PartyKind) -> Numbers:
    if not email:
        return (nan,) * 4
    local, _, domain = form.rpartition("@")
    invalid, free, untraceable = _read_domain(domain)
    return invalid if local else 1.0, free, untraceable, free if kind.business == 1.0 else 0.0


@lru_cache(DOMAIN_CACHE_SIZE)
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
