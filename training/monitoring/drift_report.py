"""Page and tables of a drift comparison, and its run in MLflow."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from models.arrays import Row
from models.formats import MIN_SHOWN_SCORE, format_percent
from models.registry import ModelVersion
from models.traffic_profile import ReferenceProfile
from training.monitoring.drift import Drift
from training.monitoring.drift_measures import BEYOND, LIMITS, NOT_EVALUATED
from training.reporting import charts
from training.reporting.charts import Chart
from training.reporting.html import render_page
from training.reporting.mlflow_tracking import RunRecord
from training.reporting.tables import RunTable

PAGE_FILE = "drift.html"
MAX_FEATURES, MAX_SHARES = 25, 25
SHARES = ("missing", "new code", "unknown code", "new key")
VERDICT_ACTIONS = {
    "stable": "No change is beyond its limit with its whole 95 % interval (a rise of arrivals has no limit). Nothing asks for a new model.",
    "insufficient data": "There is too little later traffic to tell whether it changed. Keep watching: the notes say what is needed.",
    "retrain": "The traffic changed. Train on later results and compare.",
    "investigate data": "Data seem to be missing or wrong. Find out first: a model trained on a fault would learn it. If the traffic "
    "itself changed, repeat this on arrivals after the change (--from).",
}
MAX_DRAWN = 10
MAX_SHOWN = 3.0  # upper end of the axis of shares of a limit


def summarize_drift(drift: Drift) -> str:
    """Return the verdict with its reasons and notes as text, for a terminal and the run."""
    lines = [f"{drift.verdict}: {_advise(drift)}"]
    lines += [f"- {reason['verdict']}: {reason['text']}" for reason in drift.reasons]
    return "\n".join([*lines, *(f"({note})" for note in drift.notes)])


def _advise(drift: Drift) -> str:
    """Return what to do; traffic that is stable says nothing of precision if too few results are known."""
    advice = VERDICT_ACTIONS[drift.verdict]
    (observed,) = drift.select_kind("observed precision")
    if drift.verdict == "stable" and observed["result"] == NOT_EVALUATED:
        return f"{advice} Whether its precision holds is not known yet: there are too few results."
    return advice


def render_drift(drift: Drift, model: str) -> str:
    """Render the page of a comparison with a model, given by its name: self-contained HTML, under 2 MB."""
    shares = [row for row in drift.measures if row["kind"] in SHARES and row["value"] == row["value"]]
    channels = [name for name in drift.then.scores if name.startswith("channel:")]
    scores = [draw_scores(drift.then, drift.now, name) for name in channels]
    return render_page(
        PAGE_FILE,
        drift=drift,
        model=model,
        does=_advise(drift),
        charts=[draw_limits(select_nearest(drift.measures)), draw_arrivals(drift), *scores],
        limits=LIMITS,
        shares=sorted(shares, key=lambda row: -abs(row["value"]))[:MAX_SHARES],
        features=drift.features[:MAX_FEATURES],
    )


def build_drift_record(drift: Drift, page: str, model: ModelVersion) -> RunRecord:
    """Build the record of a drift comparison and its page."""
    now, then = drift.now, drift.then
    return RunRecord(
        name=f"drift {model.number}, from {now.first_day}",
        description=summarize_drift(drift).replace("\n", "\n\n"),
        tags={"model": model.uri, "target": model.target, "kind": "drift", "verdict": drift.verdict},
        params={
            "consignments": sum(now.channels.values()),
            "first_day": now.first_day,
            "days": now.days,
            "reference_consignments": sum(then.channels.values()),
            "reference_first_day": then.first_day,
            "reference_days": then.days,
            "capacity": now.capacity,
        },
        metrics=drift.flatten_metrics(),
        tables={
            "reasons": RunTable(drift.reasons, ("verdict", "text")),
            "measures": RunTable(drift.measures, ("kind", "name", "part")),
            "features": RunTable(drift.features),
        },
        files={PAGE_FILE: page},
    )


def select_nearest(measures: Sequence[Row]) -> list[Row]:
    """Select the evaluated measures that are nearest to their limits or beyond them, the largest first."""
    evaluated = [row for row in measures if row["result"] != NOT_EVALUATED]
    return sorted(evaluated, key=lambda row: -_measure_distance(row, "value"))[:MAX_DRAWN]


def _measure_distance(row: Row, name: str) -> float:
    """Return how far a number of a measure is towards the limit on the side to which the measure moved; 1 at the limit."""
    limit = LIMITS[row["kind"]]
    moved = limit.compare(row["value"])
    return limit.compare(row[name]) * (-1 if moved < 0 and limit.side in ("either", "factor") else 1)


def draw_limits(rows: Sequence[Row]) -> Chart:
    """Draw how far measures went towards their limits, with intervals."""
    ways = [[_measure_distance(row, name) for row in rows] for name in ("value", "low", "high")]
    colors = [charts.RED if row["result"] == BEYOND else charts.BLUE for row in rows]
    chart, names = charts.open_chart("limits", len(rows)), [name_measure(row) for row in rows]
    return charts.draw_rows(chart, names, list(np.clip(ways, 0.0, MAX_SHOWN)), 1.0, colors)


def draw_arrivals(drift: Drift) -> Chart:
    """Draw the daily arrivals of the largest offices, each as a share of its mean day in the reference."""
    chart = charts.open_chart("arrivals")
    known = drift.then.sources["office"]
    offices = sorted((name for name in known if known[name].arrivals), key=lambda name: -known[name].arrivals)
    first = date.fromisoformat(drift.now.first_day)
    with chart.draw() as axes:
        for name, (colour, dashes) in zip(offices, charts.LINE_STYLES, strict=False):
            came = np.array(drift.daily.get(f"office:{name}", [0] * drift.now.days))
            mean = known[name].arrivals / drift.then.days
            # A single day has no line.
            point = "o" if drift.now.days == 1 else None
            axes.plot(came / mean, color=colour, linestyle=dashes, marker=point, label=name)
        axes.set_ylim(0, None)
        charts.set_columns(axes, [f"{first + timedelta(days=at):%d %b}" for at in range(drift.now.days)])
    return chart


def draw_scores(then: ReferenceProfile, now: ReferenceProfile, part: str) -> Chart:
    """Draw the distribution of a part of the traffic over the bins of the score, reference and current."""
    chart = charts.open_chart("scores", channel=part.partition(":")[2].replace("_", " "))
    edges = [format_percent(edge, least=MIN_SHOWN_SCORE) for edge in (0.0, *then.score_edges)]
    place = np.arange(len(edges))
    with chart.draw() as axes:
        for profile, shift, colour, label in (
            (then, -0.2, charts.GREY, "reference"),
            (now, 0.2, charts.BLUE, "current"),
        ):
            counts = np.array(profile.scores.get(part, [0] * len(place)))
            axes.bar(place + shift, counts / max(counts.sum(), 1), 0.38, color=colour, label=label)
        charts.set_columns(axes, edges, most=5)
    return chart


def name_measure(row: Row) -> str:
    """Name a measure for people, such as `source, office Busan`."""
    named = " ".join(row[key] for key in ("name", "part") if row[key] not in ("all", "precision", "score"))
    return f"{row['kind']}, {named}".replace("_", " ") if row["part"] != "capacity" else row["kind"]
