"""The verb that computes features as a table: features."""

from functools import partial
from pathlib import Path

from cli import options
from cli.batch import BATCH, Batch, BatchWork
from cli.stores import create_batch_pseudonyms, fetch_bundle
from cli.tables import HISTORY_TABLES, GivenTables
from cli.verb import Progress, Result, verb


@verb
def features(
    progress: Progress,
    tables: GivenTables = HISTORY_TABLES,
    config: Path | None = options.CONFIG,
    model: str | None = options.model_option("no model"),
    batch: Batch = BATCH,
) -> Result:
    """Compute the features that the model sees, as a table.

    Writes one row per consignment: `consignment_id`, `sequence` if the table has it, and the features. Without --model,
    features with fitted parameters are omitted.

    First run "npsrisk simulate", "npsrisk read" or "npsrisk export". A sorted Parquet table is read in chunks and may be
    larger than the memory. Sort it by `sequence` if it has this column, else by `received_at`. If --out has no suffix, it is
    a folder of Parquet parts. The same command then continues an interrupted run after its last part.

    \b
    Examples:
    npsrisk features --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out features.parquet
    npsrisk features --consignments year/ --out features
    """

    from features.batch import FeatureParameters
    from features.fitted import FittedParameters
    from features.pipeline import Pipeline
    from features.streams import FeatureChunk
    from training.config import read_config

    digest = "none"
    if model is None:
        feature_config, fitted = read_config(config).features, FittedParameters.create_empty()
    else:
        bundle = fetch_bundle(model)
        feature_config, fitted = bundle.config, FittedParameters.from_plain(bundle.fitted, bundle.arrays)
        digest = bundle.sha256
    spec = Pipeline(feature_config, fitted, create_batch_pseudonyms()).spec
    shown = [place for place, each in enumerate(spec) if model is not None or not each.fitted]
    work = BatchWork(
        tables,
        progress,
        {
            "verb": "features",
            "model": digest,
            "features": spec.compute_digest(),
            "config": repr(feature_config),
        },
        FeatureParameters(feature_config, fitted, batch.load_pseudonyms()),
        lambda _: tables.open_sources(feature_config.build_record_type(), progress, batch.jobs),
        lambda _: partial(FeatureChunk.to_table, spec=spec, shown=shown),
    )
    rows = batch.write(work).rows
    values = {"out": str(batch.out), "rows": rows, "features": len(shown)}
    return Result(values, f"Wrote {rows:,} rows of {len(shown)} features -> {batch.out}")
