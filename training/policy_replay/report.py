"""Page and tables of a replay, and its runs in MLflow: one for each policy and seed under one parent."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from consignments.files.whole_files import PUBLIC_MODE, replace_file
from models.formats import format_number, format_percent
from training.policy_replay.experiment import Experiment
from training.policy_replay.replay import DAYS_PER_WEEK
from training.policy_replay.results import DRAWING_POLICIES, REFERENCE, UPPER_BOUND, ReplayResults
from training.reporting.charts import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY
from training.reporting.figures import STYLE, build_figures, create_figure, render_svg
from training.reporting.html import MAX_PAGE_BYTES, create_environment
from training.reporting.tables import serialize_table

PAGE = "replay.html"
LOGGED_METRICS = (
    "found",
    "hit_rate",
    "share_of_oracle",
    "share_found",
    "found_on_tips",
    "offence_rate",
    "opened",
    "sent",
)
"""Columns of the runs that are logged as metrics."""
WEEKLY_METRICS = ("found", "found_so_far", "hit_rate", "share_of_oracle")
"""Columns of the weeks that are logged as charts."""
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
FIGURE_TEXTS = {
    "cumulative": (
        "cumulative detections of each policy by week",
        "The higher line detects more at the same capacity. The band spans the seeds: policies whose bands overlap are not clearly different. "
        "A line under another one is drawn wider.",
    ),
    "total": (
        "total detections of each policy",
        "Each bar is the mean over the seeds, the black line its 95 % interval. The oracle knows the truth and is the upper bound.",
    ),
    "weekly": (
        f"share of positives detected over the last {SMOOTH_WEEKS} weeks, by policy",
        "A line that falls after an event (dotted) shows a policy that does not follow the change.",
    ),
    "missed": (
        "share of positives detected, by kind of network and by channel",
        "Dark is detected, light is missed. A light column is a kind of network that no policy detects.",
    ),
    "events": (
        f"detections more than {REFERENCE}, before and after each event",
        "Right of the line: more detections than the policy that never explores. If the interval crosses the line, chance can explain it.",
    ),
}
"""For each picture what it shows, for screen readers, and how to read it."""
EXPLORING_POLICIES = (*DRAWING_POLICIES, "uncertain", "novel")
"""Policies whose gain is plotted around events."""


def write_report(findings: ReplayResults, contest: Experiment, folder: Path, *, title: str) -> None:
    """Write `replay.html`, and the tables as Parquet and JSON, into a folder.

    Parameters
    ----------
    findings : ReplayResults
    contest : Experiment
    folder : Path
    title : str
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables").mkdir(exist_ok=True)
    for name, frame in list_tables(findings).items():
        aside = folder / "tables" / f"{name}.tmp"
        frame.to_parquet(aside)
        aside.replace(folder / "tables" / f"{name}.parquet")
        replace_file(folder / "tables" / f"{name}.json", serialize_table(_rows(frame)).encode(), PUBLIC_MODE)
    replace_file(folder / PAGE, render(findings, contest, title).encode(), PUBLIC_MODE)


def list_tables(findings: ReplayResults) -> dict[str, pd.DataFrame]:
    """Return the tables of a replay by name, without the empty ones."""
    tables = {
        "policies": findings.policies,
        "runs": findings.runs,
        "weeks": findings.weeks,
        "missed": findings.missed,
        "events": findings.events,
    }
    return {name: frame for name, frame in tables.items() if not frame.empty}


def render(findings: ReplayResults, contest: Experiment, title: str) -> str:
    """Render the page as self-contained HTML."""
    pages = create_environment()
    pages.filters["signed"] = lambda value: format_number(value, "+") if np.isfinite(value) else "–"
    pages.filters["plain"] = format_count
    page = pages.get_template(PAGE).render(
        title=title,
        facts=list_facts(contest),
        sentences=findings.sentences,
        figures=build_figures(draw_pictures(findings, contest), FIGURE_TEXTS),
        events=contest.events,
        policies=_rows(findings.policies),
        missed=_rows(findings.missed),
        changes=_rows(findings.events),
        seeds=int(findings.runs["seed"].nunique()),
    )
    if len(page.encode()) > MAX_PAGE_BYTES:
        raise ValueError(f"the report has {len(page.encode()):,} bytes, more than {MAX_PAGE_BYTES:,}")
    return page


def list_facts(contest: Experiment) -> dict[str, str]:
    """Return the short facts in the head of the page."""
    settings, header = contest.settings, contest.header
    facts = {"days": f"{contest.days:,}"}
    if "per_day" in header:
        facts |= {"consignments a day": f"{header['per_day']:,}", "world": str(header["prevalence"])}
        share_screened = format_percent(header["world"]["inspection"]["xray_share"])
        facts |= {"X-ray images": f"{share_screened} of arrivals"}
    share = header.get("share")
    every = "" if header.get("round_days", 1) == 1 else f", every {header['round_days']} days"
    capacity = (
        f"{settings.capacity} for each office" if share is None else f"{format_percent(share)} of arrivals"
    )
    return facts | {
        "capacity": capacity + every,
        "exploration share": format_percent(settings.explore),
        "warm-up": f"{settings.warm_up_days} days",
        "retraining": f"every {settings.retrain_days} days",
        "seeds": ", ".join(str(seed) for seed in sorted(set(contest.openings["seed"]))),
    }


def format_count(value: Any) -> str:
    """Format a count, or a mean of counts with three significant digits; a dash if it is unknown.

    Examples
    --------
    >>> format_count(1234), format_count(12.5), format_count(12.0), format_count(float("nan"))
    ('1,234', '12.5', '12', '–')
    """
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else format_number(value)


def log_replay(
    findings: ReplayResults, contest: Experiment, folder: Path, *, title: str, tracking_uri: str
) -> str:
    """Log a run for each policy and seed under one parent that holds the report.

    Parameters
    ----------
    findings : ReplayResults
    contest : Experiment
    folder : Path
        Folder of the report.
    title : str
    tracking_uri : str

    Returns
    -------
    str
        The parent's identifier.
    """
    from training.reporting.mlflow_tracking import RunRecord, log_run

    params: dict[str, Any] = {
        **{f"replay.{name}": getattr(contest.settings, name) for name in contest.settings.__struct_fields__},
        **{
            name: contest.header[name] for name in ("days", "per_day", "prevalence") if name in contest.header
        },
    }
    tags = {"kind": "replay", "target": contest.settings.target}
    with TemporaryDirectory() as spare:
        shown = Path(spare)
        (shown / "tables").mkdir()
        for path in [folder / PAGE, *sorted((folder / "tables").glob("*.json"))]:
            (shown / path.relative_to(folder)).write_bytes(path.read_bytes())
        parent = log_run(
            RunRecord(
                name=title,
                description="\n\n".join(findings.sentences),
                tags=tags,
                params=params,
                metrics=_summary(findings),
                folder=shown,
            ),
            tracking_uri=tracking_uri,
        )
    with TemporaryDirectory() as spare:
        for run in _rows(findings.runs):
            mine = findings.weeks[
                (findings.weeks["policy"] == run["policy"]) & (findings.weeks["seed"] == run["seed"])
            ]
            log_run(
                RunRecord(
                    name=f"{run['policy']}, seed {run['seed']}",
                    description=_get_policy_text(findings, str(run["policy"])),
                    tags={**tags, "policy": str(run["policy"]), "seed": str(run["seed"])},
                    params={**params, "policy": run["policy"], "seed": run["seed"]},
                    metrics=_finite({_metric(name, contest): run[name] for name in LOGGED_METRICS}),
                    series={
                        f"{_metric(name, contest)}_by_week": [
                            (int(week), float(value))
                            for week, value in zip(mine["week"], mine[name], strict=True)
                            if np.isfinite(value)
                        ]
                        for name in WEEKLY_METRICS
                    },
                    folder=Path(spare),
                    parent=parent,
                ),
                tracking_uri=tracking_uri,
            )
    return parent


def _metric(column: str, contest: Experiment) -> str:
    """Return the name of a metric; detections are named by target."""
    return f"replay/{contest.settings.target}_{column}" if column.startswith("found") else f"replay/{column}"


def _summary(findings: ReplayResults) -> dict[str, float]:
    columns = [f"{name}{end}" for name in ("found", "share_of_oracle") for end in ("", "_low", "_high")]
    return _finite(
        {
            f"replay/{row['policy']}/{column}": row[column]
            for row in _rows(findings.policies)
            for column in columns
        }
    )


def _finite(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def _get_policy_text(findings: ReplayResults, policy: str) -> str:
    return str(findings.policies.set_index("policy").loc[policy, "text"])


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        dict(zip(frame.columns, values, strict=True)) for values in frame.itertuples(index=False, name=None)
    ]


def draw_pictures(findings: ReplayResults, contest: Experiment) -> dict[str, str]:
    """Draw all plots.

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
    """Draw cumulative detections, or the share of positives detected over the last weeks, as means over seeds."""
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
        ax.plot(
            values.index,
            values,
            color=colour,
            linestyle=dashes,
            linewidth=4 if policy == REFERENCE else 2,
            label=policy,
        )
        if what == "found_so_far":
            each = table[table["policy"] == policy].groupby("week")[what]
            if findings.runs["seed"].nunique() > 1:
                ax.fill_between(values.index, each.min(), each.max(), color=colour, alpha=0.12, linewidth=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("week of the world")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if what == "share_found":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_title(f"Share of positives detected, over the last {SMOOTH_WEEKS} weeks")
    else:
        ax.set_title("Cumulative detections, mean over seeds (band: lowest and highest seed)")
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
    rates = table["hit_rate"].tolist()
    labels = [
        f"{row.found:,.0f}, {format_percent(rate)} of {row.opened:,.0f} inspected"
        for row, rate in zip(table.itertuples(index=False), rates, strict=True)
    ]
    reached = np.nanmax(np.concatenate([found, high[known]])) if len(found) else 1.0
    for place, (label, end) in enumerate(zip(labels, np.where(known, high, found), strict=True)):
        ax.annotate(label, (end, place), (6, 0), textcoords="offset points", va="center", fontsize=9.5)
    ax.set_xlim(0, 1.35 * max(1.0, float(reached)))
    ax.grid(axis="y", visible=False)
    ax.set(title="Total detections, at the same capacity", xlabel="detections after the warm-up")
    return render_svg(figure)


def _draw_missed(findings: ReplayResults) -> str:
    """Draw the share of positives detected by kind of network and by channel, darker for higher shares."""
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
        ax.set_title(f"Share detected by {'kind of network' if by == 'network' else by}")
    return render_svg(figure)


def _draw_events(findings: ReplayResults) -> str:
    """Draw the detections of the exploring policies minus those of the greedy one, before and after each event."""
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
        ax.set(title=f"{window.title()} each event", xlabel=f"detections more than {REFERENCE}")
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
