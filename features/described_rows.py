"""Rows of consignments described by kernels: the values of the parties, the normal forms, and the history keys.

Python packs the texts of a row as MessagePack. The kernel gives a row back if a text has a page of letters that it does not know yet, or
if Python must compose it; then it reads the row again.
"""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple
from unicodedata import normalize

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, BadSetting, ServiceFault
from consignments.records import Consignment
from consignments.timestamps import EPOCH, to_day
from features.history.key_kernels import (
    FIRST_PART,
    KEY_PLAN,
    MAX_KINDS,
    MAX_PARTS,
    MAX_PREFIXES,
    NO_COUNTERPART,
)
from features.history.keys import PRODUCT, KeyKind
from features.history.pseudonyms import KIND_SEPARATOR, Pseudonyms
from features.normalization.letters import NEEDS_PAGE, NEEDS_PYTHON, NEEDS_ROOM, fill_letters, fill_page
from features.normalization.normal_forms import (
    ADDRESS_WORDS,
    GMAIL_DOMAINS,
    HONORIFIC_PHRASES,
    LEGAL_FORM_PHRASES,
    LETTERS,
    LETTERS_IN_ADDRESSES,
    NAME_WORDS,
    OMITTED_ADDRESS_SIGNS,
    OMITTED_SIGNS,
    POST_BOX_WORDS,
    NormalForms,
    get_goods_hs,
    normalize_goods,
)
from features.normalization.phone_kernels import fill_plans
from features.normalization.tables import MAX_FIELDS, create_tables, get_record
from features.normalization.words import (
    ADDRESS_SIGNS,
    BUILDING,
    FLAT,
    FLOOR,
    GMAIL_DOMAIN,
    HONORIFIC_PHRASE,
    KIND_SIGNS,
    LEGAL_FORM_PHRASE,
    NAME_SIGNS,
    POST_BOX_WORD,
    WordLists,
    fill_signs,
    fill_words,
)
from features.parties import (
    KIND,
    NAME_INVALID,
    NON_LETTERS,
    PARTS,
    PARTY_FEATURES,
    PHRASE_GROUPS,
    SIDES,
    WORD_FLAGS,
)
from features.row_kernels import (
    ACCOUNT_AGE,
    ACCOUNT_SLOT,
    DONE,
    FIRST_DECLARED,
    FIRST_DECLARED_SLOT,
    FIRST_END,
    FORMS,
    OFFSET,
    ROW,
    describe_rows,
)

DETAIL_COLUMNS = tuple(f"{side}_{part}" for side in SIDES for part in PARTS)
COUNTRIES = tuple(place for place, name in enumerate(DETAIL_COLUMNS) if name.endswith("_country"))
EMAILS = tuple(place for place, name in enumerate(DETAIL_COLUMNS) if name.endswith("_email"))
CODE_COLUMNS = ("account_id", "departure_country", "origin_country", "route", "declarant")
FIGURE_COLUMNS = ("gross_weight_kg", "declared_value")
COLUMNS = (*DETAIL_COLUMNS, *CODE_COLUMNS, *FIGURE_COLUMNS, "currency", "nature")
FORM_COLUMNS = tuple(f"{side}_{part}" for side in SIDES for part in ("name", "address", "phone", "email"))
# The slots of the values that keys have as parts. A column that is not listed here is a declared one.
SLOTS = {
    **{name: slot for slot, name in enumerate(FORM_COLUMNS)},
    **{
        name: ACCOUNT_SLOT + place
        for place, name in enumerate((*CODE_COLUMNS, *FIGURE_COLUMNS, "currency", "hs_code", PRODUCT))
    },
}
FORM_BYTES, MAX_FORM_BYTES = 1 << 12, 1 << 20
"""Room for the forms of a row that Python reads: usual, and for any valid text, whose forms have at most half of it."""
POSITIVE_ZERO = 0.0
"""Added to a number, it turns -0.0 into 0.0."""
Values = NDArray[np.float32]
Keys = NDArray[np.uint64]

_select = attrgetter(*COLUMNS)


@cache
def load_tables() -> NDArray[Any]:
    """Build the tables of the kernels, once per process. This takes some milliseconds."""
    all_tables = create_tables()
    tables = get_record(all_tables)
    fill_letters(tables)
    fill_plans(tables)
    flags = {POST_BOX_WORD: POST_BOX_WORDS, GMAIL_DOMAIN: GMAIL_DOMAINS, **WORD_FLAGS}
    roles = {"apt": FLAT, "fl": FLOOR, "bldg": BUILDING, "blk": BUILDING}
    phrases = {LEGAL_FORM_PHRASE: LEGAL_FORM_PHRASES, HONORIFIC_PHRASE: HONORIFIC_PHRASES, **PHRASE_GROUPS}
    fill_words(tables, WordLists(flags, NAME_WORDS, ADDRESS_WORDS, roles, phrases))
    fill_signs(tables, NAME_SIGNS, LETTERS, OMITTED_SIGNS)
    fill_signs(tables, KIND_SIGNS, LETTERS, OMITTED_ADDRESS_SIGNS)
    fill_signs(tables, ADDRESS_SIGNS, LETTERS_IN_ADDRESSES, OMITTED_ADDRESS_SIGNS)
    for sign in NON_LETTERS:
        tables.non_letters[ord(sign)] = 1
    return all_tables


class KeyPlan(NamedTuple):
    """The definition of the keys of a row.

    Attributes
    ----------
    record : array of one record of `KEY_PLAN`
    kinds : int
        Number of kinds.
    declared : tuple of str
        Columns that only declared keys use.
    """

    record: NDArray[Any]
    kinds: int
    declared: tuple[str, ...]


NO_KEYS = KeyPlan(np.zeros(1, KEY_PLAN), 0, ())


def build_key_plan(kinds: Sequence[KeyKind], pseudonyms: Pseudonyms) -> KeyPlan:
    """Build the plan of some kinds of keys.

    Raises
    ------
    BadSetting
        If there are more kinds, or more columns, than kernels have room for.
    """
    names = dict.fromkeys(
        name for kind in kinds for name in kind.parts if name not in SLOTS or _is_declared_figure(kind, name)
    )
    declared = {name: FIRST_DECLARED_SLOT + place for place, name in enumerate(names)}
    places = {kind.name: place for place, kind in enumerate(kinds)}
    prefixes = [kind.name.encode() + KIND_SEPARATOR for kind in kinds]
    _check_room("keys", len(kinds), MAX_KINDS)
    _check_room("columns", len(names), MAX_FIELDS - FIRST_DECLARED)
    _check_room("columns in a key", max(len(kind.parts) for kind in kinds), MAX_PARTS)
    _check_room("letters", sum(map(len, prefixes)), MAX_PREFIXES)
    record = np.zeros(1, KEY_PLAN)
    record[0]["count"], record[0]["declared"] = len(kinds), len(names)
    record[0]["start"][:] = pseudonyms.start_state
    record[0]["prefixes"][: sum(map(len, prefixes))] = list(b"".join(prefixes))
    used = 0
    for row, kind, prefix in zip(record[0]["kinds"], kinds, prefixes, strict=False):
        slots = [
            SLOTS[name] if name in SLOTS and not _is_declared_figure(kind, name) else declared[name]
            for name in kind.parts
        ]
        parts = [2 * slot + (name not in kind.optional) for slot, name in zip(slots, kind.parts, strict=True)]
        counterpart = places[kind.counterpart] if kind.counterpart is not None else NO_COUNTERPART
        row[: FIRST_PART + len(parts)] = (used, len(prefix), counterpart, len(parts), *parts)
        used += len(prefix)
    return KeyPlan(record, len(kinds), tuple(names))


def _check_room(what: str, got: int, most: int) -> None:
    if got > most:
        raise BadSetting(
            f"the history keys have too many {what}",
            where="[history] keys",
            got=str(got),
            expected=f"at most {most}",
        )


def _is_declared_figure(kind: KeyKind, name: str) -> bool:
    return name in FIGURE_COLUMNS and name in kind.optional


class DescribedRows(NamedTuple):
    """The values and keys of some consignments, from a kernel.

    Attributes
    ----------
    values : float32 array, (n, party features)
    keys, counterparts : uint64 array, (n, kinds)
        0 if missing.
    """

    values: Values
    keys: Keys
    counterparts: Keys


def prepare_kernels() -> None:
    """Compile the kernel if no process did so on this machine, so that several processes do not do it at the same time."""
    describe([], NO_KEYS)


def describe(consignments: Sequence[Consignment], plan: KeyPlan) -> DescribedRows:
    """Compute the values of the parties and the history keys of some consignments.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    described = create_rows(len(consignments), plan)
    fill_described(consignments, [get_goods_hs(c) for c in consignments], plan, described)
    return described


def create_rows(count: int, plan: KeyPlan) -> DescribedRows:
    """Create arrays for some consignments."""
    keys, counterparts = np.empty((2, count, plan.kinds), np.uint64)
    return DescribedRows(np.empty((count, len(PARTY_FEATURES)), np.float32), keys, counterparts)


def fill_described(
    consignments: Sequence[Consignment], hs_codes: Sequence[str], plan: KeyPlan, rows: DescribedRows
) -> None:
    """Write the values of the parties and the history keys of some consignments into arrays.

    Parameters
    ----------
    consignments : sequence of Consignment, (n,)
    hs_codes : sequence of str, (n,)
        Results of `get_goods_hs`.
    plan : KeyPlan
    rows : DescribedRows
        Its `values` may have more columns; the values are the first ones.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    values: list[Sequence[Any]] = [
        _read_values(c, hs, plan.declared) for c, hs in zip(consignments, hs_codes, strict=True)
    ]
    _check_arrays(len(values), plan, rows)
    _describe_values(values, plan, rows)


def fill_with_forms(c: Consignment, goods: NormalForms, plan: KeyPlan, rows: DescribedRows) -> NormalForms:
    """Write what `fill_described` does for one consignment, and return all its normal forms.

    Parameters
    ----------
    c : Consignment
    goods : NormalForms
        The forms of its goods.
    plan : KeyPlan
    rows : DescribedRows
        Arrays of one row.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    _check_arrays(1, plan, rows)
    forms = _describe_values([_read_values(c, goods.hs, plan.declared)], plan, rows, forms_too=True)
    return NormalForms._make((*forms, goods.hs, goods.text))


def _check_arrays(count: int, plan: KeyPlan, rows: DescribedRows) -> None:
    """Check what kernels do not: that each array is of one kind and has room."""
    values, keys, counterparts = rows
    if values.dtype != np.float32 or not values.flags.c_contiguous or values.shape[0] != count:
        raise IndexError(f"values of shape {values.shape} are no rows of float32 for {count} consignments")
    if values.shape[1] < len(PARTY_FEATURES):
        raise IndexError(f"rows of {values.shape[1]} values have no {len(PARTY_FEATURES)} places")
    for each in (keys, counterparts):
        if each.dtype != np.uint64 or not each.flags.c_contiguous or each.shape != (count, plan.kinds):
            raise IndexError(f"keys of shape {each.shape} are no uint64 of shape {(count, plan.kinds)}")


class PartyDetails(NamedTuple):
    """The details of a party as they were filled in; None if missing."""

    name: str | None = None
    address: str | None = None
    city: str | None = None
    postcode: str | None = None
    country: str | None = None
    phone: str | None = None
    email: str | None = None


class DescribedParty(NamedTuple):
    """A party as features and keys see it.

    Attributes
    ----------
    name, address, phone, email : str
        In normal form; '' if missing.
    filler, business : float
        1 if its name is filler, and if it is a firm; 0 if not, NaN without a name.
    """

    name: str
    address: str
    phone: str
    email: str
    filler: float
    business: float


def describe_party(details: PartyDetails) -> DescribedParty:
    """Describe a party alone.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.

    Examples
    --------
    >>> describe_party(PartyDetails("KIM, Min-su", phone="010-5550-1234", country="KR"))[:4]
    ('imminsuk', '', '+821055501234', '')
    """
    forms, values = _describe_row((*details, *_NO_VALUES[len(details) :]))
    name, address, phone, email = forms[: FORMS // 2]
    filler, business = float(values[NAME_INVALID]), float(values[KIND])
    return DescribedParty(name, address, phone, email, filler, business)


def split_street_words(address: str, country: str) -> frozenset[str]:
    """Split a street line into words in normal form, also those that an address would repeat.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    # A number in place of the city: the kernel leaves out no word.
    forms, _ = _describe_row((None, address, 0, None, country, *_NO_VALUES[5:]))
    return frozenset(forms[1].rpartition("|")[2].split())


def normalize_consignment(c: Consignment) -> NormalForms:
    """Compute all normal forms of a consignment. The text of the goods keeps its spelling.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    return fill_with_forms(c, normalize_goods(c), NO_KEYS, create_rows(1, NO_KEYS))


_NO_FORMS = np.zeros(0, np.uint8)
_NO_VALUES = (None,) * FIRST_DECLARED


def _describe_row(row: Sequence[Any]) -> tuple[list[str], Values]:
    """Return the normal forms of both sides in the order of `FORM_COLUMNS`, '' if missing, and the values."""
    described = create_rows(1, NO_KEYS)
    return _describe_values([row], NO_KEYS, described, forms_too=True), described.values[0]


def _describe_values(
    rows: list[Sequence[Any]], plan: KeyPlan, described: DescribedRows, *, forms_too: bool = False
) -> list[str]:
    """Describe rows with the kernel, and do what it asks for in between. Return the forms of the last row, if they are wanted."""
    tables, progress = load_tables(), np.zeros(FIRST_END + FORMS, np.int64)
    forms = np.empty(FORM_BYTES, np.uint8) if forms_too else _NO_FORMS
    prepared, data = -1, _encode(rows)
    progress[OFFSET] = _measure_head(len(rows))
    while True:
        todo = describe_rows(tables, np.frombuffer(data, np.uint8), progress, plan.record, *described, forms)
        if todo == DONE:
            return _decode_forms(forms, progress) if forms_too else []
        row = int(progress[ROW])
        if todo == NEEDS_PAGE:
            record = get_record(tables)
            fill_page(record, int(record.page[0]))
        elif todo == NEEDS_ROOM and len(forms) < MAX_FORM_BYTES:
            forms = np.empty(MAX_FORM_BYTES, np.uint8)
        elif todo == NEEDS_PYTHON and row != prepared:
            rows[row] = _prepare_values(rows[row])
            data = _ENCODER.encode(rows[row:])
            prepared, progress[OFFSET] = row, _measure_head(len(rows) - row)
        else:
            raise _explain_refusal(todo)


def _decode_forms(forms: NDArray[np.uint8], progress: NDArray[np.int64]) -> list[str]:
    ends = progress[FIRST_END:].tolist()
    text = forms[: ends[-1]].tobytes()
    pairs = zip([0, *ends], ends, strict=False)
    return [text[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairs]


def _explain_refusal(todo: int) -> Exception:
    if todo == NEEDS_PYTHON:
        return ServiceFault(
            "a kernel asks again for a row that Python prepared", where="features.described_rows"
        )
    return BadInput(
        "a text is too long", where="a detail or code of a consignment", expected="at most 500 characters",
        todo="check the record with consignments.tables, as the service does",
    )  # fmt: skip


def _encode_other(value: Any) -> Any:
    """Convert a subclass of str or a number of numpy, which MessagePack does not know."""
    return str(value) if isinstance(value, str) else float(value)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_encode_other)


def _encode(rows: list[Sequence[Any]]) -> bytes:
    try:
        return _ENCODER.encode(rows)
    except (UnicodeEncodeError, OverflowError):  # a surrogate, or a number beyond 64 bits
        rows[:] = map(_prepare_values, rows)
        return _ENCODER.encode(rows)


def _measure_head(rows: int) -> int:
    """Return the number of bytes before the first row."""
    return 1 if rows < 16 else 3 if rows < 1 << 16 else 5


def _read_values(c: Consignment, hs: str, declared: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the values of a row in the order of `features.row_kernels`."""
    values = (*_select(c), hs, _compute_account_age(c))
    if declared:
        values += tuple(_drop_nan(getattr(c, name, None)) for name in declared)
    return values


def _drop_nan(value: Any) -> Any:
    return value if value == value else None


def _compute_account_age(c: Consignment) -> int | None:
    """Compute the age of the account in days at the time of scoring. A negative age counts as zero."""
    if c.account_opened_on is None or c.received_at is None:
        return None
    opened = c.account_opened_on.toordinal() - EPOCH.toordinal()
    return max(to_day(c.received_at) - opened, 0)


def _prepare_values(values: Sequence[Any]) -> tuple[Any, ...]:
    """Do for a row what kernels cannot: compose texts, fold the case of e-mails and countries, and write numbers."""
    return tuple(_prepare_value(place, value) for place, value in enumerate(values))


def _prepare_value(place: int, value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return [_to_bytes(value), _to_bytes(_compose(place, value))]
    if isinstance(value, str) or value is None or place == ACCOUNT_AGE:
        return value
    return repr(float(value) + POSITIVE_ZERO) if not isinstance(value, list) else value


def _compose(place: int, text: str) -> str:
    if place in COUNTRIES:
        return text.strip().upper()
    composed = normalize("NFKC", text)
    return composed.strip().casefold() if place in EMAILS else composed


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
