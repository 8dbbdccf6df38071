"""Page and tables of a drift comparison, and its run in MLflow."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from models.registry import ModelVersion
from models.traffic_profile import ReferenceProfile
from training.monitoring.drift import Drift
from training.monitoring.drift_measures import LARGE_PSI, MODERATE_PSI, Row
from training.reporting.charts import BLUE, GREEN, GREY, ORANGE, RED
from training.reporting.figures import BASELINE_STYLES, STYLE, build_figures, create_figure, render_svg
from training.reporting.html import MAX_PAGE_BYTES, create_environment
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.reporting.tables import serialize_table

PAGE_FILE = "drift.html"
TABLE_COLUMNS = {
    "reasons": ("verdict", "text"),
    "units": ("part", "column", "median_then", "median_now", "factor"),
}
"""Columns of tables that may be empty."""
MAX_FEATURES, MAX_SHARES = 25, 25
VERDICT_ACTIONS = {
    "stable": "No change exceeds its limit. Keep the model.",
    "retrain": "The traffic changed. Train on later results and compare.",
    "investigate data": "The data are faulty. Correct them first: the faults may cause the other changes, and a model trained on "
    "these data would learn them.",
}
"""Recommended action for each verdict."""
PRECISION_TITLES = {
    "expected then": "expected, reference period",
    "expected now": "expected, current period",
    "promised where known": "predicted among known results",
    "realised now": "observed among known results",
}
"""Titles of the rows of the table `precision`."""
FIGURE_TEXTS = {
    "moved": (
        "population stability index of the scores and of the worst feature of each group",
        "Up to 0.1 (green) little has changed; from 0.25 on (red) much has. Scores decide the verdict. A feature with a long bar shows where to look, "
        "and one of history also grows with the length of the history.",
    ),
    "scores": (
        "share of traffic in each bin of the score, reference and current, by channel",
        "Bars of equal height mean that the model flags as much as in the reference. A higher bar on the right means more high scores.",
    ),
    "arrivals": (
        "daily arrivals of the largest offices",
        "A line that falls to zero is a source that went silent. The dashed line of the same colour is the mean day of the reference.",
    ),
    "mix": (
        "codes whose share of the traffic changed most",
        "From the empty circle (reference) to the filled one (current). Long lines are changes of the trade or of a data source.",
    ),
}
"""For each picture what it shows, for screen readers, and how to read it."""
MAX_SHOWN_PSI = 1.0
"""Upper end of the PSI axis."""
MAX_LINES, MAX_CHANGES = 6, 12
MAX_OFFICES = 30
"""Number of offices whose PSI is drawn."""
OFFICE_PREFIX = "office:"


def summarize_drift(drift: Drift) -> str:
    """Return the verdict with its reasons and notes as text, for a terminal and the run."""
    lines = [f"{drift.verdict}: {VERDICT_ACTIONS[drift.verdict]}"]
    lines += [f"- {reason.verdict}: {reason.text}" for reason in drift.reasons]
    return "\n".join([*lines, *(f"({note})" for note in drift.notes)])


def render_drift(drift: Drift, model: str) -> str:
    """Render the page as self-contained HTML, with verdict and plots first.

    Parameters
    ----------
    drift : Drift
    model : str
        Address of the monitored version.

    Returns
    -------
    str
        Under 2 MB.
    """
    page = (
        create_environment()
        .get_template(PAGE_FILE)
        .render(
            drift=drift,
            model=model,
            does=VERDICT_ACTIONS[drift.verdict],
            figures=build_figures(draw_drift(drift), FIGURE_TEXTS),
            precision=drift.tables["precision"],
            precision_titles=PRECISION_TITLES,
            shares=_select_largest_changes(drift.tables["shares"]),
            features=drift.tables["features"][:MAX_FEATURES],
        )
    )
    if len(page.encode()) > MAX_PAGE_BYTES:
        raise ValueError(f"the page has {len(page.encode()):,} bytes, more than {MAX_PAGE_BYTES:,}")
    return page


def serialize_drift_tables(drift: Drift) -> dict[str, str]:
    """Return the tables as JSON, by name; the same columns in every run."""
    tables = {**drift.tables, "reasons": drift.build_reason_rows()}
    return {name: serialize_table(rows, TABLE_COLUMNS.get(name, ())) for name, rows in tables.items()}


def log_drift(drift: Drift, page: str, model: ModelVersion, tracking_uri: str) -> str:
    """Log the drift comparison as a separate run.

    Parameters
    ----------
    drift : Drift
    page : str
        From `render_drift`.
    model : ModelVersion
    tracking_uri : str

    Returns
    -------
    str
        The run's identifier.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        (folder / PAGE_FILE).write_text(page, encoding="utf-8")
        for table, text in serialize_drift_tables(drift).items():
            (folder / "tables" / f"{table}.json").write_text(text, encoding="utf-8")
        record = RunRecord(
            name=f"drift {model.number}, from {drift.now.first_day}",
            description=summarize_drift(drift).replace("\n", "\n\n"),
            tags={"model": model.uri, "target": model.target, "kind": "drift", "verdict": drift.verdict},
            params=_build_params(drift),
            metrics=drift.flatten_metrics(),
            folder=folder,
        )
        return log_run(record, tracking_uri=tracking_uri)


def _build_params(drift: Drift) -> dict[str, Any]:
    return {
        "consignments": sum(drift.now.channels.values()),
        "first_day": drift.now.first_day,
        "days": drift.now.days,
        "reference_consignments": sum(drift.then.channels.values()),
        "reference_first_day": drift.then.first_day,
        "reference_days": drift.then.days,
        "capacity": drift.now.capacity,
    }


def _select_largest_changes(shares: list[Row]) -> list[Row]:
    """Select the shares with the largest changes."""
    known = [row for row in shares if float(row["change"]) == float(row["change"])]
    return sorted(known, key=lambda row: -abs(float(row["change"])))[:MAX_SHARES]


def draw_drift(drift: Drift) -> dict[str, str]:
    """Draw the plots of the page; name to SVG, in their order."""
    return {
        "moved": draw_psi(
            select_shown_parts(drift.tables["scores"]), select_worst_features(drift.tables["features"])
        ),
        "scores": draw_score_shares(drift.then, drift.now),
        "arrivals": draw_arrivals(drift),
        "mix": draw_mix(drift.then, drift.now),
    }


def select_shown_parts(scores: Sequence[Row]) -> list[Row]:
    """Select the channels, and of the offices the `MAX_OFFICES` with the largest PSI, in their order.

    Parameters
    ----------
    scores : sequence of dict
        Rows of the table `scores`.
    """
    offices = [row for row in scores if str(row["part"]).startswith(OFFICE_PREFIX)]
    known = [row for row in offices if math.isfinite(float(row["psi"]))]
    largest = sorted(known, key=lambda row: -float(row["psi"]))[:MAX_OFFICES]
    shown = {str(row["part"]) for row in largest}
    return [
        row for row in scores if str(row["part"]) in shown or not str(row["part"]).startswith(OFFICE_PREFIX)
    ]


def select_worst_features(features: Sequence[Row]) -> list[Row]:
    """Select from each group the feature with the largest change.

    Parameters
    ----------
    features : sequence of dict
        Ordered by change, the largest first.
    """
    worst: dict[str, Row] = {}
    for row in features:
        worst.setdefault(str(row["group"]), row)
    return list(worst.values())


def draw_psi(scores: Sequence[Row], worst: Sequence[Row]) -> str:
    """Draw the PSI of the scores of each part of the traffic, with intervals, and of the worst feature of each group.

    Parameters
    ----------
    scores, worst : sequence of dict
    """
    names = [f"score, {str(row['part']).replace(':', ' ')}" for row in scores]
    names += [f"{row['feature']}, {row['channel']}" for row in worst]
    value = np.array([float(row["psi"]) for row in (*scores, *worst)])
    place = np.arange(len(names))[::-1] - 0.6 * (np.arange(len(names)) >= len(scores))
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=1.3 + 0.3 * len(names))
        ax.axvspan(MODERATE_PSI, LARGE_PSI, color=ORANGE, alpha=0.12, linewidth=0)
        ax.axvspan(LARGE_PSI, MAX_SHOWN_PSI, color=RED, alpha=0.10, linewidth=0)
        colours = [GREEN if each < MODERATE_PSI else ORANGE if each < LARGE_PSI else RED for each in value]
        bars = ax.barh(place, np.minimum(value, MAX_SHOWN_PSI), color=colours, height=0.62)
        ax.bar_label(
            bars,
            [f"{each:.3g}" if np.isfinite(each) else "" for each in value],
            padding=4,
            fontsize=9.5,
        )
        for at, row in zip(place, scores, strict=False):
            ends = np.minimum([float(row["psi_low"]), float(row["psi_high"])], MAX_SHOWN_PSI)
            ax.plot(ends, [at - 0.36, at - 0.36], color=GREY, linewidth=1.6)
        ax.set_yticks(place, names)
        ax.grid(axis="y", visible=False)
        ax.set(
            title="PSI of the scores, and of the worst feature of each group",
            xlabel="population stability index: little below 0.1, much from 0.25 on; grey: 95 % interval",
            xlim=(0, MAX_SHOWN_PSI),
        )
        return render_svg(figure)


def draw_score_shares(then: ReferenceProfile, now: ReferenceProfile) -> str:
    """Draw the distribution of each channel's traffic over the score bins, reference and current."""
    channels = [name for name in then.scores if name.startswith("channel:")]
    edges = [0.0, *then.score_edges, 1.0]
    middles = [f"{low:.2g}" for low in edges[:-1]]
    place = np.arange(len(middles))
    with mpl.rc_context(STYLE):
        figure, axes = create_figure(1, len(channels), width=10.4, height=3.4)
        for ax, name in zip(axes, channels, strict=True):
            for counts, shift, colour, label in (
                (then.scores[name], -0.2, GREY, "reference"),
                (now.scores.get(name, [0] * len(place)), 0.2, BLUE, "current"),
            ):
                ax.bar(place + shift, np.array(counts) / max(sum(counts), 1), 0.38, color=colour, label=label)
            ax.set_xticks(place, middles, rotation=45, ha="right", fontsize=8.5)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            ax.grid(axis="x", visible=False)
            ax.set(title=f"Scores, {name.partition(':')[2]}", xlabel="score from", ylabel="share of traffic")
        axes[-1].legend(fontsize=9)
        return render_svg(figure)


def draw_arrivals(drift: Drift) -> str:
    """Draw the daily arrivals by office; dashed: the mean of the reference period."""
    known = drift.then.sources["office"]
    offices = sorted(known, key=lambda name: -known[name].arrivals)[:MAX_LINES]
    first = date.fromisoformat(drift.now.first_day)
    days = [f"{first + timedelta(days=at):%d %b}" for at in range(drift.now.days)]
    place = np.arange(len(days))
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=3.4)
        colours = [BLUE, *(colour for colour, _ in BASELINE_STYLES)]
        for name, colour in zip(offices, colours, strict=False):
            came = drift.daily.get(f"{OFFICE_PREFIX}{name}", [0] * len(days))
            ax.plot(place, came, color=colour, marker="o", markersize=3, label=name)
            ax.axhline(known[name].arrivals / drift.then.days, color=colour, linestyle="--", linewidth=1)
        step = max(1, len(days) // 12)
        ax.set_xticks(place[::step], days[::step])
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
        ax.set_ylim(0, None)
        ax.set(title="Arrivals by day and office; dashed: mean day of the reference", ylabel="consignments")
        ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return render_svg(figure)


def draw_mix(then: ReferenceProfile, now: ReferenceProfile) -> str:
    """Draw the codes whose share of the traffic changed most, reference and current."""
    changes = find_largest_changes(then, now)
    place = np.arange(len(changes))[::-1]
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=1.3 + 0.28 * len(changes))
        before, after = (np.array([change[at] for change in changes]) for at in (1, 2))
        ax.hlines(place, before, after, color=GREY, linewidth=2)
        ax.plot(before, place, "o", color="white", markeredgecolor=GREY, label="reference")
        ax.plot(after, place, "o", color=BLUE, label="current")
        ax.set_yticks(place, [change[0] for change in changes])
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_ylim(-0.8, len(changes) - 0.2)
        ax.set(title="Codes whose share of the traffic changed most", xlabel="share of traffic")
        ax.legend(fontsize=9, loc="lower right")
        return render_svg(figure)


def find_largest_changes(then: ReferenceProfile, now: ReferenceProfile) -> list[tuple[str, float, float]]:
    """Find the codes whose share changed most: column and value, reference share, current share."""
    found = []
    for column, old in then.mix.items():
        new = now.mix.get(column, {})
        for value in dict.fromkeys([*old, *new]):
            before, after = (
                old.get(value, 0) / sum(old.values()),
                new.get(value, 0) / max(sum(new.values()), 1),
            )
            found.append((f"{column.replace('_', ' ')} {value or 'missing'}", before, after))
    return sorted(found, key=lambda each: -abs(each[2] - each[1]))[:MAX_CHANGES]
