"""The verbs that write a page on a model: its dossier, and the drift of traffic from its reference."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.model.keys import read_approvers
from cli.options import MODEL, TARGET, ModelUri, NewPage, Table, TomlFile
from cli.stores import open_registry, read_settings, resolve_model
from cli.tables import HISTORY_TABLES, GivenTables
from cli.verb import Progress, Result, argument, option, verb
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from consignments.records import Target

if TYPE_CHECKING:
    from serving.process.settings import Settings
    from training.dossier.tables import ServiceSetting

SHOWN_SETTINGS = (
    "without_model",
    "shadow_model",
    "max_connections",
    "max_body_bytes",
    "rate_limit",
    "max_history_keys",
)
"""Settings that the document shows with their values."""
PRESENT_SETTINGS = ("api_keys_file", "tls_cert_file")
"""Settings of which the document shows only if they are set, since paths concern nobody else."""


@verb
def dossier(
    version: str = argument(),
    out: NewPage = option("Page to write. The JSON is written next to it as FILE.json."),
    answers: TomlFile | None = option("Texts that persons add: a table [answers] with a text for each key."),
    date: datetime | None = option("Date of the document. Default: today (UTC).", metavar="DATE"),
    target: Target = TARGET,
) -> Result:
    """Write the document that a public body must hold on a model.

    VERSION is a number, an alias or models:/NAME/VERSION. The document has what four forms ask for: Annex IV of the EU AI Act,
    Canada's Algorithmic Impact Assessment, the UK's ATRS record, and a model card. It contains what is known of the
    version: data, features, results, groups, the gate, approvals, limits of drift, and no data of consignments. Each field
    cites the sections that it answers. What is not known is marked with the role that must fill it, with --answers.

    Run "npsrisk promote" before, so that the approval is in the document. Changes nothing in MLflow.

    \b
    Examples:
    npsrisk dossier champion --out dossier.html
    npsrisk dossier 2 --answers answers.toml --out dossier.html
    """
    from training.dossier.dossier import build_dossier, read_answers, write_dossier
    from training.dossier.tables import gather_dossier_evidence

    settings, registry = read_settings(), open_registry()
    given = {} if answers is None else read_answers(answers)
    found = registry.resolve(version, target=target)
    evidence = gather_dossier_evidence(registry, found, read_approvers(), list_service_settings(settings))
    made = build_dossier(evidence, (date or datetime.now(UTC)).date(), given)
    page, data = write_dossier(made, out)
    fields, waiting = made["fields"], made["to_be_filled"]
    counts = "{complete} fields are complete, {partly} are partly known, {open} are empty".format(**fields)
    lines = [f"to be filled by the {role}: {', '.join(keys)}" for role, keys in waiting.items()]
    values = {"out": str(page), "json": str(data), "version": made["version"], "fields": fields}
    text = "\n".join([f"{evidence.version.uri}: {counts}", *lines, f"-> {page}, {data}"])
    return Result(values | {"to_be_filled": waiting}, text)


def list_service_settings(settings: "Settings") -> "list[ServiceSetting]":
    """List the settings of the service that matter to a reader, without addresses, paths and secrets."""
    from training.dossier.tables import ServiceSetting

    found = []
    for name in (*SHOWN_SETTINGS, *PRESENT_SETTINGS):
        value, field = getattr(settings, name), type(settings).model_fields[name]
        text = "none" if value is None else "set" if name in PRESENT_SETTINGS else str(value)
        found.append(ServiceSetting(str(field.alias), text, field.description or ""))
    kind = settings.database_url.partition(":")[0].partition("+")[0]
    found.append(ServiceSetting("event log", kind, "Kind of the database of the event log."))
    return found


@verb
def drift(
    progress: Progress,
    tables: GivenTables = HISTORY_TABLES,
    model: ModelUri | None = MODEL,
    reference: Table | None = option("Consignment table to compare with. Default: the profile of the model."),
    from_: datetime | None = option("Check arrivals from this time on; earlier ones are history."),
    until: datetime | None = option("Check arrivals before this time. Default: up to the last arrival."),
    out: NewPage = option("Report page to write."),
) -> Result:
    """Check recent traffic for drift from the model's reference.

    The reference is the profile of its test period. The verb needs no labels. It checks scores, features, codes, new senders,
    missing values, units, and sources without data.

    The verdict is `stable`, `retrain` (run "npsrisk train"), `investigate data` (check the data source) or `insufficient data`
    (the notes say how much traffic is needed), with reasons.

    Writes the report page and logs a run in MLflow. Exit code 0 with every verdict.

    \b
    Example:
    npsrisk drift --consignments week.parquet --history past.parquet --outcomes outcomes.parquet --out drift.html
    """
    from training.data.splits import ArrivalWindow
    from training.monitoring.drift import MonitoredTraffic, detect_drift
    from training.monitoring.drift_report import build_drift_record, render_drift, summarize_drift
    from training.reporting.mlflow_tracking import log_run

    chosen = resolve_model(model)
    bundle = open_registry().fetch_bundle(chosen)
    record = bundle.config.build_record_type()
    traffic = MonitoredTraffic(
        tables.open_sources(record, progress),
        reference=tables.open_source(reference, record, progress),
        window=ArrivalWindow(from_, until),
    )
    found = detect_drift(bundle, traffic, progress=progress)
    page = render_drift(found, f"{chosen.name}, {chosen.title}")
    replace_file(out, page.encode(), PUBLIC_MODE)
    logged, store = build_drift_record(found, page, chosen), read_settings().mlflow_tracking_uri
    run_id = log_run(logged, tracking_uri=store)
    values = {"out": str(out), "run_id": run_id, "metrics": found.flatten_metrics()}
    values |= {name: getattr(found, name) for name in ("verdict", "reasons", "notes")}
    return Result(values, f"{summarize_drift(found)}\n-> {out}, run {run_id}")
