"""The verbs of batch scoring: score, select, recall."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.batch import count_cores, create_batch_pseudonyms
from cli.options import (
    TableOptions,
    as_of_option,
    batch_table_options,
    capacity_option,
    collect_options,
    jobs_option,
    json_option,
    model_option,
    outcomes_required_option,
    reject_options,
    result_option,
    table_option,
    target_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import open_registry, resolve_model
from cli.table_reader import TableReader
from cli.times import parse_timestamp
from consignments.errors import BadInput
from consignments.records import Target

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_EXPLORE_SHARE = 0.05
"""Share of the capacity for random inspections if neither a share nor a width is given."""


class BatchScoreOptions(NamedTuple):
    """How a table is scored.

    Attributes
    ----------
    model : str or None
        URI; None for the model of the settings.
    as_of : str or None
        Time as it was typed; what became visible later is hidden.
    reasons : int
        Reasons for each row.
    jobs : int or None
        Processes; None for one for each core.
    without_history : bool
        Whether the caller says that there are no past consignments beyond those given.
    """

    model: str | None
    as_of: str | None
    reasons: int
    jobs: int | None
    without_history: bool

    def check_history(self, path: Path | None) -> None:
        """Raise `BadInput` unless there is a table of past consignments, or the caller says that there is none."""
        if path is not None and self.without_history:
            raise BadInput(
                "a history and no history",
                where="options",
                got="--history and --without-history",
                expected="one of them",
            )
        if path is None and not self.without_history:
            raise self.build_refusal(where="options", got="no --history")

    def build_refusal(self, *, where: str, got: str) -> BadInput:
        """Build the error for scores that would be computed without history."""
        return BadInput(
            "without past consignments every sender looks new, and the scores are other ones",
            where=where,
            got=got,
            expected="--history T with the past consignments",
            todo="or say --without-history if the consignments given are all there is",
        )


class SelectOptions(NamedTuple):
    """How consignments are selected.

    Attributes
    ----------
    capacity : int
        Inspections for each office and UTC day.
    explore : float or None
        Share of the capacity that goes to random inspections, 0 to 1; None if not given.
    width : float or None
        Half-width of the interval of recall that the list is drawn for; None for a list without one.
    days : int or None
        Days over which the estimate of recall is pooled; None for those of the table.
    seed : int
    """

    capacity: int
    explore: float | None
    width: float | None
    days: int | None
    seed: int

    def check(self) -> None:
        """Refuse options that exclude each other."""
        if self.width is not None and self.explore is not None:
            raise BadInput(
                "--width and --explore", expected="one of them: --width decides how many are drawn"
            )
        if self.width is None and self.days is not None:
            raise BadInput("--days without --width", expected="--width W --days N")


class RecallOptions(NamedTuple):
    """Which inspection lists recall is estimated from.

    Attributes
    ----------
    scores, selection, outcomes : Path
    capacity : int
        Inspections for each office and UTC day.
    target : str
    """

    scores: Path
    selection: Path
    outcomes: Path
    capacity: int
    target: Target


@click.command()
@batch_table_options
@collect_options(BatchScoreOptions, "options")
@model_option
@as_of_option
@click.option(
    "--reasons", type=click.IntRange(0, 10), default=0, show_default=True, help="Reasons for each row."
)
@click.option(
    "--without-history",
    is_flag=True,
    help="The consignments given are all there is: score without past ones.",
)
@jobs_option
@result_option
@reject_options
@json_option
def score(tables: TableOptions, options: BatchScoreOptions, out: Path, as_json: bool) -> None:
    """Score a table; the same model and history give the same bits as the service.

    Past consignments come from --history. Without it every sender looks new and the scores are other ones, so the verb
    refuses, unless --without-history says that the consignments given are all there is; the column `history` of the
    result says which (`given`, `none`).

    A Parquet table in the order of time, or of sequence where it has one, is never whole in memory.

    \b
    npsrisk score --consignments new.parquet --history past.parquet --outcomes outcomes.parquet --out scores.csv
    """
    from collections import Counter
    from dataclasses import replace

    from consignments.table_writers import write_chunks
    from features.batch import ComputeOptions
    from models.batch_scoring import ScoreColumns, score_chunks

    options.check_history(tables.history)
    chosen = resolve_model(options.model)
    bundle = open_registry().fetch_bundle(chosen)
    bands: Counter[str] = Counter()

    def count_bands(scores: "pd.DataFrame") -> "pd.DataFrame":
        bands.update(scores["band"])
        return scores

    with show_progress_bar() as progress:
        inputs = TableReader(tables).open_sources(bundle.config.build_record_type(), progress)
        if tables.history is not None and not inputs.has_history:
            raise options.build_refusal(where=str(tables.history), got="a table without rows")
        scored = score_chunks(
            bundle,
            replace(inputs, as_of=parse_timestamp(options.as_of, "--as-of")),
            create_batch_pseudonyms(),
            columns=ScoreColumns(options.reasons, chosen.number),
            options=ComputeOptions(options.jobs or count_cores(), progress),
        )
        rows = write_chunks(map(count_bands, scored), out)
    result = {
        "out": str(out),
        "rows": rows,
        "bands": dict(bands.most_common()),
        "model": chosen.uri,
        "history": "given" if inputs.has_history else "none",
    }
    print_result(
        result,
        as_json,
        f"{rows:,} scores by {chosen.uri}{'' if inputs.has_history else ', without history'} "
        f"({bands['high']} high, {bands['elevated']} elevated) -> {out}",
    )


@click.command()
@collect_options(SelectOptions, "options")
@table_option("--scores", "Score table of `npsrisk score`.", required=True)
@capacity_option
@click.option(
    "--explore",
    type=click.FloatRange(0, 1),
    default=None,
    show_default=str(DEFAULT_EXPLORE_SHARE),
    help="Share of the capacity that goes to random inspections.",
)
@click.option(
    "--width",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="W",
    help="In place of --explore: draw so many that recall at the capacity can be estimated to ±W (95 % interval).",
)
@click.option(
    "--days",
    type=click.IntRange(1),
    metavar="N",
    help="With --width: days like these over which the estimate is pooled; default: the days of the table.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the lots drawn.")
@result_option
@json_option
def select(options: SelectOptions, scores: Path, out: Path, as_json: bool) -> None:
    """Write the inspection list: the highest scores, and a random share with known probabilities.

    With --width the lower scores are drawn by strata, as few as the estimate of recall needs. If the capacity is too small
    for the width, the list is drawn for the width that can be had, and a line says so.

    \b
    npsrisk select --scores scores.csv --capacity 20 --width 0.1 --out list.csv
    """
    from consignments.table_writers import write_table
    from models.selection import build_selection_table

    options.check()
    scored = _read_score_table(scores)
    if options.width is not None:
        _select_to_width(options, scored, out, as_json)
        return
    explore = DEFAULT_EXPLORE_SHARE if options.explore is None else options.explore
    chosen = build_selection_table(scored, capacity=options.capacity, explore=explore, seed=options.seed)
    write_table(chosen, out)
    print_result({"out": str(out), "rows": len(chosen)}, as_json, f"{len(chosen):,} to inspect -> {out}")


def _read_score_table(path: Path) -> "pd.DataFrame":
    """Read a score table, and warn of scores that were computed without history."""
    from consignments.tables import read_scores

    scored = read_scores(path)
    alone = int((scored["history"] == "none").sum())
    if alone:
        click.echo(
            f"{path}: {alone:,} of {len(scored):,} scores were computed without history, "
            "in which every sender looks new",
            err=True,
        )
    return scored


def _select_to_width(options: SelectOptions, scored: "pd.DataFrame", out: Path, as_json: bool) -> None:
    """Write the inspection list from which recall can be known to a width, and say what it costs."""
    from consignments.table_writers import write_table
    from models.stratified_selection import StratifiedRule, build_stratified_table

    assert options.width is not None
    rule = StratifiedRule(options.capacity, options.width, options.days, options.seed)
    chosen, plan = build_stratified_table(scored, rule)
    write_table(chosen, out)
    result = {
        "out": str(out),
        "rows": len(chosen),
        "width": plan.recall.half_width,
        "reached": plan.reached,
        "expected_recall": plan.recall.value,
        "expected_finds": plan.expected_finds,
        "greedy_finds": plan.greedy_finds,
    }
    print_result(result, as_json, f"{len(chosen):,} to inspect -> {out}\n{plan.describe(rule)}")


@click.command()
@table_option("--scores", "Score table from which the lists were drawn.", required=True)
@table_option("--selection", "Selection table of `npsrisk select`.", required=True)
@outcomes_required_option
@capacity_option
@target_option
@json_option
@collect_options(RecallOptions, "options")
def recall(options: RecallOptions, as_json: bool) -> None:
    """Estimate recall at the capacity, with its 95 % interval, from the results of inspection lists.

    \b
    npsrisk recall --scores scores.csv --selection list.csv --outcomes outcomes.csv --capacity 20
    """
    from consignments.records import Outcome
    from consignments.tables import read_scores, read_selection, read_table
    from training.evaluation.drawn_recall import estimate_drawn_recall

    found = estimate_drawn_recall(
        read_scores(options.scores),
        read_selection(options.selection),
        read_table(options.outcomes, Outcome, strict=True).frame,
        capacity=options.capacity,
        target=options.target,
    )
    value, low, high = found.recall
    counts = {"chosen": found.chosen, "results": found.results, "finds": found.finds}
    print_result(
        {"recall": value if found.finds else None, "low": low, "high": high, **counts},
        as_json,
        f"recall at a capacity of {options.capacity}: {value:.1%} ({low:.1%} to {high:.1%}), from {found.finds:,} finds in "
        f"{found.results:,} results of {found.chosen:,} chosen"
        if found.finds
        else f"{found.results:,} results without a find: recall may be anything",
    )
