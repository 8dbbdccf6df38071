"""Plots of a run as SVG text for a page, with colours that colour-blind readers can distinguish.

Colours are those of Okabe and Ito (2008). The same values give the same bytes.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)
from numpy.typing import NDArray

from training.evaluation.capacity import ALL_OFFICES, SHARES
from training.evaluation.estimate import Estimate

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, INK = "#8A8F98", "#1F2933"
BASELINE_STYLES = (
    (ORANGE, "--"),
    (GREEN, "-."),
    (PURPLE, ":"),
    (SKY, (0, (5, 1, 1, 1))),
    (GREY, (0, (1, 2))),
)
BAND_COLOURS = {"high": RED, "elevated": ORANGE, "routine": SKY}
FAIRNESS_PANELS = {
    "selection_rate": ("Selection rate", 1),
    "hit_rate": ("Hit rate", 1),
    "false_opens_per_1000": ("Unsuccessful inspections per 1,000", 1000),
}
"""Measure to title and denominator."""
MIN_SHOWN = 1e-6
"""Scores and rates below this are drawn at this value, on the edge of the logarithmic axes."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "npsrisk",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": "#B8BEC6",
    "axes.labelcolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E9ED",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    # Transparent, so that the shadow of a page, which shows that a wide picture scrolls, is visible.
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class CapacityCurve:
    """Precision and recall of one score over a range of capacities.

    Attributes
    ----------
    name : str
    precision, recall : sequence of Estimate
        One for each capacity.
    """

    name: str
    precision: Sequence[Estimate]
    recall: Sequence[Estimate]


def draw_precision(
    shares: NDArray[np.float64],
    model: CapacityCurve,
    baselines: Sequence[CapacityCurve],
    own: Mapping[str, float] | None = None,
) -> str:
    """Draw precision over capacity: the model with its interval, and the baselines.

    Parameters
    ----------
    shares : float64 array
        Capacities, as shares of all traffic.
    model : CapacityCurve
    baselines : sequence of CapacityCurve
    own : mapping, optional
        Capacity in use, as `training.evaluation.capacity.compute_capacity_shares` returns it.

    Returns
    -------
    str
        An SVG picture.
    """
    curves = [(curve.precision, style) for curve, style in _iterate_curves(model, baselines)]
    titles = {"title": "Precision", "ylabel": "share of inspections that are positive"}
    return _draw_share_curves(shares, curves, model.precision, own or {}, titles, "upper right")


def draw_gain(
    shares: NDArray[np.float64],
    model: CapacityCurve,
    baselines: Sequence[CapacityCurve],
    own: Mapping[str, float] | None = None,
) -> str:
    """Draw the gain curve, which is recall over capacity; parameters as in `draw_precision`."""
    curves = [(curve.recall, style) for curve, style in _iterate_curves(model, baselines)]
    titles = {"title": "Recall (gain curve)", "ylabel": "share of positives detected", "ylim": (0, 1.02)}
    return _draw_share_curves(shares, curves, model.recall, own or {}, titles, "upper left")


def draw_lift(
    shares: NDArray[np.float64],
    model: CapacityCurve,
    baselines: Sequence[CapacityCurve],
    own: Mapping[str, float] | None = None,
) -> str:
    """Draw the lift, which is recall divided by capacity; parameters as in `draw_precision`. Random selection has lift 1."""
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=5.1, height=4.1)
        for curve, style in _iterate_curves(model, baselines):
            lift = np.array([each.value for each in curve.recall]) / shares
            ax.plot(shares, np.where(lift > 0, lift, np.nan), **style)
        _format_capacity_axis(ax)
        ax.set(title="Lift", ylabel="times as many as random selection", yscale="log")
        ax.set_ylim(0.5, None)
        ax.yaxis.set_major_formatter(FuncFormatter(_format_number))
        ax.yaxis.set_minor_formatter(NullFormatter())
        _mark_capacity(ax, own or {})
        ax.legend(loc="upper right", fontsize=9)
        return render_svg(figure)


def _draw_share_curves(
    shares: NDArray[np.float64],
    curves: Sequence[tuple[Sequence[Estimate], Mapping[str, Any]]],
    interval: Sequence[Estimate],
    own: Mapping[str, float],
    titles: Mapping[str, Any],
    legend: Literal["upper left", "upper right"],
) -> str:
    """Draw shares over capacity, each curve in its style, with one interval and the capacity in use."""
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=5.1, height=4.1)
        for estimates, style in curves:
            ax.plot(shares, [each.value for each in estimates], **style)
        _fill_interval(ax, shares, interval)
        _format_capacity_axis(ax)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        ax.set(**titles)
        _mark_capacity(ax, own)
        ax.legend(loc=legend, fontsize=9)
        return render_svg(figure)


def draw_calibration(table: Sequence[Mapping[str, float | str]], judged_by: str = "") -> str:
    """Draw the observed rate of positives over the mean score, bin by bin.

    Parameters
    ----------
    table : sequence of dict
        As `Evaluation.calibration`.
    judged_by : str
        Source of the labels, for the title.
    """
    bins = [row for row in table if np.isfinite(float(row["mean_score"])) and np.isfinite(float(row["rate"]))]
    score = np.array([float(row["mean_score"]) for row in bins])
    rate, low, high = (
        np.array([float(row[name]) for row in bins]) for name in ("rate", "rate_low", "rate_high")
    )
    score, shown = np.maximum(score, MIN_SHOWN), np.maximum(rate, MIN_SHOWN)
    below = np.nan_to_num(shown - np.maximum(low, MIN_SHOWN)).clip(0)
    above = np.nan_to_num(np.maximum(high, MIN_SHOWN) - shown).clip(0)
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=5.1, height=4.3)
        ax.plot([MIN_SHOWN, 1], [MIN_SHOWN, 1], color=GREY, linestyle="--", linewidth=1.2, label="perfect")
        none = rate <= 0
        ax.errorbar(
            score[~none],
            shown[~none],
            [below[~none], above[~none]],
            color=BLUE,
            marker="o",
            linestyle="none",
            capsize=3,
            label="score bins",
        )
        ax.plot(
            score[none], shown[none], "o", color="white", markeredgecolor=BLUE, label="no positive in the bin"
        )
        least = min([*score, *shown[~none], 0.1]) / 3
        ax.set(xscale="log", yscale="log", xlim=(least, 1.3), ylim=(least, 1.3))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(numticks=6))
            axis.set_major_formatter(FuncFormatter(_format_share))
            axis.set_minor_locator(NullLocator())
        ax.set(title=f"Calibration, {judged_by}" if judged_by else "Calibration")
        ax.set(xlabel="mean score of the bin", ylabel="observed rate of positives")
        ax.legend(loc="upper left", fontsize=9)
        return render_svg(figure)


def draw_scores(
    score: NDArray[np.float64],
    band: NDArray[np.object_],
    positive: NDArray[np.bool_],
    traffic: NDArray[np.float64],
    finds: str = "known positives",
) -> str:
    """Draw the distribution of scores over the traffic, by band, and of the positives.

    Parameters
    ----------
    score : float64 array, (n,)
        Probabilities.
    band : str array, (n,)
    positive : bool array, (n,)
    traffic : float64 array, (n,)
        How many consignments each row stands for.
    finds : str
        Label of the positives.
    """
    logarithm = np.log10(np.maximum(score, MIN_SHOWN))
    edges = np.linspace(min(logarithm.min(), -1.0), 0.0, 46)
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=5.1, height=4.3)
        for name, colour in BAND_COLOURS.items():
            counts, _ = np.histogram(logarithm[band == name], edges, weights=traffic[band == name])
            ax.stairs(counts, edges, fill=True, color=colour, alpha=0.75, label=f"band {name}")
        counts, _ = np.histogram(logarithm[positive], edges, weights=traffic[positive])
        ax.stairs(counts, edges, color=INK, linewidth=1.6, label=finds)
        ax.set_yscale("symlog", linthresh=1)
        ax.set_ylim(0, None)
        ax.xaxis.set_major_locator(MultipleLocator(1.0))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda power, _: _format_share(10**power, 0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
        ax.set(title="Scores by band", xlabel="score", ylabel="consignments")
        ax.legend(loc="upper right", fontsize=9)
        return render_svg(figure)


def draw_daily_detections(
    days: Sequence[str],
    found: NDArray[np.float64],
    there: NDArray[np.float64],
    finds: str = "known positives",
) -> str:
    """Draw for each day of the test the positives, and how many of them the capacity includes.

    Parameters
    ----------
    days : sequence of str
    found, there : float64 array, (days,)
    finds : str
        Label of the positives.
    """
    place = np.arange(len(days))
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=3.1)
        ax.bar(place, there, color="#D5DAE0", label=finds)
        ax.bar(place, found, color=BLUE, label="of these within the top 1 % of the day")
        step = max(1, len(days) // 12)
        ax.set_xticks(place[::step], [days[at] for at in place[::step]])
        ax.grid(axis="x", visible=False)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(title="Positives by day", ylabel="consignments", xlim=(-0.7, len(days) - 0.3))
        ax.set_ylim(0, 1.25 * max(1.0, there.max()))
        ax.legend(loc="upper right", fontsize=9, ncols=2)
        return render_svg(figure)


def draw_importance(shares: Mapping[str, float]) -> str:
    """Draw the contribution of each group of features to the score.

    Parameters
    ----------
    shares : mapping
        Group to its share of the mean absolute contribution, 0 to 1.
    """
    ranked = sorted(shares.items(), key=lambda item: item[1])
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=1.1 + 0.3 * len(ranked))
        bars = ax.barh([name for name, _ in ranked], [share for _, share in ranked], color=BLUE, height=0.68)
        ax.bar_label(bars, [f"{100 * share:.3g} %" for _, share in ranked], padding=4, fontsize=9.5)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        ax.set_xlim(0, 1.12 * max([share for _, share in ranked], default=1.0))
        ax.set(
            title="Contribution to the score, by group of features",
            xlabel="share of the mean absolute contribution",
        )
        return render_svg(figure)


def draw_ablation(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the loss of the rank score without each group of features, with intervals.

    Parameters
    ----------
    rows : sequence of dict
        As `training.fitting.diagnostics.run_ablation` returns them.
    """
    shown = list(rows)[::-1]
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=1.3 + 0.27 * len(shown))
        worth = np.array([row["worth"] for row in shown])
        reach = np.array(
            [[row["worth"] - row["worth_low"], row["worth_high"] - row["worth"]] for row in shown]
        )
        names = [row["group"] for row in shown]
        ax.barh(names, worth, xerr=np.nan_to_num(reach.T), color=BLUE, ecolor=GREY, height=0.62)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.grid(axis="y", visible=False)
        ax.set(
            title="Ablation: loss without a group of features",
            xlabel="loss of area under recall over the logarithm of capacity; 95 % interval",
        )
        return render_svg(figure)


def draw_fairness(rows: Sequence[Mapping[str, float | str]]) -> str:
    """Draw selection rate, hit rate and unsuccessful inspections of each group, each with its interval.

    Parameters
    ----------
    rows : sequence of dict
        As `training.evaluation.fairness.compute_fairness_rows` returns them; a dashed line is all traffic.
    """
    names = [str(row["value"]) for row in rows]
    place = np.arange(len(rows))[::-1] - 0.6 * np.cumsum(_find_kind_starts(rows))
    with mpl.rc_context(STYLE):
        figure, axes = create_figure(1, 3, width=10.4, height=1.3 + 0.27 * len(rows))
        for ax, (measure, (title, whole)) in zip(axes, FAIRNESS_PANELS.items(), strict=True):
            value, low, high = (
                np.array([float(row[f"{measure}{end}"]) for row in rows]) for end in ("", "_low", "_high")
            )
            ax.hlines(place, low, high, color=BLUE, linewidth=2.2, alpha=0.45)
            ax.plot(value, place, "o", color=BLUE, markersize=5)
            ax.axvline(value[0], color=GREY, linestyle="--", linewidth=1.0)
            room = _compute_axis_limit(value, high)
            ax.set(title=title, xlim=(-0.02 * room, room), ylim=(place.min() - 0.8, place.max() + 0.8))
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.xaxis.set_major_formatter(
                PercentFormatter(1.0, symbol=" %") if whole == 1 else FuncFormatter(_format_number)
            )
            ax.grid(axis="y", visible=False)
            ax.set_yticks(place, names if ax is axes[0] else [""] * len(rows))
            ax.tick_params(axis="y", length=0)
        return render_svg(figure)


def draw_differences(panels: Mapping[str, Sequence[tuple[str, Estimate]]]) -> str:
    """Draw differences with their intervals around zero; significant ones are coloured.

    Parameters
    ----------
    panels : mapping
        Title to the named differences; at least one panel.
    """
    longest = max(map(len, panels.values()))
    with mpl.rc_context(STYLE):
        figure, axes = create_figure(1, len(panels), width=10.4, height=1.3 + 0.25 * longest)
        for ax, (title, differences) in zip(axes, panels.items(), strict=True):
            reach = 0.0
            for place, (_, gain) in enumerate(differences):
                significant = gain.sign != 0
                colour = BLUE if significant and gain.value > 0 else RED if significant else GREY
                ax.hlines(-place, gain.low, gain.high, color=colour, linewidth=2.2, alpha=0.6)
                ax.plot(gain.value, -place, "o", color=colour, markersize=5)
                ends = np.abs([gain.low, gain.value, gain.high])
                reach = max(reach, float(ends[np.isfinite(ends)].max(initial=0.0)))
            ax.axvline(0, color=INK, linewidth=0.8)
            ax.set(title=title, ylim=(0.7 - longest, 0.7), xlim=(-1.1 * reach or -1.0, 1.1 * reach or 1.0))
            ax.set_yticks([-place for place in range(len(differences))], [name for name, _ in differences])
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
        return render_svg(figure)


def _find_kind_starts(rows: Sequence[Mapping[str, float | str]]) -> NDArray[np.bool_]:
    kinds = [row["kind"] for row in rows]
    return np.array([at > 0 and kind != kinds[at - 1] for at, kind in enumerate(kinds)])


def _compute_axis_limit(*values: NDArray[np.float64]) -> float:
    known = np.concatenate([each[np.isfinite(each)] for each in values])
    return 1.08 * float(known.max(initial=0.0)) or 1.0


def _format_share(value: float, _place: int) -> str:
    return f"{100 * value:.3g} %"


def _format_number(value: float, _place: int) -> str:
    return f"{value:,.3g}"


def create_figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Create a figure with panels, sizes in inches; to be used within `mpl.rc_context(STYLE)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def _iterate_curves(
    model: CapacityCurve, baselines: Sequence[CapacityCurve]
) -> Iterator[tuple[CapacityCurve, dict[str, Any]]]:
    """Yield each curve with its line style, the model last and on top."""
    for baseline, (colour, dashes) in zip(baselines, BASELINE_STYLES, strict=False):
        yield baseline, {"color": colour, "linestyle": dashes, "linewidth": 1.6, "label": baseline.name}
    yield model, {"color": BLUE, "linewidth": 2.4, "label": model.name}


def _fill_interval(ax: Axes, x: NDArray[np.float64], estimates: Sequence[Estimate]) -> None:
    low, high = (np.array([getattr(estimate, end) for estimate in estimates]) for end in ("low", "high"))
    ax.fill_between(x, low, high, color=BLUE, alpha=0.16, linewidth=0, label="95 % interval")


def _format_capacity_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("capacity: share of all traffic inspected")
    ax.xaxis.set_major_locator(LogLocator(subs=()))
    ax.xaxis.set_minor_locator(LogLocator(subs=()))
    ax.set_xticks(list(SHARES.values()), [name.replace("pct", " %") for name in SHARES])
    ax.set_ylim(0, None)


def _mark_capacity(ax: Axes, own: Mapping[str, float]) -> None:
    """Mark the capacity in use: a line for all offices together, and a short tick for each office."""
    low, high = ax.get_xlim()
    for office, share in own.items():
        if not low <= share <= high:
            continue
        if office == ALL_OFFICES:
            ax.axvline(share, color=INK, linestyle=(0, (1, 1)), linewidth=1.4, label="capacity in use")
        else:
            ax.axvline(share, ymax=0.04, color=INK, linewidth=1.6)


def render_svg(figure: Figure) -> str:
    """Render a figure as SVG for a page; the same values give the same bytes."""
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
