"""Rows of CSV as nodes. A row at fault is rejected with its line, and the rows after it are read.

Numbered columns such as `item 1 name`, `item 1 price`, `item 2 name` are a list `item` of nodes with `name` and `price`; those of goods
such as `price 1` one of nodes in `items`.
"""

import csv
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence, Set
from io import BytesIO, StringIO, TextIOWrapper
from itertools import chain, zip_longest

from consignments.errors import MessageFault
from consignments.messages.content.trees import HEAD_BYTES, Node
from consignments.messages.post.element_names import index_columns, read_place
from consignments.messages.xml_parsing import UTF_16_MARKS

NOT_OF_PATHS = re.compile(r'[\s/|*"\[\]]+')
"""Characters that no path can hold; in the name of a column that is not read as it stands they are a space."""
NUMBERED, MARKS = re.compile(r"(.*?\D)([1-9]\d?)(\D.*)?"), " .:_-"
"""The name of a column that a number parts, and what stands around the number."""
GOODS_LIST = "items"  # of the columns of goods that begin with their own names
MAX_ROW_CHARACTERS = 50_000
"""Characters of a row over several lines; a longer one has an open quotation mark."""
MIN_NAMES = 3
"""Fewer names of facts may be values: a row that looks like a head has at least so many."""
MAX_FAULTS = 1_000
"""Rows at fault of one table, each of which may be followed to the bound of a row."""


def read_names(text: str, read: Set[str]) -> set[str]:
    """Read the names of the columns of a table, and of those in lists, from its beginning; of its first line if a quotation mark stays open."""
    delimiter = _find_delimiter(text)
    try:
        row = next(csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        row = text.partition("\n")[0].split(delimiter)
    names = _name_columns(row, read)
    lists = _find_lists(names, read)
    return {*names, *lists, *(own for numbers in lists.values() for columns in numbers for own in columns)}


def _find_delimiter(text: str) -> str:
    return max(",;\t|", key=text.partition("\n")[0].count)


def _name_columns(row: Sequence[str], read: Set[str]) -> list[str]:
    names = [value.strip().lower() for value in row]
    return [name if name in read else NOT_OF_PATHS.sub(" ", name).strip(" -") for name in names]


def _find_lists(names: Sequence[str], read: Set[str]) -> dict[str, list[dict[str, str]]]:
    """Find the lists of numbered columns that have names in common: of each number the columns by their own names."""
    found: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    own: dict[tuple[str, str], str] = {}
    for name in names:
        if name not in read and (parts := NUMBERED.fullmatch(name)):
            begin, number, end = (part.strip(MARKS) for part in parts.groups(""))
            begin, end = (begin, end) if end else (GOODS_LIST, begin)
            if begin != GOODS_LIST or not _is_of_party(end):
                found[begin][number][own.setdefault((begin, re.sub(r"\W", "", end)), end)] = name
    return {
        begin: [*numbers.values()]
        for begin, numbers in found.items()
        if begin not in names and _is_list(begin, numbers)
    }


def _is_of_party(name: str) -> bool:
    fact, side, _ = read_place((name,))
    return side is not None or fact in index_columns("party_columns")


def _is_list(begin: str, numbers: dict[str, dict[str, str]]) -> bool:
    """Check whether several numbers have two columns in common; in the list of goods, two of goods."""
    common = set.intersection(*map(set, numbers.values())) if len(numbers) > 1 else set()
    facts = index_columns("item_columns")
    return sum(begin != GOODS_LIST or read_place((name,)).fact in facts for name in common) > 1


def _build_node(row: Sequence[str], names: Sequence[str], lists: dict[str, list[dict[str, str]]]) -> Node:
    node: Node = {name: [value] for name, value in zip_longest(names, row[: len(names)])}
    for begin, numbers in lists.items():
        parts = [{own: node.pop(name) for own, name in columns.items()} for columns in numbers]
        node[begin] = [part for part in parts if any(value != [""] for value in part.values())]
    return node


def read_rows(content: bytes, read: Set[str]) -> Iterator[Node | MessageFault]:
    """Yield each row by the names of its columns, or its fault; the further lines of a row at fault may be rows of their own.

    A name of a column that is `read` may stand once; any name, if all are read (`*`) or none is.
    """
    encoding = "utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig"
    delimiter = _find_delimiter(content[:HEAD_BYTES].decode(encoding, "replace").lstrip("\r\n "))
    lines, ahead = TextIOWrapper(BytesIO(content), encoding, "replace", newline=""), deque[str]()
    names: list[str] | None = None
    lists: dict[str, list[dict[str, str]]] = {}
    in_order: list[str] = []
    last_line = max(map(content.count, (b"\n", b"\r"))) + 1
    number, last_of_fault, faults = 1, 0, 0
    while True:
        rows = csv.reader(_take_lines(lines, ahead), delimiter=delimiter, strict=True)
        try:
            row = next(rows, None)
            if row is None:
                return
            values = [value.strip().lower() for value in row]
            is_head = names is None or sorted(values) == in_order  # a table may have been appended
            if is_head and any(values):
                names, in_order = _name_columns(row, read), sorted(values)
                lists = _find_lists(names, read)
                refused = {name for name, times in Counter(filter(None, names)).items() if times > 1}
                if refused := refused & read if read and "*" not in read else refused:
                    got, todo = ", ".join(sorted(refused)), "rename or drop one of them"
                    raise MessageFault("a column name occurs twice", got=got, todo=todo)
            elif names is not None and _looks_like_head(values):
                todo = "send each table as a message of its own; nothing from there on was read"
                raise MessageFault("the head of another table", where=f"line {number}", todo=todo)
            elif names is not None and any(values):
                if any(row[len(names) :]):
                    raise csv.Error("more values than columns")
                if len(row) < len(names) and number + rows.line_num > last_line:
                    raise csv.Error("the file ends in the middle of a row")
                if number <= last_of_fault and (len(row) < len(names) or any('"' in each for each in row)):
                    raise csv.Error("a part of a row at fault, or a row with fewer values than columns")
                yield _build_node(row, names, lists)
            used = rows.line_num
        except csv.Error as error:
            faults += 1
            is_last = names is None or faults >= MAX_FAULTS
            todo = "correct the line; nothing from there on was read" if is_last else "correct the line"
            yield MessageFault("not CSV", where=f"line {number}", got=str(error), todo=todo)
            if is_last:
                return
            last_of_fault, used = max(last_of_fault, number + len(ahead) - 1), 1
        number += used
        for _ in range(used):
            ahead.popleft()


def _looks_like_head(values: list[str]) -> bool:
    """Check whether a row has no number, and most of its values are names of facts in a declaration."""
    texts = [value for value in values if value]
    if len(texts) < MIN_NAMES or any(text[0].isdigit() for text in texts):
        return False
    known = [each for each in map(read_place, zip(texts)) if each.fact is not None and each.certain]
    return len(known) > len(texts) / 2


def _take_lines(lines: Iterator[str], ahead: deque[str]) -> Iterator[str]:
    """Yield the lines of one row, first those `ahead`; all stay ahead, so that they can be taken again if it is at fault."""
    size = 0
    for place, line in enumerate(chain(ahead, lines)):
        if place == len(ahead):
            ahead.append(line)
        size += len(line)
        if place and size > MAX_ROW_CHARACTERS:
            raise csv.Error("an open quotation mark")
        yield line.replace("\0", "")
