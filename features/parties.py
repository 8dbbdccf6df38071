"""Features of sender and consignee: are their details complete, plausible and consistent?

The features describe how details were filled in, and the kind of party. They use nothing of a person's name that could stand
for ethnicity, sex or religion: no script, no capitals, no number of words, no first name. Names of people in two
languages have the same feature values (`tests/training/evaluation/test_name_invariance.py`).

The values are computed by kernels, from the texts as `features.normalization` loads them and from the normal forms in `forms`. A list of words
or phrases becomes a flag in `WORD_FLAGS` or `PHRASE_GROUPS`; a kernel looks each word up once and tests its flags.
"""

import numpy as np

from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import (
    ASCII_TEXT,
    CAPITAL_SIGMA,
    COMPOSED,
    DECIMAL,
    DOTTED_I,
    FOLDED,
    LATIN,
    RAW,
    TRANSLITERATED,
    is_space,
    load_text,
    read_letters,
    write_latin,
)
from features.normalization.names import split_words
from features.normalization.normal_forms import LEGAL_FORM_PHRASES, LEGAL_FORMS
from features.normalization.phone_kernels import check_number
from features.normalization.words import (
    FIRST_PARTY_FLAG,
    FIRST_PARTY_GROUP,
    GIFT,
    KIND_SIGNS,
    MAX_WORD,
    POBOX,
    SALE,
    SPACE,
    begins_with,
    find_flags,
    has_phrase,
    is_digit,
)
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
FIRM_PHRASES = (
    *LEGAL_FORM_PHRASES,
    *[
        "㈜",
        "公司",
        "会社",
        "회사",
        "상사",
        "무역",
        "물산",
        "贸易",
        "貿易",
        "商贸",
        "商行",
        "工厂",
        "大学",
        "대학교",
        "병원",
    ],
)
CHEMICAL_PHRASES = ("化工", "化学", "生物科技", "医药", "화학", "제약")
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
DORMITORY_SIGNS = ("dorm", "student", "hostel", "기숙사", "宿舍")
HOME_SIGNS = (*DORMITORY_SIGNS, "apartment", "apt", "flat ", "villa", "residence", "아파트", "빌라")

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

# The lists as flags of a word.
BUSINESS, CHEMICAL, FORWARDER, VIRTUAL_OFFICE, OFFICE, PLACEHOLDER, FREE, UNTRACEABLE = (
    FIRST_PARTY_FLAG << place for place in range(8)
)
WORD_FLAGS = {
    BUSINESS: BUSINESS_WORDS | CHEMICAL_WORDS | FORWARDER_WORDS,
    CHEMICAL: CHEMICAL_WORDS,
    FORWARDER: FORWARDER_WORDS,
    VIRTUAL_OFFICE: VIRTUAL_OFFICE_WORDS,
    OFFICE: OFFICE_WORDS,
    PLACEHOLDER: PLACEHOLDERS,
    FREE: FREE_PROVIDERS,
    UNTRACEABLE: UNTRACEABLE_PROVIDERS,
}
# The phrases as groups.
FIRM_PHRASE, CHEMICAL_PHRASE, HOME_PHRASE, DORMITORY_PHRASE = (
    np.int64(FIRST_PARTY_GROUP + place) for place in range(4)
)
PHRASE_GROUPS = {
    FIRM_PHRASE: FIRM_PHRASES,
    CHEMICAL_PHRASE: CHEMICAL_PHRASES,
    HOME_PHRASE: HOME_SIGNS,
    DORMITORY_PHRASE: DORMITORY_SIGNS,
}
SIDES = ("sender", "consignee")
PARTS = ("name", "address", "city", "postcode", "country", "phone", "email")
BAR, DOT, AT = (ord(sign) for sign in "|.@")


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


PARTY_FEATURES = (
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
"""The features of both sides, of what they have in common, and of the shipper's account, in the order of the row."""
SIDE_FEATURES = len(_declare_side(SIDES[0]))


def _find_position(what: str, features: tuple[Feature, ...] = PARTY_FEATURES) -> int:
    """Return the position of a feature of the sender, or of both sides, in the values."""
    names = [feature.name for feature in features]
    return names.index(f"parties.sender_{what}" if f"parties.sender_{what}" in names else f"parties.{what}")


ADDRESS_MISSING, MISSING, NAME_INVALID, KIND = map(
    _find_position, ("address_missing", "missing", "name_invalid", "business")
)
BY_FORWARDER, PLACE, TELEPHONE, MAIL = map(
    _find_position, ("forwarder", "address_invalid", "phone_implausible", "email_invalid")
)
PLACE_VALUES, MAIL_VALUES = 8, 4
"""Numbers of the values of an address and of an e-mail address, one after the other."""
UNREADABLE_VALUES = 3
"""Number of the first values of an address that hold if it has no normal form."""
COMMON, NATURE, ACCOUNT = map(_find_position, ("same_name", "person_to_person", "account_missing"))


@kernel
def write_completeness(tables: Tables, data: Array, details: Array, values: Array) -> None:
    """Write which details of a side are missing or blank, and their number."""
    count = 0.0
    for part in range(len(PARTS)):
        missing = 1.0 if _is_blank(tables, data, details[part, 0], details[part, 1]) else 0.0
        values[part] = missing
        count += missing
    values[MISSING] = count


@kernel
def _is_blank(tables: Tables, data: Array, start: Int, end: Int) -> Bool:
    """Check if a text in UTF-8 is missing or white space. All white space has at most three bytes."""
    at = start
    while 0 <= at < end:
        byte = int(data[at])
        if byte < 0x80:
            code, length = byte, 1
        elif byte < 0xE0:
            code, length = (byte & 0x1F) << 6 | (int(data[at + 1]) & 0x3F), 2
        elif byte < 0xF0:
            code = (byte & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6 | (int(data[at + 2]) & 0x3F)
            length = 3
        else:
            return False
        if not is_space(tables, code):
            return False
        at += length
    return True


@kernel
def write_name_values(tables: Tables, data: Array, text: Array, values: Array) -> Int:
    """Write the values of a name, and of the kind of party that it names. Return 0, or what is needed first."""
    for place in range(NAME_INVALID, BY_FORWARDER + 1):
        values[place] = np.nan
    if text[0] < 0 or text[1] == text[0]:
        return 0
    kind = load_text(tables, data, text)
    if kind < 0:
        return kind
    size, digits = tables.sizes[RAW], False
    for place in range(size):
        digits = digits or tables.latin[tables.raw[place]] & DECIMAL != 0
    values[NAME_INVALID] = 1.0 if _is_filler(tables, size) else 0.0
    values[NAME_INVALID + 1] = 1.0 if digits else 0.0
    firm = chemical = False
    if kind != ASCII_TEXT:
        firm = has_phrase(tables, tables.raw, size, FIRM_PHRASE)
        chemical = has_phrase(tables, tables.raw, size, CHEMICAL_PHRASE)
        fault = write_latin(tables, tables.composed_text, tables.sizes[COMPOSED], TRANSLITERATED)
        if fault < 0:
            return fault
    flags = _find_kind(tables)
    chemical = chemical or flags & CHEMICAL != 0
    values[KIND] = 1.0 if firm or chemical or flags & BUSINESS else 0.0
    values[KIND + 1] = 1.0 if chemical else 0.0
    values[BY_FORWARDER] = 1.0 if flags & FORWARDER else 0.0
    return 0


@kernel
def mark_unreadable_name(text: Array, start: Int, end: Int, values: Array) -> None:
    """Mark a name as invalid if it was given and its normal form, from `start` to `end`, is empty."""
    if text[1] > text[0] >= 0 and start == end:
        values[NAME_INVALID] = 1.0


@kernel
def _find_kind(tables: Tables) -> Int:
    """Return all flags of the words in `latin_text`."""
    flags = 0
    for word in range(split_words(tables, tables.latin_text, tables.sizes[LATIN], KIND_SIGNS)):
        flags |= find_flags(tables, tables.arena, tables.starts[word], tables.ends[word])
    return flags


@kernel
def _is_filler(tables: Tables, size: Int) -> Bool:
    """Check if the text in `raw` is filler: it has no letter, repeats one letter, or is a placeholder.

    The rules follow the invalid texts of PACT for names, addresses and descriptions.
    """
    raw, at = tables.raw, 0
    while at < size and raw[at] < 0x80 and tables.non_letters[raw[at]] != 0:
        at += 1
    if at == size:
        return True
    start, end = 0, size
    while start < end and is_space(tables, raw[start]):
        start += 1
    while end > start and is_space(tables, raw[end - 1]):
        end -= 1
    if end == start:
        return False
    first, equal, plain = tables.lower[raw[start]], True, end - start <= MAX_WORD
    if end - start > MAX_PLACEHOLDER_LENGTH and tables.lower[raw[end - 1]] != first:
        return False
    for place in range(start, end):
        lower = tables.lower[raw[place]]
        # A dotted capital i becomes two signs, and a capital sigma at the end another small one.
        equal = equal and lower == first and raw[place] != DOTTED_I
        plain = plain and lower < 0x80
        if plain:
            tables.arena[place - start] = lower
    if equal and end - start >= MIN_REPEATS and raw[end - 1] != CAPITAL_SIGMA:
        return True
    return plain and find_flags(tables, tables.arena, START, end - start) & PLACEHOLDER != 0


@kernel
def write_address_values(tables: Tables, start: Int, end: Int, values: Array) -> None:
    """Write the values of an address. `raw` still has its text, and `forms` its normal form from `start` to `end`.

    An address that is no blank and has no word or number in normal form is invalid, without a number, and short.
    """
    line = start
    for place in range(start, end):
        line = place + 1 if tables.forms[place] == BAR else line
    if values[ADDRESS_MISSING] == 1.0 or line == end:
        for place in range(PLACE_VALUES):
            values[PLACE + place] = 1.0 if place < UNREADABLE_VALUES else 0.0
            if values[ADDRESS_MISSING] == 1.0:
                values[PLACE + place] = np.nan
        return
    size, forms = tables.sizes[RAW], tables.forms
    flags, digits, boxed = 0, False, False
    first = line
    for place in range(line, end + 1):
        if place == end or forms[place] == SPACE:
            flags |= find_flags(tables, forms, first, place)
            first = place + 1
        else:
            digits = digits or is_digit(forms[place])
            boxed = boxed or begins_with(tables, forms, place, end, POBOX)
    lowered = tables.composed_text
    for place in range(size):
        lowered[place] = tables.lower[tables.raw[place]]
    at_home = has_phrase(tables, lowered, size, HOME_PHRASE)
    dormitory = at_home and has_phrase(tables, lowered, size, DORMITORY_PHRASE)
    business = values[KIND]
    values[BY_FORWARDER] = 1.0 if values[BY_FORWARDER] == 1.0 or flags & FORWARDER else 0.0
    values[PLACE] = 1.0 if _is_filler(tables, size) else 0.0
    values[PLACE + 1] = 0.0 if digits else 1.0
    values[PLACE + 2] = 1.0 if end - line < MIN_LINE_LENGTH else 0.0
    values[PLACE + 3] = 1.0 if boxed else 0.0
    values[PLACE + 4] = 1.0 if flags & VIRTUAL_OFFICE else 0.0
    values[PLACE + 5] = 1.0 if dormitory else 0.0
    values[PLACE + 6] = 1.0 if at_home and business == 1.0 else 0.0
    values[PLACE + 7] = 1.0 if business == 0.0 and flags & OFFICE else 0.0


@kernel
def write_phone_values(tables: Tables, text: Array, start: Int, end: Int, values: Array) -> None:
    """Write the values of a number in normal form. Its owner's country is in `home`."""
    values[TELEPHONE] = values[TELEPHONE + 1] = np.nan
    if text[0] < 0 or text[1] == text[0]:
        return
    implausible, foreign = check_number(tables, start, end)
    values[TELEPHONE] = 1.0 if implausible else 0.0
    values[TELEPHONE + 1] = 1.0 if foreign else 0.0


@kernel
def write_email_values(tables: Tables, text: Array, start: Int, end: Int, values: Array) -> None:
    """Write the values of an e-mail address in normal form."""
    for place in range(MAIL, MAIL + MAIL_VALUES):
        values[place] = np.nan
    if text[0] < 0 or text[1] == text[0]:
        return
    forms, domain, dot = tables.forms, start, -1
    for place in range(start, end):
        domain = place + 1 if forms[place] == AT else domain
    for place in range(end - 1, domain - 1, -1):
        dot = place if forms[place] == DOT else dot
    flags = find_flags(tables, forms, domain, end)
    free = flags & FREE or find_flags(tables, forms, domain, dot if dot >= 0 else end) & FREE
    values[MAIL] = 0.0 if domain > start + 1 and dot >= 0 else 1.0
    values[MAIL + 1] = 1.0 if free else 0.0
    values[MAIL + 2] = 1.0 if flags & UNTRACEABLE else 0.0
    values[MAIL + 3] = 1.0 if free and values[KIND] == 1.0 else 0.0


@kernel
def write_common_values(
    tables: Tables, data: Array, nature: Array, account: Array, age: float, values: Array
) -> Int:
    """Write what the sides have in common, how they fit each other and the nature of the goods, and the account. Return 0, or what is needed first."""
    start, end = read_letters(tables, data, nature, FOLDED, START)
    if start < 0:
        return start
    for part in range(4):
        values[COMMON + part] = 1.0 if _is_same_form(tables, part, part + 4) else 0.0
    sends, receives, chemical = values[KIND], values[SIDE_FEATURES + KIND], values[KIND + 1]
    values[NATURE] = 1.0 if sends == 0.0 and receives == 0.0 else 0.0
    values[NATURE + 1] = 1.0 if receives == 0.0 and chemical == 1.0 else 0.0
    values[NATURE + 2] = 1.0 if sends == 1.0 and _is_mark(tables, start, end, GIFT) else 0.0
    values[NATURE + 3] = 1.0 if sends == 0.0 and _is_mark(tables, start, end, SALE) else 0.0
    values[ACCOUNT] = 0.0 if account[0] >= 0 and account[1] > account[0] else 1.0
    values[ACCOUNT + 1] = age
    return 0


@kernel
def _is_same_form(tables: Tables, one: Int, other: Int) -> Bool:
    first, second = tables.slots[one, 0], tables.slots[other, 0]
    size = tables.slots[one, 1] - first
    if size == 0 or tables.slots[other, 1] - second != size:
        return False
    for place in range(size):
        if tables.forms[first + place] != tables.forms[second + place]:
            return False
    return True


@kernel
def _is_mark(tables: Tables, start: Int, end: Int, mark: Int) -> Bool:
    """Check if the letters from `start` to `end` are exactly a mark."""
    return end - start == tables.mark_size[mark] and begins_with(tables, tables.letters, start, end, mark)
