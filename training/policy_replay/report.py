"""Page and tables of a replay, and its run in MLflow."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from consignments.files.whole_files import PUBLIC_MODE, replace_file
from models.formats import format_percent
from training.policy_replay.experiment import Experiment
from training.policy_replay.results import DAYS_PER_WEEK, REFERENCE, UPPER_BOUND, ReplayResults
from training.reporting import charts
from training.reporting.html import render_page
from training.reporting.mlflow_tracking import RunRecord
from training.reporting.tables import RunTable

PAGE = "replay.html"
WEEKLY_METRICS = ("found", "found_so_far", "hit_rate")  # of the weeks: logged as means over the seeds
LINE_STYLES: dict[str, tuple[str, Any]] = {
    "oracle": (charts.INK, (0, (1, 1.5))),
    "greedy": (charts.ORANGE, "-"),
    "explore": (charts.BLUE, "-"),
    "uncertain": (charts.PURPLE, "-"),
    "novel": (charts.GREEN, "-"),
    "officer": (charts.RED, "--"),
    "rules": (charts.SKY, "--"),
    "random": (charts.GREY, "--"),
}
DEFAULT_LINE_STYLE = ("#000000", "-.")
SMOOTH_WEEKS = 4


def write_report(results: ReplayResults, experiment: Experiment, folder: Path, *, title: str) -> None:
    """Write `replay.html`, and the tables as Parquet and JSON, into a folder."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, frame in results.list_tables().items():
        path = folder / "tables" / name
        replace_file(path.with_suffix(".parquet"), frame.to_parquet(), PUBLIC_MODE)
        replace_file(path.with_suffix(".json"), RunTable(_list_rows(frame)).to_json().encode(), PUBLIC_MODE)
    replace_file(folder / PAGE, render(results, experiment, title).encode(), PUBLIC_MODE)


def render(results: ReplayResults, experiment: Experiment, title: str) -> str:
    """Render the page as self-contained HTML."""
    drawn = [_draw_weeks(results, experiment, what) for what in ("found_so_far", "share_found")]
    by = ["by", "value"]
    missed = results.missed.pivot_table("share_found", index="policy", columns=by, sort=False)
    return render_page(
        PAGE,
        title=title,
        facts=list_facts(experiment),
        sentences=results.sentences,
        charts=[chart.render() for chart in drawn],
        events=experiment.world.events,
        policies=_list_rows(results.policies),
        kinds=[str(kind[1]).replace("_", " ") for kind in missed.columns],
        missed={policy: list(missed.loc[policy]) for policy in _order_policies(results)},
        seeds=int(results.runs["seed"].nunique()),
    )


def list_facts(experiment: Experiment) -> dict[str, str]:
    """Return the short facts in the head of the page."""
    settings, header = experiment.settings, experiment.world.header
    screened = format_percent(header["world"].inspection.xray_share)
    return {
        "days": f"{experiment.world.days:,}",
        "consignments a day": f"{header['per_day']:,}",
        "world": str(header["prevalence"]),
        "X-ray images": f"{screened} of arrivals",
        "capacity": f"{settings.capacity} for each office",
        "exploration share": format_percent(settings.explore),
        "warm-up": f"{settings.warm_up_days} days",
        "retraining": f"every {settings.retrain_days} days",
        "seeds": ", ".join(str(seed) for seed in sorted(set(experiment.openings["seed"]))),
    }


def build_replay_record(
    results: ReplayResults, experiment: Experiment, folder: Path, title: str
) -> RunRecord:
    """Build the record of a replay: the report in a folder, the metrics of each policy, and their charts by week."""
    settings, header = experiment.settings, experiment.world.header
    params = {f"replay.{name}": getattr(settings, name) for name in settings.__struct_fields__}
    params |= {name: header[name] for name in ("days", "per_day", "prevalence")}
    metrics: dict[str, float] = {}
    series: dict[str, list[tuple[int, float]]] = {}
    for row in _list_rows(results.policies):
        policy = row["policy"]
        metrics |= {f"replay/{policy}/{name}": row[name] for name in row if name not in ("policy", "text")}
        mine = results.weeks[results.weeks["policy"] == policy].groupby("week")
        for name in WEEKLY_METRICS:
            series[f"replay/{policy}/{name}_by_week"] = [*mine[name].mean().items()]
    return RunRecord(
        name=title,
        description="\n\n".join(results.sentences),
        tags={"kind": "replay", "target": settings.target},
        params=params,
        metrics=metrics,
        tables={name: RunTable(_list_rows(frame)) for name, frame in results.list_tables().items()},
        files={PAGE: (folder / PAGE).read_bytes()},
        series=series,
    )


def _draw_weeks(results: ReplayResults, experiment: Experiment, what: str) -> charts.Chart:
    """Draw cumulative detections, or the share of positives detected over the last weeks, as means over seeds."""
    chart = charts.open_chart(what, weeks=str(SMOOTH_WEEKS))
    with chart.draw() as axes:
        for policy in _order_policies(results):
            mine = results.weeks[results.weeks["policy"] == policy].groupby("week")
            colour, dashes = LINE_STYLES.get(policy, DEFAULT_LINE_STYLE)
            if what == "found_so_far":
                low, high = mine[what].min(), mine[what].max()
                axes.fill_between(low.index, low, high, color=colour, alpha=0.12, linewidth=0)
                values = mine[what].mean()
            else:
                rolled = mine[["found", "sent"]].mean().rolling(SMOOTH_WEEKS, min_periods=1).sum()
                values = rolled["found"] / rolled["sent"].where(rolled["sent"] > 0)
            width = 4 if policy == REFERENCE else 2
            axes.plot(values.index, values, color=colour, linestyle=dashes, linewidth=width, label=policy)
        axes.set_ylim(bottom=0)
        charts.set_whole_numbers(axes.xaxis)
        _mark_events(axes, experiment)
    return chart


def _mark_events(axes: Axes, experiment: Experiment) -> None:
    top = axes.get_ylim()[1]
    for number, (_, day) in enumerate(experiment.world.events, 1):
        if day >= experiment.settings.warm_up_days:
            axes.axvline(day / DAYS_PER_WEEK, color=charts.GREY, linewidth=0.9, linestyle=":")
            axes.text(day / DAYS_PER_WEEK, top, f" {number}", fontsize=9, va="top", color=charts.INK)


def _order_policies(results: ReplayResults) -> list[str]:
    """Return the names of the policies, the upper bound first and then the best."""
    best_first = results.policies["policy"].tolist()
    return sorted(best_first, key=lambda name: (name != UPPER_BOUND, best_first.index(name)))


def _list_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
