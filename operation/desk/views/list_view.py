"""The list of an office on a day: filters, pages, the line of its capacity, and the neighbours of a consignment."""

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode

from consignments.timestamps import US_PER_DAY, convert_us_to_day
from operation.day_list import FILTERS, DayList, ListRow, OfficeDay
from operation.desk.formats import format_day, parse_day
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.sources import PageSources

PAGE_ROWS = 100
MAX_DIGITS = 7
WITHOUT_OFFICE = "-"
"""Office in the query of the list of consignments without an office, which keys that are bound to no office see."""
MAX_DAY = 100_000


class ListQuery(NamedTuple):
    """The parameters of a list: day, office, capacity (None for the number selected), page from 1, wanted values by filter."""

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

    @classmethod
    def parse_place(cls, text: str, day: int, office: str | None) -> Self:
        """Parse the list from which a consignment was opened; without one, the list of its day and office."""
        query = dict(parse_qsl(text)) or {"day": format_day(day), "office": office or WITHOUT_OFFICE}
        return cls.parse(query, 0)

    def build_query(self, day: str, **changes: object) -> str:
        """Build the query of a link to the same list with some changes."""
        given = {"day": day, "office": self.office, "capacity": self.capacity, **self.filters, **changes}
        return urlencode({name: value for name, value in given.items() if value is not None})


def view_list(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any]:
    """Return the values of the page of a list; the line of the capacity is drawn after the row `line_after`."""
    query = ListQuery.parse(request.query, request.now_us)
    rows, day, nearest = sources.lists.get(query.day), format_day(query.day), None
    offices, office = _find_office(rows, query, viewer)
    if not offices:
        us = sources.log.find_latest_us("decision", before_us=query.day * US_PER_DAY)
        nearest = None if us is None else format_day(convert_us_to_day(us))
    found, matching = _select_rows(rows, office, query)
    capacity = found.selected if query.capacity is None else query.capacity
    pages = max(1, -(-len(matching) // PAGE_ROWS))
    page = min(query.page, pages)
    first = (page - 1) * PAGE_ROWS
    unassigned = rows.view_office(None).ranked if viewer.may_see(None) and office != WITHOUT_OFFICE else []
    shown = {
        "offices": offices,
        "office": office,
        "rows": matching[first : first + PAGE_ROWS],
        "total": len(found.ranked),
        "matching": len(matching),
        "page": page,
        "pages": pages,
        "capacity": capacity,
        "line_after": _find_line(matching, first, capacity),
        "choices": found.choices,
        "first": first + 1,
    }
    return {
        "list": shown,
        "query": query,
        "nearest": nearest,
        "day": day,
        "before": format_day(query.day - 1),
        "after": format_day(query.day + 1),
        "today": query.day == convert_us_to_day(request.now_us),
        "here": query.build_query(day, office=office, page=page),
        "unassigned": len(unassigned),
    }


def find_place(day: DayList, query: ListQuery, viewer: Viewer, name: str) -> dict[str, Any]:
    """Find rank, page and neighbours of a consignment on a list, by its rank if it no longer matches the filters."""
    _, office = _find_office(day, query, viewer)
    _, matching = _select_rows(day, office, query)
    row = day.rows.get(name)
    rank, page, before, after = None, query.page, 0, 0
    if row is not None and (row.office or WITHOUT_OFFICE) == office:
        rank, before = row.rank, bisect_left(matching, row.rank, key=attrgetter("rank"))
        page, after = before // PAGE_ROWS + 1, bisect_right(matching, row.rank, key=attrgetter("rank"))
    previous = matching[before - 1] if before else None
    following = next(iter(matching[after : after + 1]), None)
    return {"rank": rank, "page": page, "matching": len(matching), "previous": previous, "next": following}


def _find_office(day: DayList, query: ListQuery, viewer: Viewer) -> tuple[list[str], str | None]:
    """Find the offices of the day that the viewer may see, and the one of the query, else the first."""
    offices = [office or WITHOUT_OFFICE for office in day.list_offices() if viewer.may_see(office)]
    return offices, query.office if query.office in offices else next(iter(offices), None)


def _select_rows(day: DayList, office: str | None, query: ListQuery) -> tuple[OfficeDay, list[ListRow]]:
    """Select the rows of an office that match the filters, in their order."""
    if office is None:
        return OfficeDay([], 0, {name: [] for name in FILTERS}), []
    found = day.view_office(None if office == WITHOUT_OFFICE else office)
    matching = found.ranked
    for name, value in query.filters.items():
        matching = [row for row in matching if FILTERS[name](row) == value]
    return found, matching


def _find_line(matching: list[ListRow], first: int, capacity: int) -> int | None:
    """Find the position on a page after which the rows are beyond the capacity."""
    if not capacity:
        return None
    place = bisect_right(matching, capacity, key=attrgetter("rank")) - first
    last_page = first + PAGE_ROWS >= len(matching)
    if 0 < place < PAGE_ROWS or (place == PAGE_ROWS and not last_page) or (place == 0 and first == 0):
        return place
    return place if last_page and 0 <= place <= PAGE_ROWS else None


def _parse_count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
