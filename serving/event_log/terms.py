"""Texts that many entries share, such as the name of a model: the table of entries has a number for each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from serving.event_log.databases.tables import TERM_NAMES
from serving.event_log.events import PLACES, Columns

_PLACES = tuple(PLACES[name] for name in TERM_NAMES)
NewTerms = list[tuple[int, str]]  # numbers and texts that are not in the table yet


class Terms:
    """The texts of a log by their numbers; `fetch` reads all numbers and texts of its table."""

    def __init__(self, fetch: Callable[[], Iterable[Sequence[Any]]]) -> None:
        self._fetch = fetch
        self._texts: dict[int | None, str | None] = {None: None}
        self._numbers: dict[str | None, int | None] = {None: None}

    def reset(self) -> None:
        """Forget what was read or added, because the log is read again."""
        self._texts, self._numbers = {None: None}, {None: None}

    def get_texts(self, numbers: Iterable[int | None]) -> list[str | None]:
        """Return the texts of some numbers."""
        numbers, texts = [*numbers], self._texts
        try:
            return [texts[number] for number in numbers]
        except KeyError:
            self._read()
            return [*map(texts.get, numbers)]

    def name_rows(self, rows: Iterable[Sequence[Any]]) -> list[Columns]:
        """Return rows with texts in place of numbers; a text that was removed from the table is None."""
        named = []
        for row in rows:
            values = list(row)
            for place in _PLACES:
                number = values[place]
                if number not in self._texts:
                    self._read()
                values[place] = self._texts.get(number)
            named.append(tuple(values))
        return named

    def add(self, text: str, new: NewTerms) -> int:
        """Return the number of a text; one that no entry has is added to the new terms, which the caller writes."""
        if text not in self._numbers:
            self._read()
        number = self._numbers.get(text)
        if number is None:
            number = len(self._numbers)
            self._texts[number], self._numbers[text] = text, number
            new.append((number, text))
        return number

    def number_rows(self, rows: Sequence[Columns]) -> tuple[list[list[Any]], NewTerms]:
        """Return rows with numbers in place of texts, and the terms that the caller writes with them."""
        numbers, new = self._numbers, NewTerms()
        numbered = []
        for row in rows:
            values = list(row)
            for place in _PLACES:
                text = values[place]
                values[place] = numbers[text] if text in numbers else self.add(text, new)
            numbered.append(values)
        return numbered, new

    def _read(self) -> None:
        for number, text in self._fetch():
            self._texts[number], self._numbers[text] = text, number
