"""The kernel that Python calls: values of the parties and history keys of some rows, from their texts in MessagePack.

A row is the array of values that `features.described_rows` packs. The kernels of `features.normalization` turn its texts into normal forms,
`features.parties` computes values from both, and `features.history.key_kernels` hashes them.
"""

from typing import Any

import numpy as np

from features import parties, spec
from features.history import blake2b_rounds, key_kernels
from features.history.key_kernels import write_keys
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
from features.normalization.letters import TOO_LONG
from features.normalization.names import write_name
from features.normalization.phone_kernels import write_phone
from features.normalization.record_kernels import NUMBER, copy_text, read_row, write_code, write_number
from features.normalization.tables import MAX_FORM, MAX_FORMS
from features.normalization.words import append
from features.parties import (
    SIDE_FEATURES,
    write_address_values,
    write_common_values,
    write_completeness,
    write_email_values,
    write_name_values,
    write_phone_values,
)

# Fields of a row: seven details of each side, then these, then the columns of declared keys.
DETAILS, CITY = 7, 2
SENDER, CONSIGNEE = np.int64(0), np.int64(DETAILS)
(
    ACCOUNT,
    DEPARTURE,
    ORIGIN,
    ROUTE,
    DECLARANT,
    WEIGHT,
    VALUE,
    CURRENCY,
    NATURE,
    HS,
    ACCOUNT_AGE,
    FIRST_DECLARED,
) = range(2 * DETAILS, 2 * DETAILS + 12)
# Slots of a row: the forms of each side, then these, then the declared columns.
FORMS = 8
FIRST_SIDE, OTHER_SIDE = np.int64(0), np.int64(FORMS // 2)
(
    ACCOUNT_SLOT, DEPARTURE_SLOT, ORIGIN_SLOT, ROUTE_SLOT, DECLARANT_SLOT, WEIGHT_SLOT, VALUE_SLOT, CURRENCY_SLOT,
    HS_SLOT, PRODUCT_SLOT, FIRST_DECLARED_SLOT,
) = range(FORMS, FORMS + 11)  # fmt: skip
PRODUCT_DIGITS = 6
# Results of `describe_rows` below zero are those of `features.normalization.letters`.
DONE = 0
ROW, OFFSET, FIRST_END = range(3)  # of `progress`; from FIRST_END on the ends of the forms that Python reads


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
    start = end
    end = _end_slot(tables, slot + 1, start, write_address(tables, data, address, city, postcode, start))
    if end < 0:
        return end
    write_address_values(tables, address, start, end, values)
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
def _write_codes(tables: Tables, data: Array, declared: Int, end: Int) -> Int:
    """Write the other values that keys are made of. Return 0, or what is needed first."""
    for place in range(FIRST_DECLARED_SLOT - FORMS + declared):
        slot, start = FORMS + place, end
        if slot == PRODUCT_SLOT:
            # The first digits of the code before it.
            start = tables.slots[HS_SLOT, 0]
            tables.slots[slot, 0] = start
            tables.slots[slot, 1] = min(start + PRODUCT_DIGITS, tables.slots[HS_SLOT, 1])
            continue
        if slot == HS_SLOT:
            end = copy_text(tables, data, HS, end)
        elif slot == WEIGHT_SLOT or slot == VALUE_SLOT:
            field = WEIGHT + slot - WEIGHT_SLOT
            if tables.kinds[field] == NUMBER:
                end = write_number(tables, field, end)
            else:
                end = copy_text(tables, data, field, end)
        elif slot < HS_SLOT:
            end = write_code(tables, data, ACCOUNT + slot - ACCOUNT_SLOT, end)
        else:
            end = write_code(tables, data, FIRST_DECLARED + slot - FIRST_DECLARED_SLOT, end)
        end = _end_slot(tables, slot, start, end)
        if end < 0:
            return end
    return 0


@kernel
def _describe_row(tables: Tables, data: Array, declared: Int, values: Array) -> Int:
    end = _describe_side(tables, data, SENDER, FIRST_SIDE, values[:SIDE_FEATURES])
    if end >= 0:
        end = _describe_side(tables, data, CONSIGNEE, OTHER_SIDE, values[SIDE_FEATURES : 2 * SIDE_FEATURES])
    if end >= 0:
        end = _write_codes(tables, data, declared, end)
    if end < 0:
        return end
    age = tables.numbers[ACCOUNT_AGE] if tables.kinds[ACCOUNT_AGE] == NUMBER else np.nan
    write_common_values(tables, data, tables.fields[NATURE], tables.fields[ACCOUNT], age, values)
    return 0


@kernel
def _copy_forms(tables: Tables, forms: Array, progress: Array) -> Int:
    """Copy the forms of both sides for Python. Return 0, or TOO_LONG."""
    if tables.slots[FORMS - 1, 1] > forms.size:
        return TOO_LONG
    append(forms, START, tables.forms, START, tables.slots[FORMS - 1, 1])
    for slot in range(FORMS):
        progress[FIRST_END + slot] = tables.slots[slot, 1]
    return 0


def _build_entry_point(digest: int) -> Any:
    """Build the entry point. The digest of the kernels is part of it, so that numba compiles it again if one of them changes."""

    @entry_point
    def describe_rows(
        all_tables: Tables,
        data: Array,
        progress: Array,
        plans: Array,
        values: Array,
        keys: Array,
        forms: Array,
    ) -> Int:
        """Write values and keys of the rows from `progress[ROW]` on. Return DONE, or what the row in `progress` needs first.

        Parameters
        ----------
        all_tables : array of one record, from `features.described_rows.load_tables`
        data : uint8 array
            The rows in MessagePack.
        progress : int64 array, (FIRST_END + FORMS,)
        plans : array of one record of `KEY_PLAN`
        values : float32 array, (n, party features)
        keys : uint64 array, (n, 2, kinds)
            The keys and their counterparts. Empty if nobody needs them.
        forms : uint8 array
            Receives the normal forms of the parties of the last row, unless it is empty.
        """
        if digest < 0:
            return TOO_LONG
        tables, plan = all_tables[0], plans[0]
        for row in range(progress[ROW], values.shape[0]):
            progress[ROW] = row
            after = read_row(tables, data, progress[OFFSET])
            fault = tables.row_fault[0]
            if fault >= 0:
                fault = _describe_row(tables, data, plan.declared, values[row])
            if fault >= 0 and keys.size > 0:
                fault = write_keys(tables, plan, keys[row])
            if fault >= 0 and forms.size > 0:
                fault = _copy_forms(tables, forms, progress)
            if fault < 0:
                return fault
            progress[OFFSET] = after
        return DONE

    return describe_rows


DIGESTED = (
    addresses, blake2b_rounds, compiling, emails, key_kernels, letters, names, normal_forms, parties, phone_kernels, phones,
    record_kernels, romanization, spec, street_lines, tables, words,
)  # fmt: skip
"""The files that are compiled into the entry point, and those that their constants come from. A test compares them with the imports."""
CompilationReporter("describe_rows")
describe_rows = _build_entry_point(build_digest([__file__, *(module.__file__ for module in DIGESTED)]))
