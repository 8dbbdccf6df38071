"""The verbs of batch scoring: score, select."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.batch import create_batch_pseudonyms
from cli.options import (
    TableOptions,
    batch_table_options,
    build_as_of_option,
    build_exclusion,
    collect_options,
    dask_option,
    jobs_option,
    json_option,
    large_result_option,
    model_option,
    reject_options,
    result_option,
    state_option,
    table_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.results import (
    StateTarget,
    check_continued,
    check_state_options,
    count_values,
    is_part_folder,
    write_result,
)
from cli.stores import load_pseudonyms, open_registry, resolve_model
from cli.table_reader import TableReader
from cli.times import parse_timestamp
from consignments.errors import BadInput
from models.formats import format_count, format_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from features.history.kept_state import StateRun
    from models.bundle import Bundle
    from models.registry import ModelVersion

DEFAULT_EXPLORE_SHARE = 0.05
"""Share of the capacity for random inspections if --explore is not given."""


class BatchScoreOptions(NamedTuple):
    """The options of batch scoring.

    Attributes
    ----------
    model : str or None
        URI; None for the model of the settings.
    as_of : str or None
        Time as entered. Outcomes and alerts that became visible later are ignored.
    reasons : int
        Number of reasons per row.
    jobs : int
        Number of processes.
    without_history : bool
        True if the caller states that there are no other past consignments.
    state : Path or None
        Folder of the kept history.
    dask : str or None
        Address of a Dask cluster.
    """

    model: str | None
    as_of: str | None
    reasons: int
    jobs: int
    without_history: bool
    state: Path | None
    dask: str | None

    def check_history(self, path: Path | None, *, continued: bool = False) -> None:
        """Raise `BadInput` unless history is given, as a table or in a state, or the caller states that there is none."""
        if continued:
            if self.without_history:
                raise build_exclusion(
                    "--without-history, and --state with a state in it",
                    "--without-history only for the first batch",
                )
            return
        if path is not None and self.without_history:
            raise build_exclusion("--history and --without-history")
        if path is None and not self.without_history:
            raise self.build_refusal(where="options", got="no --history")

    def describe_run(self, model: "ModelVersion", bundle: "Bundle") -> dict[str, str]:
        """Describe what the scores depend on besides the tables; see `cli.results.write_result`."""
        return {
            "verb": "score",
            "model": f"{model.uri} {bundle.sha256}",
            "as_of": self.as_of or "none",
            "reasons": str(self.reasons),
        }

    def build_refusal(self, *, where: str, got: str) -> BadInput:
        """Build the error for scoring without history."""
        return BadInput(
            "history is missing; without it every sender looks new and the scores change",
            where=where,
            got=got,
            expected="--history T with the past consignments",
            todo="or add --without-history if no other past consignments exist"
            + ("; the folder of --state has no state yet" if self.state is not None else ""),
        )


class SelectOptions(NamedTuple):
    """The options of selection.

    Attributes
    ----------
    consignments : Path or None
        Consignment table whose goods are added to the list; None for a list without goods.
    capacity : int or None
        Inspections per office and UTC day; None if a plan gives it.
    plan : Path or None
        Plan file of `npsrisk plan`, which gives capacities, exploration share and seed.
    explore : float or None
        Share of the capacity for random inspections, 0 to 1; None if not given.
    seed : int
    """

    consignments: Path | None
    capacity: int | None
    plan: Path | None
    explore: float | None
    seed: int

    def check(self) -> None:
        """Raise `BadInput` if options exclude each other, or neither capacity nor plan is given."""
        given = [
            name
            for name, value in (
                ("--capacity", self.capacity),
                ("--explore", self.explore),
            )
            if value is not None
        ]
        if self.plan is not None and given:
            raise build_exclusion(
                f"--plan and {', '.join(given)}",
                "--plan alone; the plan has capacities and exploration share",
            )
        if self.plan is None and self.capacity is None:
            raise BadInput(
                "no capacity", where="options", got="neither --capacity nor --plan", expected="one of them"
            )


@click.command()
@batch_table_options
@collect_options(BatchScoreOptions, "options")
@model_option
@build_as_of_option("Ignore outcomes and alerts that became visible later. Default: use all.")
@click.option(
    "--reasons",
    type=click.IntRange(0, 10),
    metavar="N",
    default=0,
    show_default=True,
    help="Number of reasons to write per row.",
)
@click.option(
    "--without-history",
    is_flag=True,
    help="Score without a history table. Use it only if no other past consignments exist.",
)
@state_option
@dask_option
@jobs_option
@large_result_option
@reject_options
@json_option
def score(tables: TableOptions, options: BatchScoreOptions, out: Path, as_json: bool) -> None:
    """Score a consignment table.

    With the same model and history, the scores are equal to those of the service, bit for bit.

    Give past consignments with --history. Without them every sender looks new and the scores change. The verb therefore
    fails without --history, unless --without-history is given. The column `history` of the result is `given` or `none`.

    First run "npsrisk train" and "npsrisk promote". Next, run "npsrisk select" on the scores.

    A sorted Parquet table is read in chunks and may be larger than the memory. Sort it by `sequence` if it has this column,
    else by `received_at`. If --out has no suffix, it is a folder of Parquet parts. The same command then continues an
    interrupted run after its last part.

    With --state, a day costs a day: the verb reads the history that the last batch left in a folder, and leaves the history after
    this one. Give --history for the first batch only. The scores equal those with all earlier tables as --history.

    \b
    Examples:
    npsrisk score --consignments new.parquet --history past.parquet --outcomes outcomes.parquet --out scores.csv
    npsrisk score --consignments today.parquet --outcomes new-outcomes.parquet --state state --out scores.parquet
    npsrisk score --consignments year/ --without-history --out scores
    """
    from collections import Counter
    from dataclasses import replace

    import numpy as np

    from features.batch import ComputeOptions
    from features.buckets.coordinator import stream_on_cluster
    from models.batch_scoring import ChunkScorer, ScoreColumns, build_feature_parameters, score_chunks

    check_state_options(options.state, options.as_of)
    if options.state is None:
        options.check_history(tables.history)
    chosen = resolve_model(options.model)
    bundle = open_registry().fetch_bundle(chosen)
    pseudonyms = create_batch_pseudonyms() if options.state is None else load_pseudonyms()
    counter = BandCounter()

    def score_from(first_row: int, state_run: "StateRun | None") -> "Iterator[pd.DataFrame]":
        options.check_history(tables.history, continued=check_continued(state_run, tables.history))
        inputs = TableReader(tables, options.jobs).open_sources(bundle.config.build_record_type(), progress)
        if tables.history is not None and not inputs.has_history:
            raise options.build_refusal(where=str(tables.history), got="a table without rows")
        inputs = replace(inputs, as_of=parse_timestamp(options.as_of, "--as-of"), state_run=state_run)
        columns = ScoreColumns(options.reasons, chosen.number)
        wanted = np.arange(len(inputs.consignments)) >= first_row
        if options.dask is not None:
            parameters = build_feature_parameters(bundle, pseudonyms)
            scorer = ChunkScorer.from_bundle(bundle, inputs, parameters, columns)
            scored = stream_on_cluster(
                options.dask, out, inputs, parameters, scorer, progress=progress, wanted=wanted
            )
        else:
            compute = ComputeOptions(options.jobs, progress)
            scored = score_chunks(bundle, inputs, pseudonyms, columns=columns, options=compute, wanted=wanted)
        return map(counter.count, scored)

    target = None if options.state is None else StateTarget(options.state, bundle.config, pseudonyms)
    with show_progress_bar() as progress:
        done = write_result(out, tables, options.describe_run(chosen, bundle), score_from, target)
    bands = count_values(out, "band") if is_part_folder(out) else counter.bands
    history = "given" if tables.history is not None or done.continued else "none"
    result = {
        "out": str(out),
        "rows": done.rows,
        "bands": dict(Counter(bands).most_common()),
        "model": chosen.uri,
        "history": history,
    }
    print_result(
        result,
        as_json,
        f"Wrote {format_count(done.rows, 'score')} of {chosen.uri}{'' if history == 'given' else ', without history'} "
        f"({format_number(bands.get('high', 0))} high, {format_number(bands.get('elevated', 0))} elevated) -> {out}",
    )


class BandCounter:
    """A counter of bands that passes score tables on."""

    def __init__(self) -> None:
        self.bands: dict[str, int] = {}

    def count(self, scores: "pd.DataFrame") -> "pd.DataFrame":
        """Count the bands of a chunk, and return the chunk."""
        for band, rows in scores["band"].value_counts().items():
            self.bands[str(band)] = self.bands.get(str(band), 0) + int(rows)
        return scores


@click.command()
@collect_options(SelectOptions, "options")
@table_option("--scores", "Score table of `npsrisk score`.", required=True)
@table_option(
    "--consignments",
    "Consignment table. Goods, weight, value and route of each selected one are added to the list.",
)
@click.option(
    "--capacity",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Inspections for each office and UTC day.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Follow a plan of `npsrisk plan` instead: capacity of each office, exploration share and seed.",
)
@click.option(
    "--explore",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    default=None,
    help=f"Share of the capacity for random inspections. Default: {DEFAULT_EXPLORE_SHARE}.",
)
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of the random draws.")
@result_option
@json_option
def select(options: SelectOptions, scores: Path, out: Path, as_json: bool) -> None:
    """Select the consignments to inspect from a score table.

    The list has the highest scores, and a random part of the others. Each row has score, band and the reasons of the score table, and
    goods if you give --consignments. It has no names and addresses. The column `selection_probability` has the probability
    with which each was selected. Training and evaluation use it to correct for the selection.

    First run "npsrisk score". After the inspections, run "npsrisk train" on their outcomes.

    \b
    Examples:
    npsrisk select --scores scores.csv --capacity 20 --consignments new.parquet --out list.csv
    npsrisk select --scores scores.csv --plan plan.json --out list.csv
    """
    from models.selection import build_selection_table

    options.check()
    scored = _read_score_table(scores)
    if options.plan is not None:
        chosen = _select_by_plan(options.plan, scored)
    else:
        assert options.capacity is not None
        explore = DEFAULT_EXPLORE_SHARE if options.explore is None else options.explore
        chosen = build_selection_table(scored, capacity=options.capacity, explore=explore, seed=options.seed)
    _write_list(options, chosen, scored, out)
    print_result(
        {"out": str(out), "rows": len(chosen)},
        as_json,
        f"Selected {format_count(len(chosen), 'consignment')} -> {out}",
    )


def _write_list(options: SelectOptions, chosen: "pd.DataFrame", scored: "pd.DataFrame", out: Path) -> None:
    """Write an inspection list with what an officer needs to find and judge each consignment."""
    from consignments.files.table_writers import write_table
    from consignments.records import Consignment
    from consignments.tables import read_table
    from models.selection import add_work_columns

    goods = None if options.consignments is None else read_table(options.consignments, Consignment).frame
    write_table(add_work_columns(chosen, scored, goods), out)


def _select_by_plan(path: Path, scored: "pd.DataFrame") -> "pd.DataFrame":
    from training.operation.plan import read_plan, select_by_plan

    return select_by_plan(scored, read_plan(path))


def _read_score_table(path: Path) -> "pd.DataFrame":
    """Read a score table; print a warning if scores were computed without history."""
    from consignments.tables import read_scores

    scored = read_scores(path)
    alone = int((scored["history"] == "none").sum())
    if alone:
        click.echo(
            f"{path}: {format_number(alone)} of {format_count(len(scored), 'score')} were computed without history; "
            "for them every sender looks new",
            err=True,
        )
    return scored
