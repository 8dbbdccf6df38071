"""Charts of a run; their titles and captions are in `charts.toml`."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from consignments.timestamps import to_day
from models.arrays import Floats, Row, Rows
from models.formats import format_percent
from training.evaluation.estimate import ENDS
from training.evaluation.metrics import Evaluation, compute_capacity_curve
from training.evaluation.stored_scores import BASELINE, RANK, RecipeEvaluation, StoredScores
from training.evaluation.traffic import AT_CAPACITY, SHARES
from training.reporting import charts
from training.reporting.charts import Chart

CURVE_SHARES = np.unique([*np.geomspace(0.0005, 0.2, 28), 0.01])
FAIRNESS = "fairness_"  # beginning of the names of charts of the burden of groups, before the measure
MIN_SHOWN = 1e-6  # scores and rates below this are drawn at this value, on the edge of the logarithmic axes
MAX_POINTS = 160  # rows of the beeswarm; more make the page heavy
MAX_POINT_HEIGHT = 0.4  # largest distance of a point of the beeswarm from its row; rows are 1 apart
MAX_FEW_VALUES, MAX_TICKS = 6, 3
"""With at most so many values of a feature its dependence is drawn without a line; ticks of that chart."""
TICK_CHARACTERS = 24  # characters for which the axis of that chart has room, with blanks between its ticks
VALUE_COLOURS = LinearSegmentedColormap.from_list("value", [charts.BLUE, "#C9CED6", charts.RED])


def draw_capacity_curves(stored: StoredScores, recipe: RecipeEvaluation) -> dict[str, Chart]:
    """Draw precision and recall of the model and its baselines over capacity, and of the model at the daily capacity of each office."""
    columns = {"model": RANK} | {name.replace("_", " "): BASELINE + name for name in stored.baselines}
    periods = {key: stored.to_period(name) for key, name in columns.items()}
    curves = {key: compute_capacity_curve(period, CURVE_SHARES) for key, period in periods.items()}
    drawn = {measure: charts.open_chart(measure) for measure in ("precision", "recall")}
    share = recipe.model.finds.reach[AT_CAPACITY] / float(stored.frame["stands_for"].sum())
    for measure, chart in drawn.items():
        with chart.draw() as axes:
            for (name, curve), (colour, dashes) in zip(curves.items(), charts.LINE_STYLES, strict=False):
                style: dict[str, Any] = {"color": colour, "linestyle": dashes, "label": name}
                values = [each.shown for each in curve[measure]]
                axes.plot(CURVE_SHARES, values, linewidth=2.4 if name == "model" else 1.6, **style)
            model, ends = curves["model"][measure], ("low", "high")
            low, high = ([getattr(each, end) if each.is_shown else np.nan for each in model] for end in ends)
            band: dict[str, Any] = {"alpha": 0.16, "linewidth": 0, "label": "95 % interval"}
            axes.fill_between(CURVE_SHARES, low, high, color=charts.BLUE, **band)
            if (used := recipe.model[f"{measure}_at_{AT_CAPACITY}"]).is_shown:
                axes.vlines(share, used.low, used.high, color=charts.INK, linewidth=1.6)
                place: dict[str, Any] = {"textcoords": "offset points", "xytext": (9, -3), "fontsize": 9.5}
                place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
                axes.annotate(format_percent(used.value), (share, used.value), color=charts.INK, **place)
                label = "model at the capacity of each office"
                axes.plot(share, used.value, "o", color=charts.INK, label=label)
            axes.set(xscale="log", ylim=(0, None))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks([*SHARES.values()], [charts.format_share_tick(each) for each in SHARES.values()])
    return drawn


def draw_calibration(model: Evaluation) -> Chart:
    """Draw the observed rate of positives over the mean score, bin by bin; bins without a positive lie on the lower edge."""
    chart = charts.open_chart("calibration", weeks=model.describe_calibrated())
    known = [
        row for row in model.calibration if np.isfinite([float(row["mean_score"]), float(row["rate"])]).all()
    ]
    score, rate, low, high = (
        np.maximum([float(row[name]) for row in known], MIN_SHOWN)
        for name in ("mean_score", "rate", "rate_low", "rate_high")
    )
    some = rate > MIN_SHOWN
    reach = np.nan_to_num([rate - low, high - rate]).clip(0)[:, some]
    # Longer intervals run off the chart.
    least = min([*score, *np.maximum(low, rate / 10)[some], *high[~some], 0.1]) / 2
    perfect: dict[str, Any] = {"color": charts.GREY, "linestyle": "--", "linewidth": 1.2, "label": "perfect"}
    bars: dict[str, Any] = {"color": charts.BLUE, "fmt": "o", "capsize": 3, "label": "score bins"}
    with chart.draw() as axes:
        axes.plot([MIN_SHOWN, 1], [MIN_SHOWN, 1], **perfect)
        axes.errorbar(score[some], rate[some], reach, **bars)
        if not some.all():
            axes.vlines(score[~some], least, high[~some], color=charts.BLUE, linewidth=1.2)
            empty: dict[str, Any] = {"label": "no positive in the bin", "markeredgecolor": charts.BLUE}
            edge = np.full(int((~some).sum()), least)
            axes.plot(score[~some], edge, "o", color="white", clip_on=False, zorder=3, **empty)
        axes.set(xscale="log", yscale="log", xlim=(least, 1.3), ylim=(least, 1.3))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(numticks=5))
            axis.set_minor_locator(NullLocator())
    return chart


def draw_daily_detections(model: Evaluation) -> Chart:
    """Draw for each day of arrivals the known finds, and how many of them are in the top 1 % of all, as they are counted."""
    finds, (begins, ends) = model.finds, model.arrivals
    assert begins is not None
    assert ends is not None
    days = pd.date_range(begins, ends, inclusive="left")
    at = finds.day - to_day(begins)
    found, known = (
        np.bincount(at, finds.stands_for * part, minlength=len(days)) for part in (finds.within["1pct"], 1.0)
    )
    chart = charts.open_chart("daily")
    with chart.draw() as axes:
        axes.bar(range(len(days)), known, color="#D5DAE0", label="known finds")
        axes.bar(range(len(days)), found, color=charts.BLUE, label="in the top 1 % of all arrivals")
        charts.set_columns(axes, [f"{day:%d %b}" for day in days])
        charts.set_whole_numbers(axes.yaxis)
        axes.set(xlim=(-0.7, len(days) - 0.3), ylim=(0, 1.1 * max(1.0, known.max(initial=0.0))))
    return chart


def draw_importance(features: Sequence[Row]) -> Chart:
    """Draw each group's share of the mean absolute contribution, from the rows of `compute_feature_importance`."""
    groups = Counter[str]()
    for row in features:
        groups[row["group"]] += row["share"]
    ranked = sorted(groups, key=groups.__getitem__)
    shares = [float(groups[name]) for name in ranked]
    chart = charts.open_chart("importance", len(ranked))
    with chart.draw() as axes:
        bars = axes.barh(range(len(ranked)), shares, color=charts.BLUE, height=0.68)
        axes.bar_label(bars, [charts.format_share_tick(share) for share in shares], padding=4, fontsize=9.5)
        charts.set_rows(axes, range(len(ranked)), ranked)
        axes.set_xlim(0, 1.2 * max(shares, default=1.0))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return chart


def draw_ablation(rows: Sequence[Row]) -> Chart:
    """Draw the loss of the rank score without each feature or group, from the rows of `run_ablation`."""
    names = [f"{row['kind']} {row['left_out']}" for row in rows]
    return charts.draw_rows(charts.open_chart("ablation", len(rows)), names, _read_ends(rows, "worth"), 0.0)


def draw_fairness(rows: Sequence[Row]) -> dict[str, Chart]:
    """Draw each measure of the burden of each group; rows are those of `compute_fairness_rows`, all traffic first."""
    kinds = [f"{row['kind']}: " if row["kind"] != row["value"] else "" for row in rows]
    names = [f"{kind}{row['value']}".replace("_", " ") for kind, row in zip(kinds, rows, strict=True)]
    drawn = {name: charts.open_chart(name, len(rows)) for name in charts.CHARTS if name.startswith(FAIRNESS)}
    for name, chart in drawn.items():
        ends = _read_ends(rows, name.removeprefix(FAIRNESS))
        charts.draw_rows(chart, names, ends, ends[0][0])
    return drawn


def draw_beeswarm(titles: Sequence[str], X: Rows, contributions: Floats) -> Chart:
    """Draw the contribution of each feature to the score of each row as a point, coloured by the feature's value."""
    chart = charts.open_chart("beeswarm", len(titles))
    some = np.unique(np.linspace(0, len(X) - 1, min(len(X), MAX_POINTS)).astype(np.int64))
    with chart.draw() as axes:
        axes.axvline(0, color=charts.INK, linewidth=0.8)
        for column in range(len(titles)):
            effect, value = contributions[some, column], X[some, column].astype(np.float64)
            known, height = np.isfinite(value), _spread_points(effect) - column
            ranks = pd.Series(value[known]).rank(method="dense")
            colours = VALUE_COLOURS((ranks - 1) / (ranks.max() - 1) if ranks.max() > 1 else 0.0 * ranks + 0.5)
            axes.scatter(effect[known], height[known], c=colours, s=13, linewidths=0)
            hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": charts.GREY, "linewidths": 0.7}
            axes.scatter(effect[~known], height[~known], s=11, **hollow)
        charts.set_rows(axes, [-column for column in range(len(titles))], titles)
        axes.set_ylim(0.6 - len(titles), 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return chart


def draw_dependence(
    title: str, values: Floats, effect: Floats, missing: float, names: Sequence[str], unit: str = ""
) -> Chart:
    """Draw the partial dependence of the score on one feature; only the values of a number, which has a unit, are joined."""
    axis = f"{unit}, in order, not to scale" if unit else ""
    chart = charts.open_chart("dependence", title=title, axis=axis)
    size = len(values)
    form, points = (".-", 4) if unit and size > MAX_FEW_VALUES else ("o", 6)
    at = np.unique(np.linspace(0, size - 1, min(size, MAX_TICKS)).round()).astype(np.int64)
    end = 1.6 * size
    ticks = [(place, names[place]) for place in at.tolist()]
    fits = [
        (place - before) * TICK_CHARACTERS / end > (len(name) + len(other)) / 2
        for (before, other), (place, name) in pairwise(ticks)
    ]
    if not all(fits):
        del ticks[1:-1]
    with chart.draw() as axes:
        axes.axhline(0, color=charts.GREY, linewidth=0.8)
        axes.plot(range(size), effect, form, color=charts.BLUE, linewidth=1.8, markersize=points)
        if np.isfinite(missing):
            ticks.append((1.4 * size, "missing"))
            axes.plot([1.4 * size], [missing], "o", markerfacecolor="white", markeredgecolor=charts.GREY)
        axes.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
        axes.set_xlim(-0.1 * size - 0.2, end)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return chart


def _read_ends(rows: Sequence[Row], name: str) -> list[Floats]:
    return [np.array([float(row[f"{name}{end}"]) for row in rows]) for end in ENDS]


def _spread_points(effect: Floats) -> Floats:
    cell = pd.Series(np.floor(60 * (effect - effect.min()) / (float(np.ptp(effect)) or 1.0)))
    count = np.asarray(cell.groupby(cell).cumcount(), dtype=np.float64)
    offset: Floats = (count + 1) // 2 * np.where(count % 2, 1.0, -1.0)
    return offset * min(0.09, MAX_POINT_HEIGHT / max(1.0, float(np.abs(offset).max())))
