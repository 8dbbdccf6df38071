"""Shared parts of all pages: the templates, the titles and formats of metrics, and the section with the gate."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from models.formats import create_page_environment, format_interval, format_number, format_percent
from training.evaluation.estimate import ENDS, TOO_FEW, Estimate
from training.evaluation.metrics import AREA_METRICS, METRIC_TITLES
from training.reporting.tables import format_setting

TEMPLATES = Path(__file__).parent / "templates"
MAX_PAGE_BYTES = 2_000_000  # maximum size of a page, so that it can be sent by e-mail
CARDS = re.compile(r'<table class="cards.*?</table>', re.DOTALL)
WHOLE = re.compile(r"--[a-z-]+(?: \d+)?|\d{4}-\d{2}-\d{2}")
GATE_SECTION = re.compile(r"<!-- gate -->.*?<!-- /gate -->", re.DOTALL)


def format_metric(value: float, metric: str) -> str:
    """Format the value of a metric: areas and ratios as decimals, others as percentages."""
    return format_number(value) if metric in AREA_METRICS else format_percent(value)


def format_estimate(estimate: Estimate, metric: str) -> tuple[str, str]:
    """Format an estimate and its interval; or why it is not shown."""
    if not estimate.is_shown:
        return estimate.explain_missing(), ""
    value, low, high = (format_metric(each, metric) for each in (estimate.value, estimate.low, estimate.high))
    return value, format_interval(low, high)


def keep_whole(text: str) -> Markup:
    """Escape a text so that no line of a page ends within a percentage, a date or an option with its number."""
    whole = WHOLE.sub(r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(whole.replace(" %", "\N{NO-BREAK SPACE}%"))


def create_environment(folder: Path = TEMPLATES) -> jinja2.Environment:
    """Create the template environment of a folder, whose pages extend those of this one; all values are escaped."""
    made = create_page_environment(folder, TEMPLATES)
    made.filters |= {"named": format_metric, "setting": format_setting}
    made.filters["moment"] = lambda moment: f"{pd.Timestamp(moment):%Y-%m-%d %H:%M} UTC"
    made.filters["unbroken"] = keep_whole
    made.globals |= {
        "between": format_interval,
        "estimated": format_estimate,
        "estimate_of": lambda row, name: Estimate(*(float(row[f"{name}{end}"]) for end in ENDS)),
        "headline": METRIC_TITLES,
        "too_few": TOO_FEW,
    }
    return made


def render_page(template: str, folder: Path = TEMPLATES, **values: Any) -> str:
    """Render a page as self-contained HTML; `ValueError` if it has more than `MAX_PAGE_BYTES`."""
    page = label_cells(create_environment(folder).get_template(template).render(values))
    if (size := len(page.encode())) > MAX_PAGE_BYTES:
        raise ValueError(f"the page has {size:,} bytes, more than {MAX_PAGE_BYTES:,}")
    return page


def label_cells(page: str) -> str:
    """Label each cell of the tables of class `cards` with the name of its column: narrow screens show a row as a card, without head and dashes."""
    for table in CARDS.findall(page):
        begin, head, *rows = re.split("(?=<tr)", table)
        names = [re.sub("<.*?>", "", name) for name in re.findall("<th[ >].*?</th>", head, re.DOTALL)]
        labelled = []
        for row in rows:
            columns = iter(names)
            row = re.sub("<td", lambda _, each=columns: f'<td data-label="{next(each, "")}"', row)
            labelled.append(re.sub(r"<td (?=[^>]*>\s*–\s*</td>)", "<td data-empty ", row))
        page = page.replace(table, "".join([begin, head, *labelled]))
    return page


def replace_gate(page: str, gate: Any, links: Mapping[str, str]) -> str:
    """Replace the first section of a run's page by a later report of the gate, with links by their texts."""
    section = render_page("gate.html", gate=gate, links=links)
    return GATE_SECTION.sub(lambda _: section, page, count=1)
