"""Plots of explanations as SVG: the beeswarm of contributions, and the dependence of the score on one feature."""

from collections.abc import Sequence
from textwrap import wrap

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from training.reporting.plots import BLUE, GREY, INK, RED, STYLE, create_figure, render_svg

MAX_POINTS = 160
"""Rows of the beeswarm; more make the page heavy."""
LABEL_CHARACTERS = 62
ROW_HEIGHT = 0.4
"""Largest distance of a point from the middle of its row; rows are 1 apart."""
MAX_FEW_VALUES = 6
"""With at most this many values of a feature, the dependence is drawn as points without a line."""
MAX_TICKS = 3
VALUE_COLOURS = LinearSegmentedColormap.from_list("value", [BLUE, "#C9CED6", RED])
Floats = NDArray[np.float64]


def draw_beeswarm(titles: Sequence[str], X: NDArray[np.float32], contributions: Floats) -> str:
    """Draw the contribution of each feature to the score of each row as a point, coloured by the feature's value.

    Parameters
    ----------
    titles : sequence of str
        Features in words, the strongest first.
    X : float32 array, (n, features)
        Their values; NaN if missing.
    contributions : float64 array, (n, features)
        In log-odds.
    """
    some = np.unique(np.linspace(0, len(X) - 1, min(len(X), MAX_POINTS)).astype(np.int64))
    place = -np.arange(len(titles))
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=10.4, height=1.0 + 0.36 * len(titles))
        ax.axvline(0, color=INK, linewidth=0.8)
        for column, middle in enumerate(place):
            effect, value = contributions[some, column], X[some, column].astype(np.float64)
            known = np.isfinite(value)
            height = middle + _spread_points(effect)
            ax.scatter(
                effect[known],
                height[known],
                c=_compute_ranks(value[known]),
                cmap=VALUE_COLOURS,
                vmin=0,
                vmax=1,
                s=13,
                linewidths=0,
            )
            ax.scatter(
                effect[~known], height[~known], s=11, facecolors="none", edgecolors=GREY, linewidths=0.7
            )
        ax.set_yticks(place, ["\n".join(wrap(title, LABEL_CHARACTERS)[:2]) for title in titles], fontsize=9)
        ax.set_ylim(0.6 - len(titles), 0.6)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.set(xlabel="contribution to the raw score, in log-odds")
        return render_svg(figure)


def draw_dependence(values: Floats, effect: Floats, missing: float, *, is_flag: bool = False) -> str:
    """Draw the partial dependence of the score on one feature, small enough for a grid of pictures.

    Parameters
    ----------
    values : float64 array, (v,)
        Values of the feature, in rising order.
    effect : float64 array, (v,)
        Mean change of the raw score at each, in log-odds.
    missing : float
        The same without a value; NaN to leave it out.
    is_flag : bool
        True if the values are 0 for no and 1 for yes.
    """
    with mpl.rc_context(STYLE | {"font.size": 9}):
        figure, (ax,) = create_figure(1, 1, width=3.2, height=1.9)
        ax.axhline(0, color=GREY, linewidth=0.8)
        place = np.arange(len(values), dtype=np.float64)
        is_few = len(values) <= MAX_FEW_VALUES
        ax.plot(
            place, effect, "o" if is_few else ".-", color=BLUE, linewidth=1.8, markersize=6 if is_few else 4
        )
        at = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_TICKS)).round())
        ticks = at.tolist()
        names = [_name_value(float(values[int(each)]), is_flag=is_flag) for each in at]
        if np.isfinite(missing):
            end = len(values) + 0.12 * len(values)
            ax.plot([end], [missing], "o", markerfacecolor="white", markeredgecolor=GREY)
            ticks, names = [*ticks, end], [*names, "missing"]
        ax.set_xticks(ticks, names)
        ax.set_xlim(-0.1 * len(values) - 0.2, 1.25 * len(values))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0"))
        ax.grid(axis="x", visible=False)
        return render_svg(figure)


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
    return offset * min(0.09, ROW_HEIGHT / max(1.0, float(np.abs(offset).max())))
