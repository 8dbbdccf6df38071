"""The pictures of a replay: what each policy found as time went on, in all, where it missed, and what exploring is worth."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.policy_replay.experiment import Experiment
from training.policy_replay.replay import DAYS_PER_WEEK
from training.policy_replay.results import EXPLORING, REFERENCE, UPPER_BOUND, ReplayResults
from training.reporting.plots import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    STYLE,
    create_figure,
    render_svg,
)

LINE_STYLES = {
    "oracle": (INK, (0, (1, 1.5))),
    "greedy": (ORANGE, "-"),
    "explore": (BLUE, "-"),
    "uncertain": (PURPLE, "-"),
    "novel": (GREEN, "-"),
    "officer": (RED, "--"),
    "rules": (SKY, "--"),
    "random": (GREY, "--"),
}
DEFAULT_LINE_STYLE = ("#000000", "-.")
SMOOTH_WEEKS = 4
EXPLORING_POLICIES = (EXPLORING, "uncertain", "novel")
"""Policies whose gain is drawn around events."""


def draw_pictures(findings: ReplayResults, contest: Experiment) -> dict[str, str]:
    """Draw all pictures.

    Returns
    -------
    dict of str
        Name to SVG, in the order of the page.
    """
    with mpl.rc_context(STYLE):
        pictures = {
            "cumulative": _draw_by_week(findings, contest, "found_so_far"),
            "total": _draw_totals(findings),
            "weekly": _draw_by_week(findings, contest, "share_found"),
            "missed": _draw_missed(findings),
        }
        if not findings.events.empty and findings.events["policy"].isin(EXPLORING_POLICIES).any():
            pictures["events"] = _draw_events(findings)
    return pictures


def _draw_by_week(findings: ReplayResults, contest: Experiment, what: str) -> str:
    """Draw finds so far, or the share found of what was sent, over the last weeks; the mean over seeds."""
    figure, (ax,) = create_figure(1, 1, width=10.4, height=4.4)
    table = findings.weeks
    for policy in _order_policies(findings):
        mine = table[table["policy"] == policy].groupby("week")[["found", "sent", "found_so_far"]].mean()
        if what == "share_found":
            rolled = mine.rolling(SMOOTH_WEEKS, min_periods=1).sum()
            values = rolled["found"] / rolled["sent"].where(rolled["sent"] > 0)
        else:
            values = mine[what]
        colour, dashes = LINE_STYLES.get(policy, DEFAULT_LINE_STYLE)
        ax.plot(values.index, values, color=colour, linestyle=dashes, linewidth=2, label=policy)
        if what == "found_so_far":
            each = table[table["policy"] == policy].groupby("week")[what]
            if findings.runs["seed"].nunique() > 1:
                ax.fill_between(values.index, each.min(), each.max(), color=colour, alpha=0.12, linewidth=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("week of the world")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if what == "share_found":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_title(f"Share found of what was sent, over the last {SMOOTH_WEEKS} weeks")
    else:
        ax.set_title("Finds so far, mean over seeds (band: lowest and highest seed)")
    _mark_events(ax, contest)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    return render_svg(figure)


def _mark_events(ax: Axes, contest: Experiment) -> None:
    top = ax.get_ylim()[1]
    for number, (_, day) in enumerate(contest.events, 1):
        if day >= contest.settings.warm_up_days:
            ax.axvline(day / DAYS_PER_WEEK, color=GREY, linewidth=0.9, linestyle=":")
            ax.text(day / DAYS_PER_WEEK, top, f" {number}", fontsize=9, va="top", color=INK)


def _draw_totals(findings: ReplayResults) -> str:
    table = findings.policies.iloc[::-1]
    figure, (ax,) = create_figure(1, 1, width=10.4, height=1.1 + 0.36 * len(table))
    found = table["found"].to_numpy(dtype=np.float64)
    low, high = (table[f"found_{end}"].to_numpy(dtype=np.float64) for end in ("low", "high"))
    colours = [LINE_STYLES.get(name, DEFAULT_LINE_STYLE)[0] for name in table["policy"]]
    ax.barh(table["policy"], found, color=colours, height=0.66)
    known = np.isfinite(low)
    if known.any():
        reach = np.abs(np.vstack([found - low, high - found]))[:, known]
        ax.errorbar(found[known], np.flatnonzero(known), xerr=reach, fmt="none", ecolor=INK, capsize=3)
    labels = [
        f"{row.found:,.0f}, {row.hit_rate:.1%} of {row.opened:,.0f} opened"
        for row in table.itertuples(index=False)
    ]
    reached = np.nanmax(np.concatenate([found, high[known]])) if len(found) else 1.0
    for place, (label, end) in enumerate(zip(labels, np.where(known, high, found), strict=True)):
        ax.annotate(label, (end, place), (6, 0), textcoords="offset points", va="center", fontsize=9.5)
    ax.set_xlim(0, 1.35 * max(1.0, float(reached)))
    ax.grid(axis="y", visible=False)
    ax.set(title="Found in all, at the same capacity", xlabel="finds after the warm-up")
    return render_svg(figure)


def _draw_missed(findings: ReplayResults) -> str:
    """Draw the share found by kind of network and by channel, darker where more was found."""
    parts = [by for by in ("network", "channel") if (findings.missed["by"] == by).any()]
    figure, axes = create_figure(1, len(parts), width=10.4, height=1.6 + 0.36 * len(findings.policies))
    for ax, by in zip(axes, parts, strict=True):
        mine = findings.missed[findings.missed["by"] == by]
        table = mine.pivot_table(index="policy", columns="value", values="share_found")
        table = table.reindex([name for name in findings.policies["policy"] if name in table.index])
        edges = (np.arange(len(side) + 1) - 0.5 for side in (table.columns, table.index))
        ax.pcolormesh(*edges, table.to_numpy(), cmap="Blues", vmin=0, vmax=1, edgecolors="white")
        ax.invert_yaxis()
        ax.set_xticks(range(len(table.columns)), [str(name).replace("_", "\n") for name in table.columns])
        ax.set_yticks(range(len(table)), list(table.index))
        ax.grid(visible=False)
        for (row, column), share in np.ndenumerate(table.to_numpy()):
            if np.isfinite(share):
                shade = "white" if share > 0.55 else INK
                ax.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=9.5, color=shade)
        ax.set_title(f"Share found by {'kind of network' if by == 'network' else by}")
    return render_svg(figure)


def _draw_events(findings: ReplayResults) -> str:
    """Draw what the exploring policies found more than the greedy one, before and after each event."""
    table = findings.events
    names = [name for name in EXPLORING_POLICIES if (table["policy"] == name).any()]
    events = list(dict.fromkeys(zip(table["event"], table["day"], strict=True)))
    figure, axes = create_figure(1, 2, width=10.4, height=1.5 + 0.5 * len(events))
    for ax, window in zip(axes, ("before", "after"), strict=True):
        for shift, name in enumerate(names):
            mine = table[(table["policy"] == name) & (table["window"] == window)].set_index("event")
            _draw_dots(ax, mine, [event for event, _ in events], 0.22 * (shift - (len(names) - 1) / 2), name)
        ax.axvline(0, color=GREY, linewidth=1)
        ax.set_yticks(range(len(events)), [f"{n} {event}" for n, (event, _) in enumerate(events, 1)])
        ax.set_ylim(len(events) - 0.5, -0.5)
        ax.set(title=f"{window.title()} each event", xlabel=f"finds more than {REFERENCE}")
        if window == "after":
            ax.set_yticklabels([])
            ax.legend(loc="best", fontsize=9)
    return render_svg(figure)


def _draw_dots(ax: Axes, mine: pd.DataFrame, events: Sequence[str], shift: float, name: str) -> None:
    colour = LINE_STYLES.get(name, DEFAULT_LINE_STYLE)[0]
    there = [place for place, event in enumerate(events) if event in mine.index]
    rows = mine.loc[[events[place] for place in there]]
    at = np.array(there, dtype=np.float64) + shift
    gain = rows["more_than_greedy"].to_numpy(dtype=np.float64)
    ax.plot(gain, at, "o", color=colour, markersize=6, label=name)
    low, high = (rows[f"more_than_greedy_{end}"].to_numpy(dtype=np.float64) for end in ("low", "high"))
    known = np.isfinite(low)
    ax.hlines(at[known], low[known], high[known], color=colour, linewidth=1.4)


def _order_policies(findings: ReplayResults) -> list[str]:
    best_first = findings.policies["policy"].tolist()
    return sorted(best_first, key=lambda name: (name != UPPER_BOUND, best_first.index(name)))
