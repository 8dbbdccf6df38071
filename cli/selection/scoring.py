"""The verbs of a batch, which compute a row for each consignment, and of the selection from scores: features, score, select."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options
from cli.batch import BATCH, Batch, BatchWork, build_state_fault
from cli.stores import fetch_bundle, open_registry, resolve_model
from cli.tables import HISTORY_TABLES, GivenTables
from cli.verb import Progress, Result, option, verb
from consignments.errors import BadInput
from consignments.records import Consignment
from models.formats import format_count, format_number

if TYPE_CHECKING:
    from features.streams import FeatureInputs

EXPLORE = 0.05  # share of the capacity for random inspections if --explore is not given


@verb
def features(
    progress: Progress,
    tables: GivenTables = HISTORY_TABLES,
    config: options.TomlFile | None = options.CONFIG,
    model: options.ModelUri | None = option(f"{options.MODEL_TEXT} no model."),
    batch: Batch = BATCH,
) -> Result:
    """Compute the features that the model sees, as a table.

    Writes one row per consignment: `consignment_id`, `sequence` if the table has it, and the features. Without --model,
    features with fitted parameters are omitted. First run "npsrisk simulate", "npsrisk read" or "npsrisk export".

    A sorted Parquet table is read in chunks and may be larger than the memory. Sort it by `sequence` if it has this column,
    else by `received_at`. If --out has no suffix, it is a folder of Parquet parts. The same command then continues an
    interrupted run after its last part.

    \b
    Examples:
    npsrisk features --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out features.parquet
    npsrisk features --consignments year/ --out features
    """
    from features.batch import FeatureParameters
    from features.streams import FeatureChunk
    from models.batch_scoring import build_feature_parameters
    from training.config import read_config

    pseudonyms, digest = batch.load_pseudonyms(), "none"
    if model is None:
        parameters = FeatureParameters(read_config(config).features, pseudonyms=pseudonyms)
    else:
        bundle = fetch_bundle(model)
        parameters, digest = build_feature_parameters(bundle, pseudonyms), bundle.sha256
    spec, columns = parameters.build_pipeline().spec, parameters.config
    shown = [place for place, each in enumerate(spec) if model is not None or not each.fitted]
    run = {"verb": "features", "model": digest, "features": spec.compute_digest(), "config": repr(columns)}
    work = BatchWork(
        tables,
        progress,
        run,
        parameters,
        lambda _: tables.open_sources(columns.build_record_type(), progress),
        lambda _: partial(FeatureChunk.to_table, spec=spec, shown=shown),
    )
    rows = batch.write(work).rows
    values = {"out": str(batch.out), "rows": rows, "features": len(shown)}
    return Result(values, f"Wrote {rows:,} rows of {len(shown)} features -> {batch.out}")


@verb
def score(
    progress: Progress,
    tables: GivenTables = HISTORY_TABLES,
    model: options.ModelUri | None = options.MODEL,
    as_of: datetime | None = option("Ignore outcomes and alerts that became visible later."),
    reasons: int = option("Number of reasons to write per row.", 0, type=click.IntRange(0, 10)),
    without_history: bool = option("Score without history, only if no other past consignments exist."),
    batch: Batch = BATCH,
) -> Result:
    """Score a consignment table.

    With the same model and history, the scores are equal to those of the service, bit for bit.

    Give past consignments with --history. Without them every sender looks new and the scores change. The verb therefore
    fails without --history, unless --without-history is given. The column `history` of the result is `given` or `none`.
    First run "npsrisk train" and "npsrisk promote". Next, run "npsrisk select" on the scores.

    Large tables and interrupted runs: see "npsrisk features --help". With --state, a day costs a day: the verb reads the history
    that the last batch left in a folder, and leaves the history after this one. Give --history for the first batch only. The
    scores equal those with all earlier tables as --history.

    \b
    Examples:
    npsrisk score --consignments new.parquet --history past.parquet --outcomes outcomes.parquet --out scores.csv
    npsrisk score --consignments today.parquet --outcomes new-outcomes.parquet --state state --out scores.parquet
    npsrisk score --consignments year/ --without-history --out scores
    """
    import pandas as pd

    from models.batch_scoring import ChunkScorer, ScoreColumns, build_feature_parameters

    has_history = without_history or tables.history is not None
    if as_of is not None and batch.state is not None:  # what is hidden now would be missing in the next batch
        options.require_one("npsrisk score", state=batch.state, as_of=as_of)
    if without_history and tables.history is not None:
        options.require_one("npsrisk score", history=tables.history, without_history=True)
    if batch.state is None and not has_history:
        raise _build_refusal("options", "no --history")
    chosen = resolve_model(model)
    bundle = open_registry().fetch_bundle(chosen)

    def open_inputs(continued: bool) -> "FeatureInputs":
        if continued and without_history:
            raise build_state_fault("--without-history")
        if not continued and not has_history:
            raise _build_refusal("options", "no --history, and the folder of --state has no state yet")
        inputs = tables.open_sources(bundle.config.build_record_type(), progress)
        if tables.history is not None and not inputs.has_history:
            raise _build_refusal(str(tables.history), "a table without rows")
        return inputs if as_of is None else replace(inputs, as_of=pd.Timestamp(as_of).tz_convert("UTC"))

    parameters = build_feature_parameters(bundle, batch.load_pseudonyms())
    columns = ScoreColumns(reasons, chosen.number)
    model_name, time = f"{chosen.uri} {bundle.sha256}", str(as_of or "none")
    work = BatchWork(
        tables,
        progress,
        {"verb": "score", "model": model_name, "as_of": time, "reasons": str(reasons)},
        parameters,
        open_inputs,
        lambda inputs: ChunkScorer.from_bundle(bundle, inputs, parameters, columns),
        counted="band",
    )
    done = batch.write(work)
    history = "given" if tables.history is not None or done.continued else "none"
    alone = "" if history == "given" else ", with the history of the given table alone"
    bands, out = dict(done.counts.most_common()), batch.out
    high, elevated = (format_number(bands.get(band, 0)) for band in ("high", "elevated"))
    values = {"out": str(out), "rows": done.rows, "bands": bands, "model": chosen.uri, "history": history}
    text = f"Wrote {format_count(done.rows, 'score')} of {chosen.uri}{alone} ({high} high, {elevated} elevated) -> {out}"
    return Result(values, text)


def _build_refusal(where: str, got: str) -> BadInput:
    """Build the error for scoring without history."""
    return BadInput(
        "history is missing; without it every sender looks new and the scores change",
        where=where,
        got=got,
        expected="--history T with the past consignments",
        todo="or add --without-history if no other past consignments exist",
    )


@verb
def select(
    scores: options.Table = option("Score table of `npsrisk score`."),
    consignments: options.Table | None = option("Consignment table, whose goods and route the list has too."),
    capacity: options.Count | None = option("Inspections for each office and UTC day."),
    plan: Path | None = option("Plan of `npsrisk plan`, with capacities, exploration share and seed."),
    explore: options.Share | None = option(f"Share of random inspections. Default: {EXPLORE}."),
    seed: int = options.SEED,
    out: options.NewTable = options.OUT,
) -> Result:
    """Select the consignments to inspect from a score table.

    The list has the highest scores, and a random part of the others. Each row has score, band and reasons, and goods if you give
    --consignments, but no names and addresses. `selection_probability` is the probability with which each was selected. Training
    and evaluation use it to correct for the selection.
    First run "npsrisk score". After the inspections, run "npsrisk train" on their outcomes.

    \b
    Examples:
    npsrisk select --scores scores.csv --capacity 20 --consignments new.parquet --out list.csv
    npsrisk select --scores scores.csv --plan plan.json --out list.csv
    """
    from consignments.files.table_writers import write_table
    from consignments.tables import read_scores, read_table
    from models.batch_scoring import add_work_columns, build_selection_table
    from operation.documents.plan import read_plan, select_by_plan

    scored = read_scores(scores)
    alone = int((scored["history"] == "none").sum())
    note = (
        f"{scores}: {format_number(alone)} of {format_count(len(scored), 'score')} were computed without past consignments; "
        "senders that the table does not have before look new"
    )
    options.require_one("npsrisk select", capacity=capacity, plan=plan)
    if explore is not None:  # a plan has its own share
        options.require_one("npsrisk select", explore=explore, plan=plan)
    if plan is not None:
        chosen = select_by_plan(scored, read_plan(plan))
    else:
        assert capacity is not None
        share = EXPLORE if explore is None else explore
        chosen = build_selection_table(scored, capacity=capacity, explore=share, seed=seed)
    goods = None if consignments is None else read_table(consignments, Consignment).frame
    write_table(add_work_columns(chosen, scored, goods), out)
    text = f"Selected {format_count(len(chosen), 'consignment')} -> {out}"
    return Result({"out": str(out), "rows": len(chosen)}, text, notes=(note,) if alone else ())
