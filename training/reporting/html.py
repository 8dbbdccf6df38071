"""What all pages share: the templates, and how figures are written for people."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from training.evaluation.capacity import SHARES
from training.evaluation.verdict import format_percent

TEMPLATES = Path(__file__).parent / "templates"
MAX_PAGE_BYTES = 2_000_000
"""A page is light enough to be sent by mail."""
HEADLINE = {
    "roc_auc": "Area under the ROC curve",
    "average_precision": "Average precision",
    **{f"precision_at_{name}": f"Precision at {name.replace('pct', ' %')} of traffic" for name in SHARES},
    **{f"recall_at_{name}": f"Recall at {name.replace('pct', ' %')} of traffic" for name in SHARES},
    "precision_at_capacity": "Precision at the daily capacity of each office",
    "recall_at_capacity": "Recall at the daily capacity of each office",
    "calibration_error": "Calibration error",
    "calibration_ratio": "Finds that the scores promise, over those there were",
}
"""The key figures, in the order of the page."""
MIN_SHOWN_SHARE = 5e-6
"""Below it a share is written as none."""
AREA_METRICS = frozenset({"roc_auc", "average_precision", "calibration_ratio"})
"""Metrics that are no shares of anything."""


def format_figure(value: Any) -> str:
    """Write a share or another number for people; a dash where it is unknown.

    Examples
    --------
    >>> format_figure(0.1234), format_figure(0.00042), format_figure(2e-306), format_figure(1234), format_figure(float("nan"))
    ('12.3 %', '0.042 %', '0.0 %', '1,234', '–')
    """
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value).lower()
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 0.01 or abs(value) < MIN_SHOWN_SHARE:
        return format_percent(abs(value) if abs(value) < MIN_SHOWN_SHARE else value)
    return f"{100 * value:.2g} %"


def format_metric(value: float, metric: str) -> str:
    """Write the value of a metric: areas as decimals, the others as shares.

    Examples
    --------
    >>> format_metric(0.9081, "roc_auc"), format_metric(0.9081, "recall_at_1pct")
    ('0.908', '90.8 %')
    """
    return f"{value:.3f}" if metric in AREA_METRICS and np.isfinite(value) else format_figure(value)


def format_number(value: Any) -> str:
    """Write a count or a plain number for people.

    Examples
    --------
    >>> format_number(1234.56), format_number(19.0), format_number(float("nan"))
    ('1,234.6', '19', '–')
    """
    if isinstance(value, float) and np.isfinite(value):
        return f"{value:,.1f}".removesuffix(".0")
    return format_figure(value)


def format_interval(low: str, high: str) -> str:
    """Write an interval for people; one dash where neither end is known.

    Examples
    --------
    >>> format_interval("1 %", "2 %"), format_interval("–", "–")
    ('1 % to 2 %', '–')
    """
    return low if low == high == "–" else f"{low} to {high}"


def format_decimal(value: Any) -> str:
    """Write a number with three digits that count; a dash where it is unknown.

    Examples
    --------
    >>> format_decimal(0.12345), format_decimal(1234.5), format_decimal(float("nan"))
    ('0.123', '1,234', '–')
    """
    if not np.isfinite(float(value)):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def create_environment() -> jinja2.Environment:
    """Give the templates of all pages: everything escaped, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "figure": format_figure,
        "named": format_metric,
        "number": format_number,
        "decimal": format_decimal,
        "unbroken": lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),
    }
    made.globals["between"] = format_interval
    return made
