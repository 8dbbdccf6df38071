"""The command line of npsrisk: it lists the verbs and loads only what the one asked for needs.

Exit code 0 on success, 2 on bad input with one clear line on standard error, 1 where a check finds a difference. With `--json` the last line of standard
output is one JSON object.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consignments.errors import BadInput, FileFault, NpsriskError
from consignments.records import TARGETS, Target

if TYPE_CHECKING:
    import pandas as pd

    from consignments.rejects import Reject
    from consignments.tables import ReadReport
    from features.batch import Progress, Tables
    from features.streams import FeatureInputs, TableSource
    from models.bundle import Bundle
    from models.registry import ModelVersion, Registry
    from serving.encryption.vault import Vault
    from serving.process.settings import Settings
    from serving.scoring.past_models import PastModels
    from training.config import TrainConfig

HARD_SETS = ("brazil", "canada", "emirates", "japan", "kazakhstan", "newzealand", "southafrica", "sweden")
PREVALENCES = ("realistic", "enriched", "operation", *(f"hard:{name}" for name in HARD_SETS))
PROGRESS_DELAY_SECONDS = 2.0
"""Work longer than this shows a progress bar, on a terminal."""


class CommandGroup(click.Group):
    """A group of verbs that turns the errors of npsrisk into one clear line and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        """Run the verb asked for."""
        try:
            return super().invoke(context)
        except NpsriskError as error:
            click.echo(f"npsrisk {context.invoked_subcommand}: {error}", err=True)
            context.exit(2)

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """List the verbs in the order in which one meets them."""
        return list(self.commands)


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="npsrisk")
def main() -> None:
    """Find the few postal items and air-cargo consignments that hold new psychoactive substances.

    The loop: advance data are scored, some are inspected, what was found comes back, a new model is trained on it,
    compared, promoted, and scores again. Tables (T) are CSV (.csv), Parquet (.parquet or a directory) or JSON
    Lines (.jsonl).
    """
    # MLflow's own bars flash for files that are there at once.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def _table_option(name: str, *, required: bool = False, text: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.Path(path_type=Path), metavar="T", required=required, help=text)


consignments_option = _table_option("--consignments", required=True, text="Consignment table.")
history_option = _table_option("--history", text="Past consignments, for history only.")
outcomes_option = _table_option("--outcomes", text="Outcome table: what was found.")
alerts_option = _table_option("--alerts", text="Alert table.")
rejects_option = click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write rows at fault here, with their reasons.",
)
strict_option = click.option("--strict", is_flag=True, help="Any row at fault is a failure.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line."
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Processes that compute; default: one for each core. Changes nothing but time.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Training configuration: further columns and keys, split, model.",
)
model_option = click.option(
    "--model",
    default=None,
    metavar="URI",
    help="models:/NAME/VERSION or models:/NAME@ALIAS; default: NPSRISK_MODEL.",
)
target_option = click.option(
    "--target", type=click.Choice(TARGETS), default="nps", show_default=True, help="What to find."
)
as_of_option = click.option(
    "--as-of", type=str, default=None, metavar="TIME", help="ISO 8601; what became visible later is hidden."
)


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the four tables are written.",
)
@click.option(
    "--days", type=click.IntRange(1), default=240, show_default=True, help="Length of the simulated world."
)
@click.option(
    "--per-day", type=click.IntRange(1), default=500, show_default=True, help="Mean consignments a day."
)
@click.option(
    "--prevalence",
    type=click.Choice(PREVALENCES),
    default="enriched",
    show_default=True,
    help="How rare the threat is; hard:SET brings a world of its own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--world",
    "spec",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.toml",
    help="Numbers that replace those of training/simulation/world.toml, name by name.",
)
@json_option
def simulate(
    out: Path, days: int, per_day: int, prevalence: str, seed: int, spec: Path | None, as_json: bool
) -> None:
    """Simulate an operation: consignments, outcomes, alerts, and the truth apart.

    \b
    prevalence   NPS       opened  what for
    realistic    1 in 10^5  .12 %  volumes and speed: a million consignments hold ten NPS
    enriched     1 in 1000   2 %   training and comparing
    operation    1 in 200    2 %   a lane that an operation looks at: small worlds with finds in them
    hard:SET     1 in 370    2 %   telling methods apart: other countries, spellings, and networks that keep little

    For 120 days rules choose, then a model and officers too; the operation with its alerts begins on day 270, or at three
    quarters of a shorter world (operation: at a third). What changes when, what is assumed, and what the world lacks:
    docs/simulator.md. The truth is for evaluation only; no training or scoring reads it.

    \b
    npsrisk simulate --out world --days 60 --per-day 300
    npsrisk simulate --out year --days 366 --per-day 2000 --seed 1
    echo '[inspection]
    xray_share = 0.0' > blind.toml && npsrisk simulate --out blind --world blind.toml
    """
    from consignments.tables import write_table
    from training.simulation.operation import simulate as run
    from training.simulation.parameters import load_parameters

    with show_progress_bar() as progress:
        world = run(
            load_parameters(spec, prevalence),
            days=days,
            per_day=per_day,
            prevalence=prevalence,
            seed=seed,
            progress=progress,
        )
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        "consignments": world.consignments,
        "outcomes": world.outcomes,
        "alerts": world.alerts,
        "truth": world.truth,
    }
    for name, frame in tables.items():
        write_table(frame, out / f"{name}.parquet")
    print_result(
        {"out": str(out), **{name: len(frame) for name, frame in tables.items()}},
        as_json,
        f"{len(world.consignments):,} consignments, {len(world.outcomes):,} outcomes, {len(world.alerts)} alerts -> {out}",
    )


@main.command()
@click.argument("messages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MESSAGE…")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="T",
    help="Where the consignment table is written.",
)
@click.option(
    "--received-at",
    type=str,
    default=None,
    metavar="TIME",
    help="When the messages reached customs; default: the time of issue in each message.",
)
@rejects_option
@strict_option
@json_option
def read(
    messages: tuple[Path, ...],
    out: Path,
    received_at: str | None,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Read real messages into a consignment table: IATA Cargo-XML house waybills (XFZB) and waybills (XFWB).

    Houses are scored; a master waybill read along with them adds its route and forwarder.

    \b
    npsrisk read master.xml house1.xml house2.xml --out consignments.parquet
    """
    from consignments.cargo_xml import read_messages
    from consignments.records import Consignment
    from consignments.tables import build_frame, write_rejects, write_table

    found = read_messages(messages, received_at=parse_time(received_at, "--received-at"))
    for told in (*found.notes, *found.rejects):
        click.echo(str(told), err=True)
    if rejects is not None:
        write_rejects(found.rejects, rejects)
    if found.rejects and (strict or not found.consignments):
        raise FileFault(
            f"{len(found.rejects)} of {len(messages)} messages could not be read",
            todo="see the reasons above",
        )
    write_table(build_frame(found.consignments, Consignment), out)
    print_result(
        {"out": str(out), "consignments": len(found.consignments), "rejects": len(found.rejects)},
        as_json,
        f"{len(found.consignments)} consignments from {len(messages)} messages -> {out}",
    )


@main.command()
@consignments_option
@history_option
@outcomes_option
@alerts_option
@config_option
@model_option
@jobs_option
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="T", help="Where the result is written."
)
@rejects_option
@strict_option
def features(
    consignments: Path,
    history: Path | None,
    outcomes: Path | None,
    alerts: Path | None,
    config: Path | None,
    model: str | None,
    jobs: int | None,
    out: Path,
    rejects: Path | None,
    strict: bool,
) -> None:
    """Write the features exactly as the model sees them, with `consignment_id` and, where the table has it, `sequence`.

    Without --model, the features that need a fitted model are left out. A Parquet table in the order of time, or of
    sequence where it has one, is never whole in memory, however large.

    \b
    npsrisk features --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out features.parquet
    """
    from consignments.tables import write_chunks
    from features.fitted import FittedParameters
    from features.pipeline import Pipeline
    from features.streams import stream_features
    from training.config import read_config

    if model is None:
        feature_config, fitted = read_config(config).features, FittedParameters.create_empty()
    else:
        bundle = open_registry().fetch_bundle(open_registry().resolve(model))
        feature_config, fitted = bundle.config, FittedParameters.from_plain(bundle.fitted, bundle.arrays)
    spec = Pipeline(feature_config, fitted, create_batch_pseudonyms()).spec
    shown = [place for place, each in enumerate(spec) if model is not None or not each.fitted]
    reading = TableReader(rejects, strict)
    with show_progress_bar() as progress:
        world = reading.open_sources(
            consignments, outcomes, alerts, history, feature_config.build_record_type(), progress
        )
        pieces = stream_features(
            world,
            feature_config,
            fitted,
            create_batch_pseudonyms(),
            jobs=jobs or count_cores(),
            progress=progress,
        )
        rows = write_chunks((piece.to_table(spec, shown) for piece in pieces), out)
    click.echo(f"{rows:,} rows of {len(shown)} features -> {out}")


@main.command()
@consignments_option
@_table_option("--outcomes", required=True, text="Outcome table: what was found.")
@alerts_option
@_table_option("--truth", text="Truth of a simulated world: for evaluation only.")
@as_of_option
@target_option
@config_option
@click.option("--register", is_flag=True, help="Register the model as a new version, alias `challenger`.")
@click.option(
    "--origins",
    type=click.IntRange(0, 12),
    default=0,
    metavar="N",
    help="Also fit at N earlier moments, each judged on the weeks after it.",
)
@click.option(
    "--ablation", is_flag=True, help="Also fit without each group of features, before the test period."
)
@click.option(
    "--trials",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="N",
    help="Search for better parameters, N trials in all; goes on where it stopped.",
)
@click.option(
    "--minutes", type=click.FloatRange(0), default=None, metavar="M", help="No trial begins after M minutes."
)
@jobs_option
@rejects_option
@strict_option
@json_option
def train(
    consignments: Path,
    outcomes: Path,
    alerts: Path | None,
    truth: Path | None,
    as_of: str | None,
    target: Target,
    config: Path | None,
    register: bool,
    origins: int,
    ablation: bool,
    trials: int,
    minutes: float | None,
    jobs: int | None,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Train on operation results as they were visible at --as-of, evaluate on later time, log the run in MLflow.

    \b
    npsrisk simulate --out world
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --register
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --trials 20 --minutes 30
    """
    from consignments.records import Truth
    from features.batch import report_progress
    from training.config import read_config
    from training.fitting.diagnostics import DiagnosticsOptions
    from training.fitting.search import SearchBudget
    from training.runs.train import run_training

    settings_now = read_settings()
    chosen = read_config(config)
    reading = TableReader(rejects, strict)
    with show_progress_bar() as progress:
        with report_progress(progress, "reading tables"):
            tables = reading.read_tables(consignments, outcomes, alerts, chosen.features.build_record_type())
        done = run_training(
            tables,
            as_of=parse_timestamp(as_of, "--as-of"),
            target=target,
            config=chosen,
            truth=reading.read_table(truth, Truth),
            pseudonyms=create_batch_pseudonyms(),
            tracking_uri=settings_now.mlflow_tracking_uri,
            register=register,
            studies=DiagnosticsOptions(
                origins,
                ablation,
                SearchBudget(trials, minutes, settings_now.state_dir / "search.log") if trials else None,
            ),
            jobs=jobs or count_cores(),
            progress=progress,
        )
    result = {
        "run_id": done.run_id,
        "model_uri": done.model_uri,
        "version": done.version,
        "metrics": done.metrics,
    }
    print_result(result, as_json, done.summarize())


@main.command()
@click.argument("a")
@click.argument("b")
@consignments_option
@outcomes_option
@alerts_option
@_table_option("--truth", text="Truth of a simulated world, in place of the outcomes.")
@click.option(
    "--from",
    "begins",
    default=None,
    metavar="TIME",
    help="First arrival; default: when the later test period began.",
)
@click.option("--until", "ends", default=None, metavar="TIME", help="End of the arrivals, not included.")
@target_option
@rejects_option
@strict_option
@json_option
def compare(
    a: str,
    b: str,
    consignments: Path,
    outcomes: Path | None,
    alerts: Path | None,
    truth: Path | None,
    begins: str | None,
    ends: str | None,
    target: Target,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Compare two versions of one target on the same consignments, paired by day; logs a comparison run.

    A and B are numbers, aliases or models:/NAME/VERSION; B is the one that might replace A.

    \b
    npsrisk compare champion challenger --consignments later.parquet --outcomes outcomes.parquet
    """
    from consignments.records import Truth
    from training.config import EvaluationConfig
    from training.promotion.comparison import compare as run
    from training.promotion.comparison import log_comparison, summarize_comparison

    versions = [open_registry().resolve(name, target=target) for name in (a, b)]
    one, other = (open_registry().fetch_bundle(version) for version in versions)
    reading = TableReader(rejects, strict)
    with show_progress_bar() as progress:
        found = run(
            one,
            other,
            reading.read_tables(consignments, outcomes, alerts, one.config.build_record_type()),
            create_batch_pseudonyms(),
            EvaluationConfig(),
            begins=parse_time(begins, "--from"),
            ends=parse_time(ends, "--until"),
            truth=reading.read_table(truth, Truth),
            progress=progress,
        )
    run_id = log_comparison(found, versions[0], versions[1], read_settings().mlflow_tracking_uri)
    result = {"run_id": run_id, "verdict": found.verdict(), "metrics": found.flatten_metrics()}
    print_result(
        result, as_json, f"{summarize_comparison(found, versions[0].title, versions[1].title)}\nrun {run_id}"
    )


@main.command()
@consignments_option
@history_option
@outcomes_option
@alerts_option
@model_option
@_table_option("--reference", text="Traffic to compare with, in place of what the model carries.")
@click.option(
    "--from", "begins", default=None, metavar="TIME", help="First arrival watched; earlier ones are history."
)
@click.option("--until", "ends", default=None, metavar="TIME", help="End of the arrivals, not included.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.html",
    help="Where the page is written.",
)
@rejects_option
@strict_option
@json_option
def drift(
    consignments: Path,
    history: Path | None,
    outcomes: Path | None,
    alerts: Path | None,
    model: str | None,
    reference: Path | None,
    begins: str | None,
    ends: str | None,
    out: Path,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Watch later traffic without labels: `stable`, `run_training` or `investigate data`, with reasons; logs a run.

    The traffic is held against what the model carries of the time when it was judged: scores, features, mix of codes,
    new senders, missing values, units, sources that fell silent. Exit code 0 with any verdict.

    \b
    npsrisk drift --consignments week.parquet --history past.parquet --outcomes outcomes.parquet --out drift.html
    """
    from training.config import EvaluationConfig
    from training.monitoring.drift import detect_drift
    from training.monitoring.drift_report import log_drift, render_drift, summarize_drift

    chosen = resolve_model(model)
    bundle = open_registry().fetch_bundle(chosen)
    reading = TableReader(rejects, strict)
    record = bundle.config.build_record_type()
    tables = reading.read_tables(consignments, outcomes, alerts, record)
    with show_progress_bar() as progress:
        found = detect_drift(
            bundle,
            tables,
            create_batch_pseudonyms(),
            EvaluationConfig(),
            history=reading.read_table(history, record),
            reference=reading.read_table(reference, record),
            begins=parse_time(begins, "--from"),
            ends=parse_time(ends, "--until"),
            progress=progress,
        )
    page = render_drift(found, chosen.uri)
    out.write_text(page, encoding="utf-8")
    run_id = log_drift(found, page, chosen, read_settings().mlflow_tracking_uri)
    result = {
        "out": str(out),
        "run_id": run_id,
        "verdict": found.verdict,
        "reasons": found.build_reason_rows(),
        "notes": found.notes,
        "metrics": found.flatten_metrics(),
    }
    print_result(result, as_json, f"{summarize_drift(found)}\n-> {out}, run {run_id}")


@main.command()
@click.argument("version")
@click.option("--approved-by", required=True, metavar="WHO", help="The person who decides.")
@click.option("--why", required=True, metavar="TEXT", help="The reason, for the record.")
@click.option(
    "--comparison", default=None, metavar="RUN", help="MLflow run of the comparison; default: the latest."
)
@click.option("--force", is_flag=True, help="Promote although a rule does not hold; recorded as such.")
@target_option
@json_option
def promote(
    version: str,
    approved_by: str,
    why: str,
    comparison: str | None,
    force: bool,
    target: str,
    as_json: bool,
) -> None:
    """Run the gate and make VERSION the champion; the old champion becomes `previous`.

    VERSION is a number, an alias or models:/NAME/VERSION. Roll back with: npsrisk promote previous …

    \b
    npsrisk promote 1 --approved-by "duty reviewer" --why "first model of the operation"
    """
    from training.promotion.promote import promote as run

    record = run(
        open_registry(),
        open_registry().resolve(version, target=target),
        approved_by=approved_by,
        why=why,
        comparison=comparison,
        force=force,
        now=datetime.now(UTC),
    )
    print_result(
        json.loads(record.to_json()),
        as_json,
        f"{record.name} version {record.version} is champion"
        + (f"; version {record.replaces} is previous" if record.replaces else "")
        + (" (forced)" if record.forced else "")
        + f"; record {record.number}, {record.compute_sha256()[:12]}",
    )


@main.command()
@consignments_option
@history_option
@outcomes_option
@alerts_option
@model_option
@as_of_option
@click.option(
    "--reasons", type=click.IntRange(0, 10), default=0, show_default=True, help="Reasons for each row."
)
@jobs_option
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="T", help="Where the result is written."
)
@rejects_option
@strict_option
@json_option
def score(
    consignments: Path,
    history: Path | None,
    outcomes: Path | None,
    alerts: Path | None,
    model: str | None,
    as_of: str | None,
    reasons: int,
    jobs: int | None,
    out: Path,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Score a table; the same model and history give the same bits as the service.

    A Parquet table in the order of time, or of sequence where it has one, is never whole in memory.

    \b
    npsrisk score --consignments new.parquet --history past.parquet --outcomes outcomes.parquet --out scores.csv
    """
    from collections import Counter

    from consignments.tables import write_chunks
    from models.batch_scoring import score_chunks

    chosen = resolve_model(model)
    bundle = open_registry().fetch_bundle(chosen)
    reading = TableReader(rejects, strict)
    bands: Counter[str] = Counter()

    def counted(scores: "pd.DataFrame") -> "pd.DataFrame":
        bands.update(scores["band"])
        return scores

    with show_progress_bar() as progress:
        scored = score_chunks(
            bundle,
            reading.open_sources(
                consignments, outcomes, alerts, history, bundle.config.build_record_type(), progress
            ),
            create_batch_pseudonyms(),
            as_of=parse_timestamp(as_of, "--as-of"),
            reasons=reasons,
            version=chosen.number,
            jobs=jobs or count_cores(),
            progress=progress,
        )
        rows = write_chunks(map(counted, scored), out)
    print_result(
        {"out": str(out), "rows": rows, "bands": dict(bands.most_common()), "model": chosen.uri},
        as_json,
        f"{rows:,} scores by {chosen.uri} ({bands['high']} high, {bands['elevated']} elevated) -> {out}",
    )


@main.command()
@_table_option("--scores", required=True, text="Score table of `npsrisk score`.")
@click.option(
    "--capacity", type=click.IntRange(1), required=True, help="Inspections for each office and UTC day."
)
@click.option(
    "--explore",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of the capacity that goes to random inspections.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the lots drawn.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="T", help="Where the result is written."
)
@json_option
def select(scores: Path, capacity: int, explore: float, seed: int, out: Path, as_json: bool) -> None:
    """Write the inspection list: the highest scores, and a random share with known probabilities."""
    from consignments.tables import read_scores, write_table
    from models.selection import build_selection_table

    chosen = build_selection_table(read_scores(scores), capacity=capacity, explore=explore, seed=seed)
    write_table(chosen, out)
    print_result({"out": str(out), "rows": len(chosen)}, as_json, f"{len(chosen):,} to inspect -> {out}")


@main.command()
@_table_option("--consignments", text="Consignment table; nothing reacts.")
@_table_option("--truth", text="What is inside: with --consignments.")
@outcomes_option
@alerts_option
@click.option(
    "--world",
    metavar="SPEC",
    help="In place of the tables, a simulated world that reacts: realistic, enriched, operation, hard:SET, or FILE.toml.",
)
@click.option(
    "--days", type=click.IntRange(1), default=330, show_default=True, help="Length of the simulated world."
)
@click.option(
    "--per-day", type=click.IntRange(1), default=2000, show_default=True, help="Its mean consignments a day."
)
@click.option(
    "--prevalence",
    type=click.Choice(PREVALENCES),
    default="enriched",
    show_default=True,
    help="Its preset, where --world is a file.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME",
    help="random, rules, officer, greedy, explore, uncertain, novel, oracle; default: all. May be repeated.",
)
@click.option(
    "--capacity", type=click.IntRange(1), required=True, help="Inspections for each office and UTC day."
)
@click.option(
    "--explore",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of the capacity that exploring policies spend on it.",
)
@click.option(
    "--warm-up-days",
    type=click.IntRange(1),
    default=56,
    show_default=True,
    help="The common past, under the operation as it was.",
)
@click.option(
    "--retrain-days",
    type=click.IntRange(1),
    default=21,
    show_default=True,
    help="From one training to the next.",
)
@click.option("--seed", "seeds", type=int, multiple=True, default=(1,), help="May be repeated; default: 1.")
@target_option
@config_option
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes; default: one for each core.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where report, tables and finished weeks are written.",
)
@rejects_option
@strict_option
@json_option
def replay(
    consignments: Path | None,
    truth: Path | None,
    outcomes: Path | None,
    alerts: Path | None,
    world: str | None,
    days: int,
    per_day: int,
    prevalence: str,
    policies: tuple[str, ...],
    capacity: int,
    explore: float,
    warm_up_days: int,
    retrain_days: int,
    seeds: tuple[int, ...],
    target: Target,
    config: Path | None,
    jobs: int | None,
    out: Path,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Run the whole loop for several policies, and report what each found.

    Each day scores what arrived, selects under capacity, reveals outcomes only of what was chosen and once they are
    known, and retrains on schedule. The same command again goes on after a kill, from the last finished week.

    \b
    npsrisk replay --world enriched --days 120 --per-day 500 --capacity 3 --policy greedy --policy explore --out loop
    """
    import os

    from training.config import read_config
    from training.policy_replay.experiment import (
        LOOP_CONFIG,
        EnvironmentFactory,
        TabularFactory,
        create_simulated_factory,
        run_experiment,
    )
    from training.policy_replay.policies import POLICIES
    from training.policy_replay.replay import ReplaySettings
    from training.policy_replay.report import PAGE, log_replay, write_report
    from training.policy_replay.results import compute_results

    chosen = LOOP_CONFIG if config is None else read_config(config)
    maker: EnvironmentFactory
    if world is not None:
        if consignments is not None or truth is not None:
            raise BadInput("a world and tables", expected="--world, or --consignments with --truth")
        preset = world if world in PREVALENCES else prevalence
        maker = create_simulated_factory(
            None if world in PREVALENCES else Path(world), days=days, per_day=per_day, prevalence=preset
        )
        title = f"Replay of a simulated world ({preset}, {days:,} days, {per_day:,} a day)"
    else:
        maker = TabularFactory(
            *_read_replay_tables(consignments, truth, outcomes, alerts, chosen, rejects, strict)
        )
        title = f"Replay of {maker.days:,} days"
    settings_of_loop = ReplaySettings(
        capacity=capacity,
        explore=explore,
        warm_up_days=warm_up_days,
        retrain_days=retrain_days,
        target=target,
    )
    with show_progress_bar() as progress:
        contest = run_experiment(
            maker,
            policies or tuple(POLICIES),
            seeds,
            settings_of_loop,
            out / "weeks",
            config=chosen,
            jobs=jobs or os.cpu_count() or 1,
            progress=progress,
        )
    findings = compute_results(contest)
    write_report(findings, contest, out, title=title)
    run_id = log_replay(findings, contest, out, title=title, tracking_uri=read_settings().mlflow_tracking_uri)
    found = findings.policies.set_index("policy")["found"].to_dict()
    print_result(
        {"out": str(out), "run_id": run_id, "found": found},
        as_json,
        "\n".join([*findings.sentences, f"{out / PAGE}", f"run {run_id}"]),
    )


def _read_replay_tables(
    consignments: Path | None,
    truth: Path | None,
    outcomes: Path | None,
    alerts: Path | None,
    config: "TrainConfig",
    rejects: Path | None,
    strict: bool,
) -> "tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None, pd.DataFrame | None]":
    """Read the tables of a replay."""
    from consignments.records import Truth

    if consignments is None or truth is None:
        raise BadInput("nothing to replay", expected="--world, or --consignments with --truth")
    reading = TableReader(rejects, strict)
    tables = reading.read_tables(consignments, outcomes, alerts, config.features.build_record_type())
    inside = reading.read_table(truth, Truth)
    assert inside is not None
    return tables.consignments, inside, tables.outcomes, tables.alerts


@main.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than loopback need API keys.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on."
)
def serve(host: str, port: int) -> None:
    """Run the HTTP service over the published model; the page at / lists the calls."""
    from serving.http.app import serve as run

    run(host, port, read_settings())


@main.command()
@model_option
@click.option(
    "--shadow",
    default=None,
    metavar="URI",
    help="A challenger that scores beside it and answers nobody; default: NPSRISK_SHADOW_MODEL.",
)
@json_option
def publish(model: str | None, shadow: str | None, as_json: bool) -> None:
    """Fetch the model from MLflow, verify its bundle and promotion record, and place it where the service reads it.

    A challenger for the shadow, as models:/nps-risk@challenger, is placed too, or withdrawn where there is none; it need not
    have been promoted, and is marked then.
    """
    from serving.deployment.publisher import publish as run
    from serving.deployment.publisher import publish_shadow

    chosen, registered = read_settings(), open_registry()
    release = run(registered, chosen.model if model is None else model, chosen)
    text = f"published {release['name']} version {release['version']} -> {release['folder']}"
    wanted = chosen.shadow_model if shadow is None else shadow
    beside = publish_shadow(registered, wanted, chosen)
    if beside is not None:
        approved = "" if beside["approved"] else ", which nobody approved"
        text += f"\nin shadow: {beside['name']} version {beside['version']}{approved}"
    elif wanted is not None:
        text += f"\nnothing in shadow: {wanted} is not there, or decides already"
    print_result(release | {"shadow": beside}, as_json, text)


@main.command()
@click.option("--from", "begins", default=None, metavar="TIME", help="Only decisions made from then on.")
@click.option("--until", "ends", default=None, metavar="TIME", help="Only decisions made before.")
@click.option("--model", default=None, metavar="NAME/VERSION", help="The challenger; default: the latest.")
@json_option
def shadow(begins: str | None, ends: str | None, model: str | None, as_json: bool) -> None:
    """Report where a challenger in shadow disagrees with what was answered.

    With NPSRISK_SHADOW_MODEL set, as to models:/nps-risk@challenger, npsrisk publish places it, and the service lets it score
    the same traffic for its own log. Example: npsrisk shadow --from 2024-03-01
    """
    from consignments.visibility import to_us
    from serving.event_log.reader import LogReader
    from serving.shadow.report import MAX_TIME_US, measure_disagreement
    from serving.shadow.store import ShadowLog

    chosen = read_settings()
    first, end = parse_time(begins, "--from"), parse_time(ends, "--until")
    from_us, until_us = 0 if first is None else to_us(first), MAX_TIME_US if end is None else to_us(end)
    with (
        LogReader.open_to_read(chosen.database_url) as log,
        ShadowLog(chosen.state_dir, log.log_id) as shadow_log,
    ):
        found = measure_disagreement(log, shadow_log, model, from_us, until_us)
    print_result(found.to_dict(), as_json, found.to_text())


@main.command("import")
@consignments_option
@outcomes_option
@alerts_option
@rejects_option
@strict_option
@json_option
def import_(
    consignments: Path,
    outcomes: Path | None,
    alerts: Path | None,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Append past data to the service's log, as history without decisions; doing it twice changes nothing.

    The service must not be running on the same state directory.
    """
    from serving.maintenance.import_past import import_tables

    chosen = read_settings()
    reading = TableReader(rejects, strict)
    with show_progress_bar() as progress:
        counts = import_tables(reading.read_tables, consignments, outcomes, alerts, chosen, progress)
    print_result(counts, as_json, ", ".join(f"{count:,} {name}" for name, count in counts.items()))


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the tables: new, empty, or an earlier export, which is replaced.",
)
@click.option("--personal", is_flag=True, help="Write personal columns too; needs the data key.")
@json_option
def export(out: Path, personal: bool, as_json: bool) -> None:
    """Write the service's log as tables, with `sequence`, the order of history; the service may run meanwhile.

    consignments (every version), outcomes, alerts, selections, decisions, and a table of features for each feature
    spec, as Parquet. Without --personal no personal column is written and no data key is needed; with it the tables
    train and score as the log itself would.

    \b
    npsrisk export --out exported --personal
    npsrisk train --consignments exported/consignments.parquet --outcomes exported/outcomes.parquet
    """
    from serving.event_log.reader import LogReader
    from serving.maintenance.export import export_log as run

    chosen = read_settings()
    with LogReader.open_to_read(chosen.database_url) as log, show_progress_bar() as progress:
        told = run(log, open_vault() if personal else None, open_past_bundles(), out, progress)
    for note in told["notes"]:
        click.echo(note, err=True)
    rows = ", ".join(f"{count:,} {name}" for name, count in told["tables"].items())
    print_result({"out": str(out), **told}, as_json, f"{rows} -> {out}")


@main.command()
@click.option("--from", "begins", default=None, metavar="TIME", help="Only decisions made from then on.")
@click.option("--until", "ends", default=None, metavar="TIME", help="Only decisions made before.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME/VERSION",
    help="Only decisions of this model; may be repeated.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, metavar="T", help="Write all differences here."
)
@json_option
@click.pass_context
def parity(
    context: click.Context,
    begins: str | None,
    ends: str | None,
    models: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Compute every logged decision anew, and compare features, score, band and keys bit for bit.

    Personal fields are decrypted with the data key, and nothing that the service computed goes in. The service may run
    meanwhile. History is computed from the first entry on, whichever decisions are compared. Exit code 0 only where all
    decisions were compared and all are equal, 1 where not.

    \b
    npsrisk parity --from 2024-06-27 --out differences.csv
    """
    from consignments.table_files import write_chunks
    from consignments.visibility import to_us
    from features.history.pseudonyms import Pseudonyms, load_data_key
    from serving.event_log.reader import LogReader
    from serving.maintenance.parity import DecisionFilter, ParityCheck

    chosen = read_settings()
    moments = [parse_time(text, option) for text, option in ((begins, "--from"), (ends, "--until"))]
    from_us, until_us = (None if each is None else to_us(each) for each in moments)
    wanted = DecisionFilter(from_us, until_us, tuple(name.removeprefix("models:/") for name in models))
    with LogReader.open_to_read(chosen.database_url) as log, show_progress_bar() as progress:
        pseudonyms = Pseudonyms(load_data_key(chosen.data_key_file))
        comparison = ParityCheck(log, open_vault(), pseudonyms, open_past_bundles(), wanted, progress)
        if out is None:
            comparison.run()
        else:
            write_chunks(comparison.iterate_tables(), out)
    print_result(comparison.findings.to_dict(), as_json, comparison.findings.to_text())
    context.exit(0 if comparison.findings.equal else 1)


@main.command()
@click.option(
    "--before", required=True, metavar="DATE", help="What was recorded before; a year ago, or earlier."
)
@click.option("--approved-by", required=True, metavar="WHO", help="The person who decides.")
@click.option("--why", required=True, metavar="TEXT", help="The reason, for the record.")
@click.option("--dry-run", is_flag=True, help="Only count; change nothing.")
@json_option
def forget(before: str, approved_by: str, why: str, dry_run: bool, as_json: bool) -> None:
    """Remove the content of old consignments from the service's log: fields, personal or not, features and reasons.

    What is left of each is its identifier, moments, keys of history, score, band and model, so that history stays as it is and
    verify-log proves what is left. It cannot be undone, and is put on record in the log itself. The service must not be
    running.

    Then the key of each month that ended before the date goes, once no entry needs it: personal fields of that month can no
    longer be read in any copy of the log. Copies still hold the rest of what was removed.

    \b
    npsrisk forget --before 2022-01-01 --approved-by "data protection" --why "three years have passed" --dry-run
    """
    from serving.maintenance.retention import forget as run

    date = parse_time(before, "--before")
    assert date is not None
    with show_progress_bar() as progress:
        done = run(read_settings(), date, approved_by, why, dry_run=dry_run, progress=progress)
    verb = "would lose" if dry_run else "lost"
    text = f"{done.consignments:,} consignments {verb} their content, up to entry {done.up_to:,}"
    if done.months:
        text += (
            f"\nthe keys of these months {'would be' if dry_run else 'were'} erased: {', '.join(done.months)}"
        )
    text += f"\nhead {done.head}"
    print_result(done._asdict(), as_json, text)


@main.command("verify-log")
@click.option(
    "--head",
    default="",
    metavar="HASH",
    help="Head that an earlier walk printed, kept elsewhere: it must be in the chain.",
)
@json_option
@click.pass_context
def verify_log(context: click.Context, head: str, as_json: bool) -> None:
    """Walk along the chain of the event log: was an entry changed, taken out or put in?

    Prints the head, the hash of the last entry. A log that was cut off, or written anew as a whole, still holds
    together; a head that was kept elsewhere and is given back by --head shows it. Needs no data key, and the service
    may run meanwhile. Exit code 1 where something is wrong.

    \b
    npsrisk verify-log | sed -n 's/^head //p' > /elsewhere/head
    npsrisk verify-log --head "$(cat /elsewhere/head)"
    """
    from serving.event_log.reader import HEAD_PATTERN, LogReader

    if head and not re.fullmatch(HEAD_PATTERN, head):
        raise BadInput("not a head", where="--head", got=repr(head), expected="64 hexadecimal digits")
    with LogReader.open_to_read(read_settings().database_url) as log, show_progress_bar() as progress:
        verdict, erasures = log.verify(head, progress), log.read_key_erasures()
    fault = verdict.describe_fault(head)
    text = f"{verdict.entries:,} entries hold together\nhead {verdict.head}"
    if verdict.emptied:
        text += f"\n{verdict.emptied:,} of them without content, which was removed on record"
    if verdict.erased:
        text += f"\n{verdict.erased:,} of them with personal fields that nobody can read any more"
    if erasures:
        text += f"\n{len(erasures):,} keys of months were erased on record; the last: {erasures[-1]}"
    if verdict.kept_at is not None:
        text += f"\nthe head that was kept is entry {verdict.kept_at:,}"
    told = {**verdict._asdict(), "fault": fault, "erased_months": [each.month for each in erasures]}
    print_result(told, as_json, f"{text}\n{fault}" if fault else text)
    context.exit(1 if fault else 0)


class TableReader:
    """Reads tables for a verb, tells what was at fault, and keeps the rows at fault of all of them in one file."""

    def __init__(self, rejects: Path | None, strict: bool) -> None:
        self.path, self.strict = rejects, strict
        self.rejects: list[Reject] = []

    def read_table(self, path: Path | None, record: Any) -> "pd.DataFrame | None":
        """Read one table, or nothing where no path is given."""
        if path is None:
            return None
        from consignments.tables import read_table

        table = read_table(path, record, strict=self.strict)
        self._report(table.report, table.rejects)
        return table.frame

    def open_source(self, path: Path, record: Any, progress: "Progress") -> "TableSource":
        """Read a consignment table: Parquet piece by piece, others whole."""
        from consignments.parquet_stream import stream_table
        from consignments.table_files import is_parquet
        from features.streams import InMemoryTable

        if not path.exists() or not is_parquet(path):
            frame = self.read_table(path, record)
            assert frame is not None
            return InMemoryTable(frame)
        stream = stream_table(path, record, strict=self.strict, progress=progress)
        self._report(stream.report, stream.rejects)
        return stream

    def _report(self, report: "ReadReport", rejects: "tuple[Reject, ...]") -> None:
        from consignments.tables import write_rejects

        if report.rejected or report.unknown_columns:
            click.echo(report.to_text(), err=True)
        self.rejects += rejects
        if self.path is not None and rejects:
            write_rejects(self.rejects, self.path)

    def read_tables(
        self, consignments: Path, outcomes: Path | None, alerts: Path | None, record: Any
    ) -> "Tables":
        """Read the tables of one world."""
        from consignments.records import Alert, Outcome
        from features.batch import Tables

        first = self.read_table(consignments, record)
        assert first is not None
        return Tables(first, self.read_table(outcomes, Outcome), self.read_table(alerts, Alert))

    def open_sources(
        self,
        consignments: Path,
        outcomes: Path | None,
        alerts: Path | None,
        history: Path | None,
        record: Any,
        progress: "Progress",
    ) -> "FeatureInputs":
        """Read the tables of one world, those of consignments piece by piece."""
        from consignments.records import Alert, Outcome
        from features.streams import FeatureInputs

        return FeatureInputs(
            consignments=self.open_source(consignments, record, progress),
            outcomes=self.read_table(outcomes, Outcome),
            alerts=self.read_table(alerts, Alert),
            history=None if history is None else self.open_source(history, record, progress),
        )


def read_settings() -> "Settings":
    """Read the settings from the environment."""
    from serving.process.settings import Settings

    return Settings.read()


def open_registry() -> "Registry":
    """Open the model registry of the settings, which is not made where there is none."""
    from models.registry import Registry

    require_store(read_settings().mlflow_tracking_uri)
    return Registry(read_settings().mlflow_tracking_uri)


def require_store(uri: str) -> None:
    """Raise where an SQLite file of MLflow does not exist: opening it would make an empty one."""
    file = uri.removeprefix("sqlite:///")
    if file != uri and not Path(file).exists():
        raise BadInput(
            "there is no such file",
            where="MLFLOW_TRACKING_URI",
            got=file,
            expected="the store of a training run",
            todo="run npsrisk train --register first, or go to its folder",
        )


def resolve_model(uri: str | None) -> "ModelVersion":
    """Find the model asked for, or the one of the settings."""
    return open_registry().resolve(uri if uri is not None else read_settings().model)


def open_vault() -> "Vault":
    """Derive the keys of the log from the data key, which must be there, and read those of its months."""
    from features.history.pseudonyms import load_data_key
    from serving.encryption.vault import Vault

    return Vault.load(read_settings().state_dir, load_data_key(read_settings().data_key_file))


def open_past_bundles() -> "PastModels":
    """Find bundles of past decisions in the state directory, else in MLflow, which is not made where there is none."""
    from serving.scoring.past_models import PastModels

    chosen = read_settings()

    def fetch(name: str, version: str) -> "Bundle":
        return open_registry().fetch_bundle(open_registry().resolve(f"models:/{name}/{version}"))

    return PastModels(chosen.state_dir, fetch)


def create_batch_pseudonyms() -> Any:
    """Make pseudonyms for a batch, which writes none of them anywhere."""
    from features.batch import BATCH_KEY
    from features.history.pseudonyms import Pseudonyms

    return Pseudonyms(BATCH_KEY)


def count_cores() -> int:
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_time(text: str | None, option: str) -> datetime | None:
    """Read a time of an option; UTC where it has no zone."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            "bad time", where=option, got=repr(text), expected="ISO 8601, as 2024-03-04T09:00:00Z"
        ) from None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def parse_timestamp(text: str | None, option: str) -> "pd.Timestamp | None":
    """Read a time of an option as pandas has it, in UTC."""
    value = parse_time(text, option)
    if value is None:
        return None
    import pandas as pd

    return pd.Timestamp(value).tz_convert("UTC")


@contextmanager
def show_progress_bar() -> Iterator["Progress"]:
    """Show a bar for each stage of long work, on a terminal only; its clock runs on while nothing is counted."""
    from threading import Event, Thread

    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}
    shown, ended = sys.stderr.isatty(), Event()

    def advance(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(
                total=total,
                desc=what,
                delay=PROGRESS_DELAY_SECONDS,
                disable=not shown,
                unit="",
                unit_scale=True,
            )
        bars[what].update(done - bars[what].n)

    def tick() -> None:
        while not ended.wait(1.0):
            for bar in list(bars.values()):
                if bar.n < (bar.total or 0) and time.time() > bar.start_t + PROGRESS_DELAY_SECONDS:
                    bar.refresh()

    ticker = Thread(target=tick, daemon=True)
    if shown:
        ticker.start()
    try:
        yield advance
    finally:
        ended.set()
        if shown:
            ticker.join()
        for bar in bars.values():
            bar.close()


def print_result(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a result for a person, or as one JSON object."""
    click.echo(json.dumps(result, default=str, sort_keys=False) if as_json else text)


if __name__ == "__main__":
    main()
