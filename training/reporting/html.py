"""Shared parts of all pages: the templates, and number formats for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from models.page_templates import create_page_environment
from training.evaluation.capacity import SHARES
from training.evaluation.intervals import Estimate
from training.evaluation.verdict import format_percent, format_significant

TEMPLATES = Path(__file__).parent / "templates"
MAX_PAGE_BYTES = 2_000_000
"""Maximum size of a page, so that it can be sent by e-mail."""
HEADLINE = {
    "roc_auc": "Area under the ROC curve",
    "average_precision": "Average precision",
    **{f"precision_at_{name}": f"Precision at {name.replace('pct', ' %')} of traffic" for name in SHARES},
    **{f"recall_at_{name}": f"Recall at {name.replace('pct', ' %')} of traffic" for name in SHARES},
    "precision_at_capacity": "Precision at the daily capacity of each office",
    "recall_at_capacity": "Recall at the daily capacity of each office",
    "calibration_error": "Calibration error",
    "calibration_ratio": "Calibration ratio: predicted over observed positives",
}
"""Key metrics, in the order of the page."""
TOO_FEW = "too few positives"
MAX_INTERVAL_WIDTH, MAX_INTERVAL_FACTOR = 0.9, 1000.0
"""A wider interval, of a share or of a ratio, contains nearly everything."""
MIN_SHOWN_SHARE = 5e-6
"""Smaller shares are written as 0 %."""
MIN_SHOWN_DECIMAL = 1e-9
"""Smaller numbers are written as 0."""
AREA_METRICS = frozenset({"roc_auc", "average_precision", "calibration_ratio"})
"""Metrics that are not shares."""


def format_figure(value: Any) -> str:
    """Format a share or another number; a dash if it is unknown.

    Examples
    --------
    >>> format_figure(0.1234), format_figure(0.00042), format_figure(2e-306), format_figure(1234), format_figure(float("nan"))
    ('12.3 %', '0.0420 %', '0 %', '1,234', '–')
    """
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value).lower()
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if not np.isfinite(value):
        return "–"
    return format_percent(0.0 if abs(value) < MIN_SHOWN_SHARE else value)


def format_metric(value: float, metric: str) -> str:
    """Format the value of a metric: areas as decimals, others as percentages.

    Examples
    --------
    >>> format_metric(0.9081, "roc_auc"), format_metric(0.9081, "recall_at_1pct")
    ('0.908', '90.8 %')
    """
    return (
        format_significant(value) if metric in AREA_METRICS and np.isfinite(value) else format_figure(value)
    )


def format_estimate(estimate: Estimate, metric: str) -> tuple[str, str]:
    """Format an estimate and its interval; an interval that contains nearly everything is not shown.

    Examples
    --------
    >>> format_estimate(Estimate(0.05, 0.02, 0.11), "recall_at_1pct"), format_estimate(Estimate(0.05, 0.0, 0.983), "recall_at_1pct")
    (('5.00 %', '2.00 % to 11.0 %'), ('too few positives', ''))
    """
    if is_too_wide(estimate, metric):
        return TOO_FEW, ""
    value, low, high = (format_metric(each, metric) for each in (estimate.value, estimate.low, estimate.high))
    interval = format_interval(low, high)
    return value, "" if interval == "–" else interval


def is_too_wide(estimate: Estimate, metric: str) -> bool:
    """Return True if an interval contains nearly all possible values, so that the estimate says nothing."""
    low, high = estimate.low, estimate.high
    if metric == "calibration_ratio":
        return bool(np.isfinite(high) and high > MAX_INTERVAL_FACTOR * max(low, 1e-300))
    return bool(high - low >= MAX_INTERVAL_WIDTH)


def format_number(value: Any) -> str:
    """Format a count or a plain number; a dash if it is unknown.

    Examples
    --------
    >>> format_number(1234.56), format_number(19.0), format_number(0.00123), format_number(float("nan"))
    ('1,235', '19', '0.00123', '–')
    """
    if isinstance(value, float) and np.isfinite(value):
        return format_decimal(value)
    return format_figure(value)


def format_interval(low: str, high: str) -> str:
    """Format an interval; one dash if neither end is known.

    Examples
    --------
    >>> format_interval("1 %", "2 %"), format_interval("–", "–")
    ('1 % to 2 %', '–')
    """
    return low if low == high == "–" else f"{low} to {high}"


def format_decimal(value: Any) -> str:
    """Format a number with three significant digits; a dash if it is unknown.

    Examples
    --------
    >>> format_decimal(0.12345), format_decimal(999.9999), format_decimal(2e-112), format_decimal(float("nan"))
    ('0.123', '1,000', '0', '–')
    """
    if not np.isfinite(float(value)):
        return "–"
    if abs(value) < MIN_SHOWN_DECIMAL:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def create_environment() -> jinja2.Environment:
    """Create the template environment: all values are escaped, and an unknown name is an error."""
    made = create_page_environment(TEMPLATES)
    made.filters |= {
        "figure": format_figure,
        "named": format_metric,
        "number": format_number,
        "decimal": format_decimal,
        "signed": lambda value: format_significant(value, "+"),
        "unbroken": lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),
    }
    made.globals["between"] = format_interval
    made.globals["estimated"] = format_estimate
    made.globals["estimate_of"] = _read_estimate
    return made


def _read_estimate(row: Mapping[str, Any], name: str) -> Estimate:
    """Return the columns `NAME`, `NAME_low` and `NAME_high` of a row as an estimate."""
    return Estimate(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))
