"""Rows of CSV as nodes. A row at fault is rejected with its line, and the rows after it are read."""

import csv
from collections import Counter, deque
from collections.abc import Iterator, Set
from io import BytesIO, TextIOWrapper
from itertools import zip_longest

from consignments.errors import MessageFault
from consignments.messages.content.trees import HEAD_BYTES, UTF_16_MARKS, Node

MAX_ROW_CHARACTERS = 50_000
"""Characters of a row over several lines; a longer one has an open quotation mark."""
MAX_FAULTS = 1_000
"""Rows at fault of one table, each of which may be followed to the bound of a row."""


class _Lines:
    """The lines of a table; those of a row, but for the first, can be taken again as rows of their own."""

    def __init__(self, content: bytes, encoding: str) -> None:
        self._lines = TextIOWrapper(BytesIO(content), encoding, "replace", newline="")
        self._again = deque[str]()
        self._row: list[str] = []
        self._size = self.number = self.last_of_fault = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.number += 1
        self._size += len(line)
        self._row.append(line)
        if len(self._row) > 1 and self._size > MAX_ROW_CHARACTERS:
            raise csv.Error("an open quotation mark")
        return line.replace("\0", "")

    def begin_row(self) -> int:
        """Return the number of the first line of the next row."""
        self._row, self._size = [], 0
        return self.number + 1

    def take_again(self) -> None:
        """Go back to the second line of a row that is at fault."""
        self.last_of_fault = max(self.last_of_fault, self.number)
        self.number -= len(self._row) - 1
        self._again.extendleft(reversed(self._row[1:]))


def read_rows(content: bytes, read: Set[str]) -> Iterator[Node | MessageFault]:
    """Yield each row by the names of its columns, or its fault; the further lines of a row at fault may be rows of their own.

    A name of a column that is `read` may stand once; any name, if all are read (`*`) or none is.
    """
    encoding = "utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig"
    head = content[:HEAD_BYTES].decode(encoding, "replace").lstrip("\r\n ").partition("\n")[0]
    lines = _Lines(content, encoding)
    rows = csv.reader(lines, delimiter=max(",;\t|", key=head.count), strict=True)
    names: list[str] | None = None
    faults = 0
    while True:
        begin = lines.begin_row()
        try:
            row = next(rows, None)
            if row is None:
                return
            if not any(map(str.strip, row)):
                continue
            if names is None:
                names = [name.strip().lower() for name in row]
                refused = {name for name, times in Counter(filter(None, names)).items() if times > 1}
                if refused := refused & read if read and "*" not in read else refused:
                    got, todo = ", ".join(sorted(refused)), "rename or drop one of them"
                    raise MessageFault("a column name occurs twice", got=got, todo=todo)
            elif [name.strip().lower() for name in row] != names:  # a further table may have been appended
                if any(row[len(names) :]):
                    raise csv.Error("more values than columns")
                if begin <= lines.last_of_fault and (
                    len(row) < len(names) or any('"' in each for each in row)
                ):
                    raise csv.Error("a part of a row at fault, or a row with fewer values than columns")
                yield {name: [value] for name, value in zip_longest(names, row[: len(names)])}
        except csv.Error as error:
            faults += 1
            is_last = names is None or faults >= MAX_FAULTS
            todo = "correct the line; nothing from there on was read" if is_last else "correct the line"
            fault = MessageFault("not CSV", where=f"line {begin}", got=str(error), todo=todo)
            if is_last:
                raise fault from error
            yield fault
            lines.take_again()
