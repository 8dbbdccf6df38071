"""Kernels of telephone numbers: `+`, calling code and national digits, and the check of a number in this form."""

from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import LATIN, OTHER_TEXT, RAW, TRANSLITERATED, load_text, write_latin
from features.normalization.phones import (
    CALLING_CODES,
    DUMMY_DIGITS,
    MAX_NUMBER_DIGITS,
    MIN_DIGITS_BEFORE_SLASH,
    MIN_EXTENDED_DIGITS,
    MIN_NUMBER_DIGITS,
    MIN_SURE_NATIONAL_DIGITS,
    PLANS,
    TRUNK_PREFIXES,
    ZERO_KEEPING_CODES,
)
from features.normalization.words import append, is_digit, to_lower

CODE, CODE_SIZE, SHORTEST, LONGEST, TRUNK, TRUNK_SIZE = range(6)  # of a numbering plan
KNOWN_CODE, KEEPS_ZERO = 1, 2
NO_PLAN = -1
CAPITAL_A, PLUS, ZERO, ONE, SLASH = (ord(sign) for sign in "A+01/")
MARKS_BEFORE_EXTENSIONS = tuple(b"x#;/")
EXIT_DIGITS = 2  # of the exit code 00
LETTER_X, LETTER_E, LETTER_T = (ord(letter) for letter in "xet")
MAX_CODE_DIGITS = 3


def fill_plans(tables: Tables) -> None:
    """Fill the numbering plans and the calling codes."""
    for country, plan in PLANS.items():
        trunk = TRUNK_PREFIXES.get(country, "")
        code, size = plan.calling_code, len(plan.calling_code)
        place = (ord(country[0]) - CAPITAL_A) * 26 + ord(country[1]) - CAPITAL_A
        tables.plans[place] = (int(code), size, plan.shortest, plan.longest, int(trunk or 0), len(trunk))
    for code in CALLING_CODES:
        keeps = KEEPS_ZERO if code in ZERO_KEEPING_CODES else 0
        tables.calling_codes[len(code), int(code)] = KNOWN_CODE | keeps


@kernel
def find_plan(tables: Tables) -> Int:
    """Return the numbering plan of the country in `home`; NO_PLAN if it has none."""
    if tables.place_sizes[0] != 2:
        return NO_PLAN
    first, second = int(tables.home[0]) - CAPITAL_A, int(tables.home[1]) - CAPITAL_A
    if not (0 <= first < 26 and 0 <= second < 26) or tables.plans[first * 26 + second, CODE_SIZE] == 0:
        return NO_PLAN
    return first * 26 + second


@kernel
def write_phone(tables: Tables, data: Array, text: Array, at: Int) -> Int:
    """Write the normal form of a number into `forms`, and return the position after it, or what is needed first."""
    if text[0] < 0 or text[1] == text[0]:
        return at
    kind = load_text(tables, data, text)
    if kind < 0:
        return kind
    if kind == OTHER_TEXT:
        # Not composed: each sign stands for itself.
        fault = write_latin(tables, tables.raw, tables.sizes[RAW], TRANSLITERATED)
        if fault < 0:
            return fault
    size = _cut_extension(tables, tables.sizes[LATIN])
    line, digits, count, marked = tables.line, tables.arena, 0, False
    for place in range(size):
        if is_digit(line[place]):
            digits[count] = line[place]
            count += 1
        marked = marked or (place < 4 and line[place] == PLUS)
    if marked:
        length = _find_code(tables, START, count)
        if length > 0:
            return _join_number(tables, START, length, count, at)
    return _read_unmarked(tables, count, at)


@kernel
def _cut_extension(tables: Tables, size: Int) -> Int:
    """Copy the text into `line` without an extension and a second number. Return the size."""
    latin, line, has_mark = tables.latin_text, tables.line, False
    for place in range(size):
        letter = to_lower(int(latin[place]))
        line[place] = letter
        for mark in MARKS_BEFORE_EXTENSIONS:
            has_mark = has_mark or letter == mark
    if not has_mark:
        return size
    end = place = 0
    while place < size:
        line[end] = line[place]
        if (
            place + 2 < size
            and line[place] == LETTER_E
            and line[place + 1] == LETTER_X
            and line[place + 2] == LETTER_T
        ):
            line[end] = LETTER_X
            place += 2
        place += 1
        end += 1
    for mark in MARKS_BEFORE_EXTENSIONS:
        place = 0
        while place < end and line[place] != mark:
            place += 1
        least = MIN_DIGITS_BEFORE_SLASH if mark == SLASH else MIN_EXTENDED_DIGITS
        if place < end and _count_digits(line, place) >= least:
            end = place
    return end


@kernel
def _count_digits(line: Array, end: Int) -> Int:
    """Return the number of digits before a position, without an exit code 00 at the front."""
    count = zeros = 0
    for place in range(end):
        if is_digit(line[place]):
            zeros += 1 if zeros == count and line[place] == ZERO else 0
            count += 1
    return count - EXIT_DIGITS if zeros >= EXIT_DIGITS else count


@kernel
def _read_digits(tables: Tables, start: Int, size: Int) -> Int:
    number = 0
    for place in range(start, start + size):
        number = number * 10 + int(tables.arena[place]) - ZERO
    return number


@kernel
def _find_code(tables: Tables, start: Int, end: Int) -> Int:
    """Return the length of the calling code that begins at a digit; 0 if it is unknown."""
    for length in range(1, MAX_CODE_DIGITS + 1):
        if start + length <= end and tables.calling_codes[length, _read_digits(tables, start, length)] != 0:
            return length
    return 0


@kernel
def _read_unmarked(tables: Tables, count: Int, at: Int) -> Int:
    """Read digits without `+`: with international prefix, with their own calling code, or national."""
    digits, plan = tables.arena, find_plan(tables)
    american = plan >= 0 and tables.plans[plan, CODE] == 1
    if count > 1 and digits[0] == ZERO:
        exit_code: Int = START
        if digits[1] == ZERO:
            exit_code = 2
        elif american and count > 2 and digits[1] == ONE and digits[2] == ONE:
            exit_code = 3
        if exit_code > 0:
            length = _find_code(tables, exit_code, count)
            if length > 0:
                return _join_number(tables, exit_code, length, count, at)
    if plan < 0:
        return append(tables.forms, at, digits, START, count) if _has_number(tables, START, count) else at
    size, shortest, longest = (
        tables.plans[plan, CODE_SIZE],
        tables.plans[plan, SHORTEST],
        tables.plans[plan, LONGEST],
    )
    if count >= size and _read_digits(tables, START, size) == tables.plans[plan, CODE]:
        national = count - size
        surely = count > longest or national >= MIN_SURE_NATIONAL_DIGITS
        if surely and shortest <= national <= longest:
            return _join_number(tables, START, size, count, at)
    trunk = tables.plans[plan, TRUNK_SIZE]
    start: Int = START
    if (
        trunk > 0
        and shortest <= count - trunk <= longest
        and _read_digits(tables, START, trunk) == tables.plans[plan, TRUNK]
    ):
        start = trunk
    return _write_number(tables, tables.plans[plan, CODE], size, start, count, at)


@kernel
def _has_number(tables: Tables, start: Int, end: Int) -> Bool:
    for place in range(start, end):
        if tables.arena[place] != ZERO:
            return True
    return False


@kernel
def _join_number(tables: Tables, start: Int, length: Int, end: Int, at: Int) -> Int:
    return _write_number(tables, _read_digits(tables, start, length), length, start + length, end, at)


@kernel
def _write_number(tables: Tables, code: Int, length: Int, start: Int, end: Int, at: Int) -> Int:
    """Write calling code and national number without the trunk zero. Nothing is written if it has only zeros."""
    if not _has_number(tables, start, end):
        return at
    if tables.calling_codes[length, code] & KEEPS_ZERO == 0:
        while tables.arena[start] == ZERO:
            start += 1
    tables.forms[at] = PLUS
    for place in range(length, 0, -1):
        tables.forms[at + place] = ZERO + code % 10
        code //= 10
    return append(tables.forms, at + 1 + length, tables.arena, start, end - start)


@kernel
def check_number(tables: Tables, start: Int, end: Int) -> tuple[Bool, Bool]:
    """Check a number in normal form of an owner in `home`: is it implausible, and is it foreign?"""
    forms, size = tables.forms, end - start
    if size == 0 or forms[start] != PLUS:
        return not MIN_NUMBER_DIGITS <= size <= MAX_NUMBER_DIGITS or _is_dummy(tables, start, end), False
    dummy, plan = _is_dummy(tables, start, end), find_plan(tables)
    if plan >= 0:
        length, code, same = (
            tables.plans[plan, CODE_SIZE],
            tables.plans[plan, CODE],
            size > tables.plans[plan, CODE_SIZE],
        )
        for place in range(length, 0, -1):
            same = same and forms[start + place] == ZERO + code % 10
            code //= 10
        if same:
            national = size - 1 - length
            return not tables.plans[plan, SHORTEST] <= national <= tables.plans[plan, LONGEST] or dummy, False
    return not MIN_NUMBER_DIGITS <= size - 1 <= MAX_NUMBER_DIGITS or dummy, plan >= 0


@kernel
def _is_dummy(tables: Tables, start: Int, end: Int) -> Bool:
    """Check if a number ends in equal digits, or in digits that count up."""
    forms, first = tables.forms, max(start, end - DUMMY_DIGITS)
    equal, counting = end - start >= DUMMY_DIGITS, True
    for place in range(first, end):
        if not is_digit(forms[place]):
            return False
        equal = equal and forms[place] == forms[first]
        if place > first:
            counting = counting and (int(forms[place]) - ZERO) == (int(forms[place - 1]) - ZERO + 1) % 10
    return equal or counting
