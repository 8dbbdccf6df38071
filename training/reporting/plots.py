"""Charts of a run and of a comparison, each with its caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from training.evaluation.capacity import ALL_OFFICES, SHARES
from training.evaluation.estimate import Estimate
from training.reporting.charts import (
    BLUE,
    GREY,
    INK,
    LINE_STYLES,
    RED,
    SMALL_WIDTH,
    Chart,
    format_share_tick,
    format_signed_tick,
    set_columns,
    set_rows,
    set_whole_numbers,
)

FAIRNESS_MEASURES = {
    "selection_rate": ("Selection rate", "share of received consignments that is selected"),
    "hit_rate": ("Hit rate", "share of selected ones with a result that is positive"),
    "false_opens_per_1000": ("Unsuccessful inspections", "for 1,000 received consignments"),
}
MIN_SHOWN = 1e-6
"""Scores and rates below this are drawn at this value, on the edge of the logarithmic axes."""
MAX_POINTS = 160
"""Rows of the beeswarm; more make the page heavy."""
MAX_POINT_HEIGHT = 0.4
"""Largest distance of a point of the beeswarm from the middle of its row; rows are 1 apart."""
MAX_FEW_VALUES, MAX_TICKS = 6, 3
"""With at most so many values of a feature its dependence is drawn without a line; ticks of that chart."""
VALUE_COLOURS = LinearSegmentedColormap.from_list("value", [BLUE, "#C9CED6", RED])
TOP_CAPTION = (
    "Left: only the highest scores are inspected. Dotted line: the capacity in use; short ticks: each office."
)
Floats = NDArray[np.float64]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class CapacityCurve:
    """Precision and recall of one score over a range of capacities, one estimate for each."""

    name: str
    precision: Sequence[Estimate]
    recall: Sequence[Estimate]


def draw_precision(shares: Floats, curves: Sequence[CapacityCurve], own: Mapping[str, float]) -> Chart:
    """Draw precision over capacity; the first curve is the model's, `own` the capacity in use."""
    chart = Chart(
        "Precision over capacity: model and baselines",
        f"Of the inspected consignments, the share that is positive, by inspection results. {TOP_CAPTION}",
        title="Precision",
        y="share of inspections that are positive",
    )
    return _draw_over_capacity(chart, shares, {each.name: each.precision for each in curves}, own)


def draw_recall(shares: Floats, curves: Sequence[CapacityCurve], own: Mapping[str, float]) -> Chart:
    """Draw recall over capacity (gain curve); the first curve is the model's, `own` the capacity in use."""
    chart = Chart(
        "Recall over capacity (gain curve): model and baselines",
        "Of all positives, the share that is detected, estimated from inspection results. The model should be above the dashed "
        "baselines at your capacity.",
        title="Recall (gain curve)",
        y="share of positives detected",
    )
    return _draw_over_capacity(chart, shares, {each.name: each.recall for each in curves}, own)


def draw_calibration(bins: Sequence[Row]) -> Chart:
    """Draw the observed rate of positives over the mean score, bin by bin, from `Evaluation.calibration`."""
    chart = Chart(
        "Calibration: observed rate of positives over the mean score, bin by bin",
        "Points on the dashed line: the score is a probability. Below it, scores are too high; above, too low. Bars: 95 % intervals.",
        title="Calibration, by inspection results",
        x="mean score of the bin",
        y="observed rate of positives",
        x_format=format_share_tick,
        y_format=format_share_tick,
    )
    names = ("mean_score", "rate", "rate_low", "rate_high")
    known = [row for row in bins if np.isfinite([float(row["mean_score"]), float(row["rate"])]).all()]
    score, rate, low, high = (
        np.array([[float(row[name]) for name in names] for row in known]).reshape(-1, 4).T
    )
    shown = np.maximum([score, rate, low, high], MIN_SHOWN)
    below, above = (np.nan_to_num(reach).clip(0) for reach in (shown[1] - shown[2], shown[3] - shown[1]))
    some = rate > 0
    with chart.draw() as axes:
        axes.plot([MIN_SHOWN, 1], [MIN_SHOWN, 1], color=GREY, linestyle="--", linewidth=1.2, label="perfect")
        reach = [below[some], above[some]]
        axes.errorbar(
            shown[0][some], shown[1][some], reach, color=BLUE, fmt="o", capsize=3, label="score bins"
        )
        axes.plot(*shown[:2, ~some], "o", color="white", markeredgecolor=BLUE, label="no positive in the bin")
        least = min([*shown[0], *shown[1][some], 0.1]) / 3
        axes.set(xscale="log", yscale="log", xlim=(least, 1.3), ylim=(least, 1.3))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(numticks=5))
            axis.set_minor_locator(NullLocator())
    return chart


def draw_daily_detections(days: Sequence[str], found: Floats, there: Floats) -> Chart:
    """Draw for each day the known positives, and how many of them are in the top 1 % of the day; (days,) each."""
    chart = Chart(
        "Known positives by day, and how many of them are in the top 1 % of the day",
        "Grey: known positives. Blue: those within the top 1 % of their day. A run of days without blue is a campaign that the model "
        "does not recognize.",
        title="Known positives by day",
        y="consignments",
        grid="y",
        height=2.9,
    )
    place = np.arange(len(days))
    with chart.draw() as axes:
        axes.bar(place, there, color="#D5DAE0", label="known positives")
        axes.bar(place, found, color=BLUE, label="within the top 1 %")
        set_columns(axes, days)
        set_whole_numbers(axes.yaxis)
        axes.set(xlim=(-0.7, len(days) - 0.3), ylim=(0, 1.1 * max(1.0, there.max(initial=0.0))))
    return chart


def draw_importance(shares: Mapping[str, float]) -> Chart:
    """Draw each group's share of the mean absolute contribution, 0 to 1."""
    ranked = sorted(shares.items(), key=lambda item: item[1])
    chart = Chart(
        "Contribution of each group of features to the score",
        "Mean size of the contributions of all features of a group, as a share of the total.",
        title="Contribution to the score, by group of features",
        x="share of the mean absolute contribution",
        x_format=format_share_tick,
        grid="x",
        height=1.2 + 0.28 * len(ranked),
    )
    with chart.draw() as axes:
        bars = axes.barh(range(len(ranked)), [share for _, share in ranked], color=BLUE, height=0.68)
        axes.bar_label(bars, [format_share_tick(share) for _, share in ranked], padding=4, fontsize=9.5)
        set_rows(axes, range(len(ranked)), [name for name, _ in ranked])
        axes.set_xlim(0, 1.2 * max((share for _, share in ranked), default=1.0))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return chart


def draw_ablation(rows: Sequence[Row]) -> Chart:
    """Draw the loss of the rank score without each group of features, from the rows of `run_ablation`."""
    chart = Chart(
        "Ablation: loss of ranking quality without each group of features",
        "Points: loss if the model is fitted without a group of features. Lines: 95 % intervals. A point near zero means that other "
        "groups have the same information.",
        title="Ablation: loss without a group of features",
        x="loss of area under recall over the logarithm of capacity",
        grid="x",
        height=1.3 + 0.32 * len(rows),
    )
    worth, low, high = (
        np.array([float(row[f"worth{end}"]) for row in rows]) for end in ("", "_low", "_high")
    )
    place = -np.arange(len(rows))
    with chart.draw() as axes:
        axes.hlines(place, low, high, color=BLUE, linewidth=2.2, alpha=0.45)
        axes.plot(worth, place, "o", color=BLUE, markersize=5)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        set_rows(axes, place.tolist(), [str(row["group"]) for row in rows])
    return chart


def draw_fairness(rows: Sequence[Row]) -> dict[str, Chart]:
    """Draw each measure of the burden of each group; name to chart. Rows are those of `compute_fairness_rows`, all traffic first."""
    charts = {}
    place = np.arange(len(rows))[::-1] - 0.6 * np.cumsum(_find_kind_starts(rows))
    for measure, (title, meaning) in FAIRNESS_MEASURES.items():
        chart = charts[f"fairness_{measure}"] = Chart(
            f"{title} of each group",
            f"{title}: {meaning}. Points: the group's figure. Lines: 95 % intervals. Dashed: all traffic.",
            title=title,
            x_format=None if measure.endswith("1000") else format_share_tick,
            grid="x",
            height=1.2 + 0.24 * len(rows),
        )
        value, low, high = (
            np.array([float(row[f"{measure}{end}"]) for row in rows]) for end in ("", "_low", "_high")
        )
        ends = np.concatenate([value, high])
        with chart.draw() as axes:
            axes.hlines(place, low, high, color=BLUE, linewidth=2.2, alpha=0.45)
            axes.plot(value, place, "o", color=BLUE, markersize=5)
            axes.axvline(value[0], color=GREY, linestyle="--", linewidth=1.0)
            axes.set(
                xlim=(0, 1.08 * ends[np.isfinite(ends)].max(initial=0.0) or 1.0),
                ylim=(place.min() - 0.8, 0.8 + place.max()),
            )
            axes.xaxis.set_major_locator(MaxNLocator(4))
            set_rows(axes, place.tolist(), [str(row["value"]) for row in rows])
    return charts


def draw_beeswarm(titles: Sequence[str], X: NDArray[np.float32], contributions: Floats) -> Chart:
    """Draw the contribution of each feature to the score of each row as a point, coloured by the feature's value."""
    chart = Chart(
        "Contributions of the strongest features to single scores",
        "One point for each consignment of a sample (the highest scores and all traffic). Right of zero: the feature raises the score. "
        "Orange: high value of the feature, blue: low value, empty: missing.",
        title="Contributions to single scores",
        x="contribution to the raw score, in log-odds",
        x_format=format_signed_tick,
        grid="x",
        height=1.0 + 0.46 * len(titles),
    )
    some = np.unique(np.linspace(0, len(X) - 1, min(len(X), MAX_POINTS)).astype(np.int64))
    with chart.draw() as axes:
        axes.axvline(0, color=INK, linewidth=0.8)
        for column in range(len(titles)):
            effect, value = contributions[some, column], X[some, column].astype(np.float64)
            known, height = np.isfinite(value), _spread_points(effect) - column
            ranks = _compute_ranks(value[known])
            axes.scatter(
                effect[known], height[known], c=ranks, cmap=VALUE_COLOURS, vmin=0, vmax=1, s=13, linewidths=0
            )
            axes.scatter(
                effect[~known], height[~known], s=11, facecolors="none", edgecolors=GREY, linewidths=0.7
            )
        set_rows(axes, [-column for column in range(len(titles))], titles)
        axes.set_ylim(0.6 - len(titles), 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return chart


def draw_dependence(
    title: str, values: Floats, effect: Floats, missing: float, *, is_flag: bool = False
) -> Chart:
    """Draw the partial dependence of the score on one feature."""
    chart = Chart(
        f"Dependence of the score on: {title}",
        title,
        y_format=format_signed_tick,
        grid="y",
        width=SMALL_WIDTH,
        height=1.9,
    )
    with chart.draw() as axes:
        axes.axhline(0, color=GREY, linewidth=0.8)
        is_few = len(values) <= MAX_FEW_VALUES
        axes.plot(
            range(len(values)),
            effect,
            "o" if is_few else ".-",
            color=BLUE,
            linewidth=1.8,
            markersize=6 if is_few else 4,
        )
        at = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_TICKS)).round()).astype(np.int64)
        ticks = [(float(each), _name_value(float(values[each]), is_flag=is_flag)) for each in at]
        if np.isfinite(missing):
            ticks.append((1.2 * len(values), "missing"))
            axes.plot([ticks[-1][0]], [missing], "o", markerfacecolor="white", markeredgecolor=GREY)
        axes.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
        axes.set_xlim(-0.1 * len(values) - 0.2, 1.45 * len(values))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return chart


def _draw_over_capacity(
    chart: Chart, shares: Floats, curves: Mapping[str, Sequence[Estimate]], own: Mapping[str, float]
) -> Chart:
    """Draw shares over capacity: the model with its interval, then the baselines, and the capacity in use."""
    chart.x, chart.y_format = "capacity: share of all traffic inspected", format_share_tick
    model = next(iter(curves.values()))
    with chart.draw() as axes:
        for (name, estimates), (colour, dashes) in zip(curves.items(), LINE_STYLES, strict=False):
            width = 2.4 if estimates is model else 1.6
            values = [each.shown for each in estimates]
            axes.plot(shares, values, color=colour, linestyle=dashes, linewidth=width, label=name)
        low, high = (
            [getattr(each, end) if each.is_shown else np.nan for each in model] for end in ("low", "high")
        )
        axes.fill_between(shares, low, high, color=BLUE, alpha=0.16, linewidth=0, label="95 % interval")
        axes.set(xscale="log", ylim=(0, None))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(list(SHARES.values()), [format_share_tick(share) for share in SHARES.values()])
        _mark_capacity(axes, own)
    return chart


def _mark_capacity(axes: Axes, own: Mapping[str, float]) -> None:
    """Mark the capacity in use: a line for all offices together, and a short tick for each office."""
    low, high = axes.get_xlim()
    for office, share in own.items():
        if low <= share <= high and office == ALL_OFFICES:
            axes.axvline(share, color=INK, linestyle=(0, (1, 1)), linewidth=1.4, label="capacity in use")
        elif low <= share <= high:
            axes.axvline(share, ymax=0.04, color=INK, linewidth=1.6)


def _find_kind_starts(rows: Sequence[Row]) -> NDArray[np.bool_]:
    kinds = [row["kind"] for row in rows]
    return np.array([at > 0 and kind != kinds[at - 1] for at, kind in enumerate(kinds)], dtype=bool)


def _name_value(value: float, *, is_flag: bool) -> str:
    return ("yes" if value else "no") if is_flag else f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"


def _compute_ranks(values: Floats) -> Floats:
    """Return the rank of each value among the distinct ones, 0 to 1; 0.5 if all are equal."""
    distinct, at = np.unique(values, return_inverse=True)
    return at / (len(distinct) - 1) if len(distinct) > 1 else np.full(len(values), 0.5)


def _spread_points(effect: Floats) -> Floats:
    """Return vertical offsets, so that points of similar effect do not cover each other."""
    span = float(np.ptp(effect)) or 1.0
    cell = np.floor(60 * (effect - effect.min()) / span).astype(np.int64)
    seen: dict[int, int] = {}
    offset = np.empty(len(effect))
    for at, key in enumerate(cell.tolist()):
        count = seen[key] = seen.get(key, -1) + 1
        offset[at] = (count + 1) // 2 * (1 if count % 2 else -1)
    return offset * min(0.09, MAX_POINT_HEIGHT / max(1.0, float(np.abs(offset).max())))
