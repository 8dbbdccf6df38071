"""Rows of consignments described by a kernel: the features but history and alerts, the normal forms, and the history keys.

A row is the record of a consignment in MessagePack. The kernel gives a row back if a text has a page of letters that it does not know yet, or
if Python must compose a text or write a number; then it reads the row again.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple, Protocol
from unicodedata import category, normalize

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, ServiceFault
from consignments.records import Consignment
from consignments.timestamps import to_day
from features.currency import ExchangeRates
from features.goods.kernels import compose_text
from features.goods.tables import load_goods_tables
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
    PERSONAL_NAME_WORDS,
    POST_BOX_WORDS,
    NormalForms,
    join_goods_texts,
    normalize_goods,
)
from features.normalization.phone_kernels import fill_plans
from features.normalization.record_kernels import DESCRIPTION, FIELDS, ITEM_FIELDS, ITEMS, QUALITY
from features.normalization.tables import create_tables, get_record
from features.normalization.words import (
    ADDRESS_SIGNS,
    BUILDING,
    FIRM_WORD,
    FLAT,
    FLOOR,
    GMAIL_DOMAIN,
    HONORIFIC_PHRASE,
    KIND_SIGNS,
    LEGAL_FORM_PHRASE,
    NAME_SIGNS,
    PERSONAL_NAME_WORD,
    POST_BOX_WORD,
    WordLists,
    fill_signs,
    fill_words,
)
from features.parties import (
    BUSINESS_WORDS,
    KIND,
    NAME_INVALID,
    NON_LETTERS,
    PARTS,
    PARTY_FEATURES,
    PHRASE_GROUPS,
    SIDES,
    WORD_FLAGS,
)
from features.route import fill_places
from features.rows.alert_kernels import NO_SEARCH, AlertSearch
from features.rows.form_buffer import FormBuffer
from features.rows.kernels import DONE, OFFSET, PROGRESS, ROW, USED, describe_rows
from features.rows.plans import NO_KEYS, PARTIES_ONLY, FeaturePlan, KeyPlan, build_measuring_plan
from features.rows.slots import FORMS
from features.value import MEASURE_COLUMNS

DETAIL_COLUMNS = tuple(f"{side}_{part}" for side in SIDES for part in PARTS)
COUNTRIES = tuple(
    place for place, name in enumerate(FIELDS) if name.endswith("_country") and name in DETAIL_COLUMNS
)
EMAILS = tuple(place for place, name in enumerate(FIELDS) if name.endswith("_email"))
IDENTIFIER, RECEIVED_AT = map(FIELDS.index, ("consignment_id", "received_at"))
BYTE = np.dtype(np.uint8)
POSITIVE_ZERO = 0.0
"""Added to a number, it turns -0.0 into 0.0."""
Values = NDArray[np.float32]
Keys = NDArray[np.uint64]


@cache
def load_tables() -> NDArray[Any]:
    """Build the tables of the kernels, once per process. This takes some milliseconds."""
    all_tables = create_tables()
    tables = get_record(all_tables)
    fill_letters(tables)
    fill_plans(tables)
    fill_places(tables)
    flags = {
        POST_BOX_WORD: POST_BOX_WORDS,
        GMAIL_DOMAIN: GMAIL_DOMAINS,
        PERSONAL_NAME_WORD: PERSONAL_NAME_WORDS,
        FIRM_WORD: BUSINESS_WORDS - PERSONAL_NAME_WORDS,
        **WORD_FLAGS,
    }
    roles = {"apt": FLAT, "fl": FLOOR, "bldg": BUILDING, "blk": BUILDING}
    phrases = {LEGAL_FORM_PHRASE: LEGAL_FORM_PHRASES, HONORIFIC_PHRASE: HONORIFIC_PHRASES, **PHRASE_GROUPS}
    fill_words(tables, WordLists(flags, NAME_WORDS, ADDRESS_WORDS, roles, phrases))
    fill_signs(tables, NAME_SIGNS, LETTERS, OMITTED_SIGNS)
    fill_signs(tables, KIND_SIGNS, LETTERS, OMITTED_ADDRESS_SIGNS)
    fill_signs(tables, ADDRESS_SIGNS, LETTERS_IN_ADDRESSES, OMITTED_ADDRESS_SIGNS)
    for sign in NON_LETTERS:
        tables.non_letters[ord(sign)] = 1
    return all_tables


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
    fill_described(consignments, plan, PARTIES_ONLY, described)
    return described


def create_rows(count: int, plan: KeyPlan) -> DescribedRows:
    """Create arrays for the values of the parties and the keys of some consignments."""
    keys, counterparts = np.empty((2, count, plan.kinds), np.uint64)
    return DescribedRows(np.empty((count, len(PARTY_FEATURES)), np.float32), keys, counterparts)


def fill_described(
    consignments: Sequence[Consignment],
    plan: KeyPlan,
    features: FeaturePlan,
    rows: DescribedRows,
    search: AlertSearch = NO_SEARCH,
) -> None:
    """Write features and history keys of some consignments into arrays.

    Parameters
    ----------
    consignments : sequence of Consignment, (n,)
    plan : KeyPlan
    features : FeaturePlan
        Which features are written, and where.
    rows : DescribedRows
        Its `values` may have more columns, which stay as they are.
    search : AlertSearch
        Which rows an alert may match. The plan must have the features of the parties.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    check_arrays(len(consignments), plan, features, rows, search)
    describe_block(_Block(consignments, plan.columns), plan, features, rows, search=search)


def fill_with_forms(
    c: Consignment, goods: NormalForms, plan: KeyPlan, features: FeaturePlan, rows: DescribedRows
) -> NormalForms:
    """Write what `fill_described` does for one consignment, and return all its normal forms.

    Parameters
    ----------
    c : Consignment
    goods : NormalForms
        The forms of its goods.
    plan : KeyPlan
    features : FeaturePlan
    rows : DescribedRows
        Arrays of one row.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    check_arrays(1, plan, features, rows)
    search = _search_nothing()
    describe_block(_Block([c], plan.columns), plan, features, rows, search=search)
    return NormalForms._make((*search.forms.get_forms(0), goods.hs, goods.text))


def measure_rows(consignments: Sequence[Consignment], rates: ExchangeRates) -> NDArray[np.float64]:
    """Compute the measures from which `features.value.fit_norms` learns.

    Returns
    -------
    float64 array, (n, MEASURE_COLUMNS)
    """
    rows, features = create_rows(len(consignments), NO_KEYS), build_measuring_plan(rates)
    measures = np.empty((len(consignments), MEASURE_COLUMNS))
    check_arrays(len(consignments), NO_KEYS, features, rows)
    describe_block(_Block(consignments, ()), NO_KEYS, features, rows, measures=measures)
    return measures


def check_arrays(
    count: int, plan: KeyPlan, features: FeaturePlan, rows: DescribedRows, search: AlertSearch = NO_SEARCH
) -> None:
    """Check what kernels do not: that each array is of one kind and has room."""
    values, keys, counterparts = rows
    if values.dtype != np.float32 or not values.flags.c_contiguous or values.shape[0] != count:
        raise IndexError(f"values of shape {values.shape} are no rows of float32 for {count} consignments")
    if values.shape[1] < features.columns:
        raise IndexError(f"rows of {values.shape[1]} values have no {features.columns} places")
    for each in (keys, counterparts):
        if each.dtype != np.uint64 or not each.flags.c_contiguous or each.shape != (count, plan.kinds):
            raise IndexError(f"keys of shape {each.shape} are no uint64 of shape {(count, plan.kinds)}")
    marks, bounds = search.candidates, search.forms.bounds
    if marks.dtype != np.uint8 or marks.shape not in ((0,), (count,)) or not marks.flags.c_contiguous:
        raise IndexError(f"marks of shape {marks.shape} are no uint8 for {count} consignments")
    if bounds.shape != (len(marks), FORMS + 1):
        raise IndexError(f"forms of {len(bounds)} rows have no room for {len(marks)} marks")


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
    forms, values = _describe_sender(details)
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
    forms, _ = _describe_sender((None, address, 0, None, country))
    return frozenset(forms[1].rpartition("|")[2].split())


def normalize_consignment(c: Consignment) -> NormalForms:
    """Compute all normal forms of a consignment. The text of the goods keeps its spelling.

    Raises
    ------
    BadInput
        If a text is longer than the longest of a valid record.
    """
    return fill_with_forms(c, normalize_goods(c), NO_KEYS, PARTIES_ONLY, create_rows(1, NO_KEYS))


_NO_MEASURES = np.zeros((0, MEASURE_COLUMNS))
_NO_DETAILS = (None,) * FIELDS.index(DETAIL_COLUMNS[0])


def _describe_sender(details: Sequence[Any]) -> tuple[list[str], Values]:
    """Describe a row with some details of the sender. Return its normal forms in the order of `FORM_COLUMNS`, '' if missing, and its values."""
    described, search = create_rows(1, NO_KEYS), _search_nothing()
    describe_block(_Block([(*_NO_DETAILS, *details)], ()), NO_KEYS, PARTIES_ONLY, described, search=search)
    return search.forms.get_forms(0), described.values[0]


def _search_nothing() -> AlertSearch:
    """Create a search of one row that copies its forms whatever alerts there are."""
    return NO_SEARCH._replace(forms=FormBuffer(1))


class _Block:
    """Some rows and their MessagePack.

    A row is a record, or an array of values that Python prepared: kernels cannot compose texts, nor read surrogates or numbers beyond 64 bits.
    """

    def __init__(self, rows: Iterable[Consignment | Sequence[Any]], columns: tuple[str, ...]) -> None:
        self._columns, self._first = columns, 0
        self._rows = list(rows)
        if not all(_fits(kind, columns) for kind in set(map(type, self._rows))):
            self._rows = [_list_values(row, columns) for row in self._rows]
        try:
            self._data = _ENCODER.encode(self._rows)
        except (UnicodeEncodeError, OverflowError):  # what MessagePack cannot have
            self._rows = [_prepare_row(row, columns) for row in self._rows]
            self._data = _ENCODER.encode(self._rows)

    def get_data(self) -> NDArray[np.uint8]:
        """Return the rows that are encoded: all, or those from the row on that was prepared last."""
        return np.frombuffer(self._data, BYTE)

    def measure_head(self) -> int:
        """Return the number of bytes before the first row."""
        count = len(self._rows) - self._first
        return 1 if count < 16 else 3 if count < 1 << 16 else 5

    def prepare(self, row: int) -> None:
        """Prepare a row for what kernels cannot do, and encode from there on."""
        self._rows[row] = _prepare_row(self._rows[row], self._columns)
        self._first, self._data = row, _ENCODER.encode(self._rows[row:])


class PreparedRows(Protocol):
    """Some rows in MessagePack, whose values Python can prepare."""

    def get_data(self) -> NDArray[np.uint8]:
        """Return the rows: all, or those from the row on that was prepared last."""

    def measure_head(self) -> int:
        """Return the number of bytes before the first row."""

    def prepare(self, row: int) -> None:
        """Compute for a row what kernels cannot, and encode from there on."""


def describe_block(
    block: PreparedRows,
    plan: KeyPlan,
    features: FeaturePlan,
    described: DescribedRows,
    *,
    search: AlertSearch = NO_SEARCH,
    measures: NDArray[np.float64] = _NO_MEASURES,
) -> None:
    """Describe rows with the kernel, and do what it asks for in between."""
    tables, progress = load_tables(), np.zeros(PROGRESS, np.int64)
    prepared, data = -1, block.get_data()
    progress[OFFSET] = block.measure_head()
    codes, *fitted = features.fitted
    plans = plan.record, features.record, *codes, *fitted, *search.tables
    results, forms = (*described, measures, search.candidates), search.forms
    while True:
        todo = describe_rows(
            tables, load_goods_tables(), data, progress, *plans, *results, forms.data, forms.bounds
        )
        if todo == DONE:
            return
        row = int(progress[ROW])
        if todo == NEEDS_PAGE:
            record = get_record(tables)
            fill_page(record, int(record.page[0]))
        elif todo == NEEDS_ROOM and forms.grow(int(progress[USED])):
            pass
        elif todo == NEEDS_PYTHON and row != prepared:
            block.prepare(row)
            prepared, data = row, block.get_data()
            progress[OFFSET] = block.measure_head()
        else:
            raise _explain_refusal(todo)


def _explain_refusal(todo: int) -> Exception:
    if todo == NEEDS_PYTHON:
        return ServiceFault(
            "a kernel asks again for a row that Python prepared", where="features.rows.described_rows"
        )
    return BadInput(
        "a text is too long, or there are too many items", where="a detail, code or list of a consignment",
        expected="at most 500 characters, and 1,000 items",
        todo="check the record with consignments.tables, as the service does",
    )  # fmt: skip


def _encode_other(value: Any) -> Any:
    """Convert a subclass of str or a number of numpy, which MessagePack does not know."""
    return str(value) if isinstance(value, str) else float(value)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_encode_other)


@cache
def _fits(kind: Any, columns: tuple[str, ...]) -> bool:
    """Check if rows of a type are in the order that kernels read: a record without declared columns, or with these first; or prepared values."""
    if kind is tuple or kind is Consignment:
        return True
    declared = kind.__struct_fields__[len(FIELDS) :]
    return bool(declared[: len(columns)] == columns)


def _list_values(row: Any, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(row, name, None) for name in (*FIELDS, *columns))


def encode_prepared(row: Consignment, columns: tuple[str, ...]) -> bytes:
    """Encode a row after Python did for it what kernels cannot."""
    return _ENCODER.encode(_prepare_row(row, columns))


def _prepare_row(row: Any, columns: tuple[str, ...]) -> tuple[Any, ...]:
    """Do for a row what kernels cannot: compose texts, fold the case of e-mails and countries, and write numbers."""
    values = row if isinstance(row, tuple) else _list_values(row, columns)
    if len(values) > DESCRIPTION and isinstance(values[DESCRIPTION], list):
        return values  # prepared before
    prepared = [_prepare_value(place, value) for place, value in enumerate(values)]
    if len(values) > DESCRIPTION:
        text = join_goods_texts(values[DESCRIPTION], values[ITEMS] or ())
        prepared[DESCRIPTION] = [_prepare_part(values[DESCRIPTION]), _to_bytes(compose_text(text))]
    return tuple(prepared)


def _prepare_value(place: int, value: Any) -> Any:
    if place == ITEMS and value is not None:
        return [[_prepare_part(getattr(item, name)) for name in ITEM_FIELDS] for item in value]
    if place == QUALITY and value is not None:
        return list(map(_prepare_part, value))
    if isinstance(value, str) and not value.isascii():
        return [_to_bytes(value), _to_bytes(_compose(place, value))]
    if isinstance(value, datetime):
        return to_day(value) if place == RECEIVED_AT else True
    if value is None or isinstance(value, str | date):
        return value
    return [float(value), repr(float(value) + POSITIVE_ZERO)]


def _prepare_part(value: Any) -> Any:
    """Prepare a value of a list."""
    if isinstance(value, str):
        return _to_bytes(value)
    return None if value is None else float(value)


def _compose(place: int, text: str) -> str:
    if place in COUNTRIES:
        return drop_invisible(text).strip().upper()
    if place in EMAILS:
        return normalize("NFKC", drop_invisible(text)).strip().casefold()
    return normalize("NFC" if place == IDENTIFIER else "NFKC", text)


def drop_invisible(text: str) -> str:
    """Remove the format characters (category Cf) of a text: zero-width characters, soft hyphens, byte order marks.

    Examples
    --------
    >>> drop_invisible("\u200bK\u00adR")
    'KR'
    """
    return "".join(char for char in text if category(char) != "Cf")


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
