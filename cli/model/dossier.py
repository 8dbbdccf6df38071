"""The verb that writes the dossier of a model version."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import json_option, out_option, target_option
from cli.output import print_result
from cli.stores import open_registry, read_settings
from consignments.records import Target

if TYPE_CHECKING:
    from serving.process.settings import Settings
    from training.dossier.evidence import ServiceSetting

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


@click.command()
@click.argument("version")
@out_option("Page to write. The JSON is written next to it as FILE.json.", metavar="FILE.html")
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Texts that persons add: a table [answers] with a text for each key of a field.",
)
@click.option(
    "--date",
    "created",
    type=click.DateTime(formats=["%Y-%m-%d"]),
    default=None,
    metavar="DATE",
    help="Date of the document. Default: today (UTC).",
)
@target_option
@json_option
def dossier(
    version: str, out: Path, answers: Path | None, created: datetime | None, target: Target, as_json: bool
) -> None:
    """Write the document that a public body must hold on a model.

    VERSION is a number, an alias or models:/NAME/VERSION. The document has what four forms ask for: Annex IV of the EU AI Act,
    Canada's Algorithmic Impact Assessment, the UK's ATRS record, and a model card. It contains what is known of the
    version: data, features, results, groups, the gate, approvals, limits of drift. Each field cites the sections that it
    answers.

    What is not known is marked with the role that must fill it. Add these texts with --answers.

    Run "npsrisk promote" before, so that the approval is in the document. Writes a page and its JSON, and changes
    nothing else. It contains no data of consignments.

    \b
    Examples:
    npsrisk dossier champion --out dossier.html
    npsrisk dossier 2 --answers answers.toml --out dossier.html
    """
    from models.signatures.key_holders import Approvers
    from training.dossier.dossier import build_dossier, read_answers, write_dossier
    from training.dossier.evidence import gather_dossier_evidence

    settings, registry = read_settings(), open_registry()
    given = {} if answers is None else read_answers(answers)
    evidence = gather_dossier_evidence(
        registry,
        registry.resolve(version, target=target),
        Approvers.read(settings.approvers_file),
        list_service_settings(settings),
    )
    day = (created or datetime.now(UTC)).date()
    made = build_dossier(evidence, day, given)
    page, data = write_dossier(made, out)
    waiting = made["to_be_filled"]
    result = {"out": str(page), "json": str(data), "version": made["version"], "fields": made["fields"]}
    counts = "{complete} fields are complete, {partly} are partly known, {open} are empty".format(
        **made["fields"]
    )
    lines = [f"{evidence.version.uri}: {counts}"]
    lines += [f"to be filled by the {role}: {', '.join(keys)}" for role, keys in waiting.items()]
    print_result(result | {"to_be_filled": waiting}, as_json, "\n".join([*lines, f"-> {page}, {data}"]))


def list_service_settings(settings: "Settings") -> "list[ServiceSetting]":
    """List the settings of the service that matter to a reader, without addresses, paths and secrets."""
    from training.dossier.evidence import ServiceSetting

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
