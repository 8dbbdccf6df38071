"""The kernel that Python calls: features and history keys of some rows, from their records in MessagePack.

The kernels of `features.normalization` turn texts into normal forms, each group of features computes its values from both, and
`features.history.key_kernels` hashes the forms.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments import identifiers, records
from consignments.messages import quality as quality_codes
from features import categories, config, currency, items, parties, quality, route, spec, value
from features.categories import HS_LEVELS, write_category, write_number_value, write_product
from features.goods import goods, texts
from features.goods import kernels as goods_kernels
from features.goods.goods import write_goods_values
from features.history import blake2b_rounds, key_kernels
from features.history.key_kernels import write_keys
from features.items import HS_DIGITS, read_items
from features.normalization import (
    addresses,
    compiling,
    emails,
    letters,
    names,
    normal_forms,
    phone_kernels,
    phones,
    record_kernels,
    romanization,
    street_lines,
    tables,
    text_codes,
    text_hashes,
    words,
)
from features.normalization.addresses import read_home, write_address
from features.normalization.compiling import (
    START,
    Array,
    CompilationReporter,
    Int,
    Tables,
    build_digest,
    entry_point,
    kernel,
)
from features.normalization.emails import write_email
from features.normalization.letters import NEEDS_PYTHON, NEEDS_ROOM, TOO_LONG
from features.normalization.names import write_name
from features.normalization.phone_kernels import write_phone
from features.normalization.record_kernels import (
    NUMBER,
    TEXT,
    copy_text,
    find_fields,
    read_date,
    read_row,
    write_code,
    write_number,
)
from features.normalization.tables import MAX_FIELDS, MAX_FORM, MAX_FORMS
from features.normalization.text_codes import TextCodes
from features.normalization.words import append
from features.parties import (
    SIDE_FEATURES,
    mark_unreadable_name,
    write_address_values,
    write_common_values,
    write_completeness,
    write_email_values,
    write_name_values,
    write_phone_values,
)
from features.quality import write_quality
from features.route import write_route
from features.rows import alert_kernels, form_buffer, indicator_kernels
from features.rows import slots as row_slots
from features.rows.alert_kernels import AlertTables, find_candidate
from features.rows.slots import (
    CODE_FIELDS,
    FIRST_DECLARED_SLOT,
    FIRST_FIGURE_SLOT,
    FIRST_SIDE,
    FORMS,
    HS_SLOT,
    OTHER_SIDE,
    PRODUCT_SLOT,
)
from features.value import MEASURE_COLUMNS, write_values

# Seven details of each side stand one after the other in a record.
DETAILS, CITY = 7, 2
SENDER, CONSIGNEE, NATURE, ACCOUNT, ACCOUNT_OPENED, RECEIVED_AT = find_fields(
    "sender_name", "consignee_name", "nature", "account_id", "account_opened_on", "received_at"
)
PRODUCT_DIGITS = 6
HS_LEVEL_COUNT = len(HS_LEVELS)
# Results of `describe_rows` below zero are those of `features.normalization.letters`.
DONE = 0
# Places of `progress`: the row, its first byte, and the bytes of forms that were copied.
ROW, OFFSET, USED, PROGRESS = range(4)
PARTIES, PLAIN, VALUE, GOODS = 1, 2, 4, 8
"""Parts of the features: the parties; route and quality; value and weight; categories and goods. The last two depend on fitted parameters."""
# Lists of the texts of a pipeline: CURRENCY_LIST and NORM_LIST of `features.value`, then these, then the vocabularies of categories.
QUALITY_LIST, ROUTE_LIST, FIRST_VOCABULARY = map(np.int64, range(2, 5))
FEATURE_PLAN = np.dtype(
    [
        ("parts", np.int64),
        ("columns", np.int64),  # of a row, at least
        ("route_at", np.int64),  # the first column of each group
        ("value_at", np.int64),
        ("category_at", np.int64),
        ("quality_at", np.int64),
        ("goods_at", np.int64),
        ("category_count", np.int64),
        ("category_fields", np.int64, MAX_FIELDS),
        ("number_count", np.int64),
        ("number_fields", np.int64, MAX_FIELDS),
    ],
    align=True,
)


class FittedTables(NamedTuple):
    """The tables of a pipeline, most of which a model learnt.

    Attributes
    ----------
    codes : TextCodes
        Currencies, units and products of norms, quality codes, words of routes, and the vocabularies.
    norms, rates : float64 arrays
        From `features.value.build_value_tables`.
    weights : float32 array, (TEXT_BUCKETS,)
    """

    codes: TextCodes
    norms: NDArray[np.float64]
    rates: NDArray[np.float64]
    weights: NDArray[np.float32]


@kernel
def _end_slot(tables: Tables, slot: Int, start: Int, end: Int) -> Int:
    """Keep the place of a form. Return its end, or TOO_LONG if the next one may not fit."""
    if end < 0:
        return end
    tables.slots[slot, 0], tables.slots[slot, 1] = start, end
    return end if end + MAX_FORM <= MAX_FORMS else TOO_LONG


@kernel
def _describe_side(tables: Tables, data: Array, first: Int, slot: Int, values: Array) -> Int:
    """Write the forms and the values of one side. Return the end of the forms, or what is needed first."""
    details = tables.fields[first : first + DETAILS]
    name, address, city, postcode, country = details[0], details[1], details[2], details[3], details[4]
    phone, email = details[5], details[6]
    # A number in place of the city: Python asks for all words of a street line.
    tables.keeps_all[0] = 1 if tables.kinds[first + CITY] == NUMBER else 0
    write_completeness(tables, data, details, values)
    fault = read_home(tables, data, country)
    if fault >= 0:
        fault = write_name_values(tables, data, name, values)
    if fault < 0:
        return fault
    start = tables.slots[slot - 1, 1] if slot > 0 else 0
    end = _end_slot(tables, slot, start, write_name(tables, data, name, start))
    if end < 0:
        return end
    mark_unreadable_name(name, start, end, values)
    start = end
    end = _end_slot(tables, slot + 1, start, write_address(tables, data, address, city, postcode, start))
    if end < 0:
        return end
    write_address_values(tables, start, end, values)
    start = end
    end = _end_slot(tables, slot + 2, start, write_phone(tables, data, phone, start))
    if end < 0:
        return end
    write_phone_values(tables, phone, start, end, values)
    start = end
    end = _end_slot(tables, slot + 3, start, write_email(tables, data, email, start))
    if end < 0:
        return end
    write_email_values(tables, email, start, end, values)
    return end


@kernel
def _write_codes(tables: Tables, data: Array, plan: Any, end: Int) -> Int:
    """Write the other values that keys are made of. Return 0, or what is needed first."""
    for slot in range(FORMS, FIRST_DECLARED_SLOT + plan.declared):
        start = end
        if slot == PRODUCT_SLOT:
            # The first digits of the code before it.
            start = tables.slots[HS_SLOT, 0]
            tables.slots[slot, 0] = start
            tables.slots[slot, 1] = min(start + PRODUCT_DIGITS, tables.slots[HS_SLOT, 1])
            continue
        if slot == HS_SLOT:
            for place in range(tables.item_counts[HS_DIGITS]):
                tables.forms[end] = tables.hs[place]
                end += 1
        elif FIRST_FIGURE_SLOT <= slot < HS_SLOT:
            field = CODE_FIELDS[slot - FORMS]
            if tables.kinds[field] == NUMBER:
                end = write_number(tables, data, field, end)
            else:
                end = copy_text(tables, data, field, end)
        elif slot < FIRST_FIGURE_SLOT:
            end = write_code(tables, data, CODE_FIELDS[slot - FORMS], end)
        else:
            end = _write_declared(tables, data, plan.fields[slot - FIRST_DECLARED_SLOT], end)
        end = _end_slot(tables, slot, start, end)
        if end < 0:
            return end
    return 0


@kernel
def _write_declared(tables: Tables, data: Array, field: Int, end: Int) -> Int:
    """Write a declared column. A number that is none is missing."""
    if tables.kinds[field] == NUMBER and tables.numbers[field] != tables.numbers[field]:
        return end
    return write_code(tables, data, field, end)


@kernel
def _compute_account_age(tables: Tables, data: Array) -> Any:
    """Compute the age of the account in days at the time of scoring. A negative age counts as zero."""
    if tables.kinds[ACCOUNT_OPENED] != TEXT or tables.kinds[RECEIVED_AT] != NUMBER:
        return np.nan
    return max(tables.numbers[RECEIVED_AT] - read_date(data, tables.fields[ACCOUNT_OPENED, 0]), 0.0)


@kernel
def _describe_parties(tables: Tables, data: Array, plan: Any, values: Array) -> Int:
    end = _describe_side(tables, data, SENDER, FIRST_SIDE, values[:SIDE_FEATURES])
    if end >= 0:
        end = _describe_side(tables, data, CONSIGNEE, OTHER_SIDE, values[SIDE_FEATURES : 2 * SIDE_FEATURES])
    if end >= 0:
        end = _write_codes(tables, data, plan, end)
    if end < 0:
        return end
    age = _compute_account_age(tables, data)
    return write_common_values(tables, data, tables.fields[NATURE], tables.fields[ACCOUNT], age, values)


@kernel
def _describe_plain(tables: Tables, data: Array, features: Any, codes: TextCodes, values: Array) -> Int:
    """Write the features of route and quality. Return 0, or what is needed first."""
    fault = write_route(tables, data, codes, ROUTE_LIST, values[features.route_at :])
    if fault < 0:
        return fault
    return write_quality(tables, data, codes, QUALITY_LIST, values[features.quality_at :])


@kernel
def _describe_value(tables: Tables, data: Array, features: Any, fitted: FittedTables, values: Array) -> Int:
    """Write the features of value and weight. Return 0, or what is needed first."""
    row = values[features.value_at :]
    return write_values(tables, data, fitted.codes, fitted.norms, fitted.rates, row, tables.measures)


@kernel
def _describe_goods(
    tables: Tables, goods_tables: Tables, data: Array, features: Any, fitted: FittedTables, values: Array
) -> Int:
    """Write the features of categories and goods. Return 0, or what is needed first."""
    fault = _write_categories(tables, data, features, fitted.codes, values[features.category_at :])
    if fault < 0:
        return fault
    return write_goods_values(tables, goods_tables, data, fitted.weights, values[features.goods_at :])


@kernel
def _write_categories(tables: Tables, data: Array, features: Any, codes: TextCodes, row: Array) -> Int:
    """Write the codes of columns, those of the product, and the declared numbers. Return 0, or what is needed first."""
    count = features.category_count
    for place in range(count):
        field = features.category_fields[place]
        fault = write_category(tables, data, codes, FIRST_VOCABULARY + place, field, row[place:])
        if fault < 0:
            return fault
    write_product(tables, codes, FIRST_VOCABULARY + count, row[count:])
    for place in range(features.number_count):
        write_number_value(tables, features.number_fields[place], row[count + HS_LEVEL_COUNT + place :])
    return 0


@kernel
def _copy_forms(tables: Tables, forms: Array, bounds: Array, progress: Array) -> Int:
    """Copy the forms of both sides for Python. Return 0, or NEEDS_ROOM."""
    size, used = tables.slots[FORMS - 1, 1], progress[USED]
    if used + size > forms.size:
        return NEEDS_ROOM
    progress[USED] = append(forms, used, tables.forms, START, size)
    bounds[0] = used
    for slot in range(FORMS):
        bounds[1 + slot] = used + tables.slots[slot, 1]
    return 0


def _build_entry_point(digest: int) -> Any:
    """Build the entry point. The digest of the kernels is part of it, so that numba compiles it again if one of them changes."""

    @entry_point
    def describe_rows(
        all_tables: Tables,
        all_goods: Tables,
        data: Array,
        progress: Array,
        plans: Array,
        feature_plans: Array,
        code_slots: Array,
        code_letters: Array,
        norms: Array,
        rates: Array,
        weights: Array,
        alert_lists: Int,
        alert_hashes: Array,
        indicator_keys: Array,
        values: Array,
        keys: Array,
        counterparts: Array,
        measures: Array,
        candidates: Array,
        forms: Array,
        form_bounds: Array,
    ) -> Int:
        """Write features and keys of the rows from `progress[ROW]` on. Return DONE, or what the row in `progress` needs first.

        Parameters
        ----------
        all_tables : array of one record, from `features.rows.described_rows.load_tables`
        all_goods : array of one record, from `features.goods.tables.load_goods_tables`
        data : uint8 array
            The rows in MessagePack.
        progress : int64 array, (PROGRESS,)
        plans : array of one record of `KEY_PLAN`
        feature_plans : array of one record of `FEATURE_PLAN`
        code_slots, code_letters, norms, rates, weights : arrays
            Those of `FittedTables`, one after the other, because a tuple of arrays costs a call a microsecond.
        alert_lists, alert_hashes, indicator_keys : int and arrays
            Those of `AlertTables`.
        values : float32 array, (n, columns of the feature plan or more)
            The values of the parties are the first of each row.
        keys, counterparts : uint64 array, (n, kinds)
            Empty if nobody needs them.
        measures : float64 array, (n, MEASURE_COLUMNS)
            Receives the measures of `features.value`, unless it is empty.
        candidates : uint8 array, (n,)
            Receives 1 if an alert may match a row, else 0, unless it is empty.
        forms, form_bounds : uint8 array, and int64 array, (n, FORMS + 1)
            Those of a `FormBuffer`, which receives the normal forms of the parties of candidates, or of all rows if none are searched for.
        """
        if digest < 0:
            return TOO_LONG
        tables, goods_tables, plan, features = all_tables[0], all_goods[0], plans[0], feature_plans[0]
        fitted = FittedTables(TextCodes(code_slots, code_letters), norms, rates, weights)
        alerts = AlertTables(alert_lists, alert_hashes, indicator_keys)
        for row in range(progress[ROW], values.shape[0]):
            progress[ROW] = row
            after = read_row(tables, data, progress[OFFSET])
            fault = tables.row_fault[0]
            if fault >= 0:
                fault = read_items(tables, data)
            if fault >= 0 and tables.kinds[RECEIVED_AT] == TEXT:
                fault = NEEDS_PYTHON  # a time without zone, which Python refuses
            if fault >= 0 and features.parts & PARTIES:
                fault = _describe_parties(tables, data, plan, values[row])
            if fault >= 0 and keys.size > 0:
                fault = write_keys(tables, plan, keys[row], counterparts[row])
            if fault >= 0 and features.parts & PLAIN:
                fault = _describe_plain(tables, data, features, fitted.codes, values[row])
            if fault >= 0 and features.parts & VALUE:
                fault = _describe_value(tables, data, features, fitted, values[row])
                if measures.size > 0:
                    for place in range(MEASURE_COLUMNS):
                        measures[row, place] = tables.measures[place]
            if fault >= 0 and features.parts & GOODS:
                fault = _describe_goods(tables, goods_tables, data, features, fitted, values[row])
            if fault >= 0 and candidates.size > 0:
                fault = find_candidate(tables, data, alerts)
                candidates[row] = max(fault, START)
            if fault >= 0 and forms.size > 0 and (candidates.size == 0 or candidates[row] != 0):
                fault = _copy_forms(tables, forms, form_bounds[row], progress)
            if fault < 0:
                return fault
            progress[OFFSET] = after
        return DONE

    return describe_rows


DIGESTED = (
    addresses, alert_kernels, blake2b_rounds, categories, compiling, config, currency, emails, form_buffer, goods, goods_kernels, identifiers,
    indicator_kernels, items, key_kernels, letters, names, normal_forms, parties, phone_kernels, phones, quality, quality_codes, record_kernels,
    records, romanization, route, row_slots, spec, street_lines, tables, text_codes, text_hashes, texts, value, words,
)  # fmt: skip
"""The files that are compiled into the entry point, and those that their constants come from. A test compares them with the imports."""
CompilationReporter("describe_rows")
describe_rows = _build_entry_point(build_digest([__file__, *(module.__file__ for module in DIGESTED)]))
