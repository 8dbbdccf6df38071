"""The page of a replay and the tables beside it, and its runs in MLflow: one for each policy and seed under one parent."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from training.policy_replay.checkpoints import write_atomically
from training.policy_replay.experiment import Experiment
from training.policy_replay.report_pictures import draw_pictures
from training.policy_replay.results import ReplayResults
from training.reporting.html import MAX_PAGE_BYTES, create_environment
from training.runs.artifacts import serialize_table

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
"""Columns of the runs that are metrics."""
WEEKLY_METRICS = ("found", "found_so_far", "hit_rate", "share_of_oracle")
"""Columns of the weeks that are charts."""


def write_report(findings: ReplayResults, contest: Experiment, folder: Path, *, title: str) -> None:
    """Write `replay.html`, and the tables as Parquet and JSON, into a folder.

    Parameters
    ----------
    findings : Findings
    contest : Contest
    folder : Path
    title : str
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables").mkdir(exist_ok=True)
    for name, frame in list_tables(findings).items():
        aside = folder / "tables" / f"{name}.tmp"
        frame.to_parquet(aside)
        aside.replace(folder / "tables" / f"{name}.parquet")
        write_atomically(folder / "tables" / f"{name}.json", serialize_table(_rows(frame)).encode())
    write_atomically(folder / PAGE, render(findings, contest, title).encode())


def list_tables(findings: ReplayResults) -> dict[str, pd.DataFrame]:
    """Name the tables of a replay; the empty ones are left out."""
    tables = {
        "policies": findings.policies,
        "runs": findings.runs,
        "weeks": findings.weeks,
        "missed": findings.missed,
        "events": findings.events,
    }
    return {name: frame for name, frame in tables.items() if not frame.empty}


def render(findings: ReplayResults, contest: Experiment, title: str) -> str:
    """Write the page: HTML that needs nothing else, pictures first."""
    pages = create_environment()
    pages.filters["signed"] = lambda value: f"{value:+,.1f}" if np.isfinite(value) else "–"
    pages.filters["plain"] = format_count
    page = pages.get_template(PAGE).render(
        title=title,
        facts=list_facts(contest),
        sentences=findings.sentences,
        pictures={name: Markup(picture) for name, picture in draw_pictures(findings, contest).items()},
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
    """Give the short facts of the head of the page."""
    settings, header = contest.settings, contest.header
    facts = {"days": f"{contest.days:,}"}
    if "per_day" in header:
        facts |= {"consignments a day": f"{header['per_day']:,}", "world": str(header["prevalence"])}
        facts |= {"X-ray pictures": f"{header['world']['inspection']['xray_share']:.0%} of arrivals"}
    share = header.get("share")
    every = "" if header.get("round_days", 1) == 1 else f", every {header['round_days']} days"
    capacity = f"{settings.capacity} for each office" if share is None else f"{share:.0%} of arrivals"
    return facts | {
        "capacity": capacity + every,
        "exploring share": f"{settings.explore:.0%}",
        "warm-up": f"{settings.warm_up_days} days",
        "retrained": f"every {settings.retrain_days} days",
        "seeds": ", ".join(str(seed) for seed in sorted(set(contest.openings["seed"]))),
    }


def format_count(value: Any) -> str:
    """Write a number of things, with a decimal where it is a mean; a dash where it is unknown.

    Examples
    --------
    >>> plain(1234), plain(12.5), plain(12.0), plain(float("nan"))
    ('1,234', '12.5', '12', '–')
    """
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def log_replay(
    findings: ReplayResults, contest: Experiment, folder: Path, *, title: str, tracking_uri: str
) -> str:
    """Log a run for each policy and seed under one parent that holds the report.

    Parameters
    ----------
    findings : Findings
    contest : Contest
    folder : Path
        Where the report was written.
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
    """Name a metric: finds by what was looked for."""
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
