"""The verb that writes the dossier of a model version."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import TARGET, out_option
from cli.stores import open_registry, read_settings
from cli.verb import Result, argument, option, verb
from consignments.records import Target

if TYPE_CHECKING:
    from serving.process.settings import Settings
    from training.dossier.tables import ServiceSetting

SHOWN_SETTINGS = (
    "NPSRISK_WITHOUT_MODEL",
    "NPSRISK_SHADOW_MODEL",
    "NPSRISK_MAX_CONNECTIONS",
    "NPSRISK_MAX_BODY_BYTES",
    "NPSRISK_RATE_LIMIT",
    "NPSRISK_MAX_HISTORY_KEYS",
)
"""Settings that the document shows with their values."""
PRESENT_SETTINGS = ("NPSRISK_API_KEYS_FILE", "NPSRISK_TLS_CERT_FILE")
"""Settings of which the document shows only if they are set, since paths concern nobody else."""


@verb
def dossier(
    version: str = argument(),
    out: Path = out_option(
        "Page to write. The JSON is written next to it as FILE.json.", metavar="FILE.html"
    ),
    answers: Path | None = option(
        "Texts that persons add: a table [answers] with a text for each key of a field.", metavar="FILE.toml"
    ),
    date: datetime | None = option("Date of the document. Default: today (UTC).", metavar="DATE"),
    target: Target = TARGET,
) -> Result:
    """Write the document that a public body must hold on a model.

    VERSION is a number, an alias or models:/NAME/VERSION. The document has what four forms ask for: Annex IV of the EU AI Act,
    Canada's Algorithmic Impact Assessment, the UK's ATRS record, and a model card. It contains what is known of the
    version: data, features, results, groups, the gate, approvals, limits of drift. Each field cites the sections that it
    answers.

    What is not known is marked with the role that must fill it. Add these texts with --answers.

    Run "npsrisk promote" before, so that the approval is in the document. Writes a page and its JSON. Replaces the texts on the
    version in MLflow by those of the product. The document contains no data of consignments.

    \b
    Examples:
    npsrisk dossier champion --out dossier.html
    npsrisk dossier 2 --answers answers.toml --out dossier.html
    """
    from models.signatures.key_holders import Approvers
    from training.dossier.dossier import build_dossier, read_answers, write_dossier
    from training.dossier.tables import gather_dossier_evidence
    from training.runs.registered_run import write_review

    settings, registry = read_settings(), open_registry()
    given = {} if answers is None else read_answers(answers)
    found = registry.resolve(version, target=target)
    approvers = Approvers.read(settings.approvers_file)
    evidence = gather_dossier_evidence(registry, found, approvers, list_service_settings(settings))
    made = build_dossier(evidence, (date or datetime.now(UTC)).date(), given)
    page, data = write_dossier(made, out)
    write_review(registry, found, evidence.gate)
    fields, waiting = made["fields"], made["to_be_filled"]
    counts = "{complete} fields are complete, {partly} are partly known, {open} are empty".format(**fields)
    lines = [
        f"{evidence.version.uri}: {counts}",
        *(f"to be filled by the {role}: {', '.join(keys)}" for role, keys in waiting.items()),
        f"-> {page}, {data}",
    ]
    result = {"out": str(page), "json": str(data), "version": made["version"], "fields": fields}
    return Result(result | {"to_be_filled": waiting}, "\n".join(lines))


def list_service_settings(settings: "Settings") -> "list[ServiceSetting]":
    """List the settings of the service that matter to a reader, without addresses, paths and secrets."""
    from training.dossier.tables import ServiceSetting

    fields = {str(field.alias): (name, field) for name, field in type(settings).model_fields.items()}
    found = []
    for variable in (*SHOWN_SETTINGS, *PRESENT_SETTINGS):
        name, field = fields[variable]
        value = getattr(settings, name)
        text = "none" if value is None else "set" if variable in PRESENT_SETTINGS else str(value)
        found.append(ServiceSetting(variable, text, field.description or ""))
    kind = settings.database_url.partition(":")[0].partition("+")[0]
    found.append(ServiceSetting("event log", kind, "Kind of the database of the event log."))
    return found
