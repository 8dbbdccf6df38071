"""The list of an office on a day: filters, pages, and the line of its capacity."""

from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple, Self
from urllib.parse import urlencode

from consignments.timestamps import convert_us_to_day
from operation.desk.day_list import FILTERS, DayList, ListRow, OfficeDay
from operation.desk.days import parse_day
from operation.desk.messages import Viewer

PAGE_ROWS = 100
MAX_DIGITS = 7
WITHOUT_OFFICE = "-"
"""Office in the query of the list of consignments without an office, which keys that are bound to no office see."""
MAX_DAY = 100_000


class ListQuery(NamedTuple):
    """The parameters of a list.

    Attributes
    ----------
    day : int
    office : str or None
    capacity : int or None
        Inspections of the day; None for the number of selected consignments.
    page : int
        From 1.
    filters : dict
        Wanted values by filter.
    """

    day: int
    office: str | None
    capacity: int | None
    page: int
    filters: dict[str, str]

    @classmethod
    def parse(cls, query: dict[str, str], now_us: int) -> Self:
        """Parse the parameters; one that cannot be used counts as missing."""
        day = parse_day(query.get("day", ""))
        return cls(
            convert_us_to_day(now_us) if day is None or not 0 <= day < MAX_DAY else day,
            query.get("office") or None,
            _parse_count(query.get("capacity", "")),
            _parse_count(query.get("page", "")) or 1,
            {name: query[name] for name in FILTERS if query.get(name)},
        )

    def build_query(self, day: str, **changes: object) -> str:
        """Build the query of a link to the same list with some changes."""
        given = {"day": day, "office": self.office, "capacity": self.capacity, **self.filters, **changes}
        return urlencode({name: value for name, value in given.items() if value is not None})


class OfficeList(NamedTuple):
    """The list of an office.

    Attributes
    ----------
    offices : list of str
        Offices of the day that may be shown.
    office : str or None
    rows : list of ListRow
        The rows of the page.
    total, matching : int
        Rows of the office, and rows that match the filters.
    page, pages : int
    capacity : int
    line_after : int or None
        Position on this page after which the capacity line is drawn; 0 is above the first row; None if it is on another page.
    choices : dict
        Values of each filter.
    first : int
        Number of the first row among the matching ones, from 1.
    """

    offices: list[str]
    office: str | None
    rows: list[ListRow]
    total: int
    matching: int
    page: int
    pages: int
    capacity: int
    line_after: int | None
    choices: dict[str, list[str]]
    first: int


def build_list(day: DayList, query: ListQuery, viewer: Viewer) -> OfficeList:
    """Build the page of a list that a query asks for, of an office that the viewer may see."""
    offices = [office or WITHOUT_OFFICE for office in day.list_offices() if viewer.may_see(office)]
    office = query.office if query.office in offices else next(iter(offices), None)
    ranked, selected, choices = OfficeDay.of([])
    if office is not None:
        ranked, selected, choices = day.view_office(None if office == WITHOUT_OFFICE else office)
    capacity = selected if query.capacity is None else query.capacity
    matching = ranked
    for name, value in query.filters.items():
        matching = [row for row in matching if FILTERS[name](row) == value]
    pages = max(1, -(-len(matching) // PAGE_ROWS))
    page = min(query.page, pages)
    first = (page - 1) * PAGE_ROWS
    return OfficeList(
        offices,
        office,
        matching[first : first + PAGE_ROWS],
        len(ranked),
        len(matching),
        page,
        pages,
        capacity,
        _find_line(matching, first, capacity),
        choices,
        first + 1,
    )


def _find_line(matching: list[ListRow], first: int, capacity: int) -> int | None:
    """Find the position on a page after which the rows are beyond the capacity."""
    if not capacity:
        return None
    within = bisect_right(matching, capacity, key=attrgetter("rank"))
    place = within - first
    last_page = first + PAGE_ROWS >= len(matching)
    if 0 < place < PAGE_ROWS or (place == PAGE_ROWS and not last_page) or (place == 0 and first == 0):
        return place
    return place if last_page and 0 <= place <= PAGE_ROWS else None


def _parse_count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
