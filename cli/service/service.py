"""The verbs of the running service: publish, shadow, serve."""

from datetime import datetime
from typing import Any

import click

from cli.options import FROM, MODEL, UNTIL, ModelUri
from cli.stores import install_operation_keys, open_log, open_registry, read_settings
from cli.tables import to_bound_us
from cli.verb import Progress, Result, option, verb
from consignments.workers import pause_garbage_collection


@verb
def serve(
    host: str = option(
        "Address to listen on. Any address but loopback needs API keys.", "127.0.0.1", metavar="ADDRESS"
    ),
    port: int = option(
        "Port to listen on; 0 for any free port.", 8080, type=click.IntRange(0, 65535), metavar="PORT"
    ),
    accept_clock: bool = option(
        "Start although the system clock is more than 7 days after the last entry of the log, or an hour before it: its time is right."
    ),
    accept_loss: bool = option(
        "Start although the log lacks entries that a snapshot has: they are lost. Restore the newest copy of the log instead, if there is one."
    ),
) -> None:
    """Run the HTTP service with the published model.

    The pages for officers are at /, unless NPSRISK_DESK is false. The page at /interface lists the calls, and /openapi.json
    describes them. All settings are environment variables (docs/settings.md). With NPSRISK_STANDBY, a second service on one log
    in PostgreSQL waits until the first one has ended, and then starts.

    First run "npsrisk publish", and "npsrisk import" for past consignments. Stop the service with SIGTERM or Ctrl-C. Writes the
    event log and the state directory. Exit code 2 if a setting, the state directory or the log cannot be used.

    \b
    Example:
    npsrisk serve --port 8080
    """
    with pause_garbage_collection():
        from serving.http.server import serve as run
        from serving.messages.scoring import accept_messages
        from serving.process.clock import read_elapsed_us

    settings = read_settings()
    further: list[Any] = [accept_messages]
    if settings.desk:
        from operation.desk.routes import list_page_routes

        further.append(list_page_routes)
    run(
        host,
        port,
        settings,
        elapsed=read_elapsed_us,
        further=further,
        accept_clock=accept_clock,
        accept_loss=accept_loss,
    )


@verb
def publish(
    model: ModelUri | None = MODEL,
    shadow: ModelUri | None = option(
        "Model to place in shadow: npsrisk shadow reports what it would have answered. Default: NPSRISK_SHADOW_MODEL."
    ),
) -> Result:
    """Publish a promoted model to the service.

    Fetches the model from MLflow, verifies its bundle and its promotion record, and writes it to the state directory. A
    running service loads it without a restart. A shadow model (--shadow or NPSRISK_SHADOW_MODEL) is published too. It needs no
    promotion, and the result says if it has none. Without one the earlier shadow model is removed.

    First run "npsrisk promote". Next, run "npsrisk import" and "npsrisk serve". Exit code 2 if the model is refused: the
    model that was published earlier stays in use.

    \b
    Examples:
    npsrisk publish
    npsrisk publish --shadow models:/nps-risk@challenger
    """
    from serving.deployment.publisher import publish as run
    from serving.deployment.publisher import publish_shadow

    settings, registry = read_settings(), open_registry()
    release = run(registry, settings.model if model is None else model, settings)
    text = f"Published {release['name']} version {release['version']} -> {release['folder']}"
    wanted = settings.shadow_model if shadow is None else shadow
    challenger = publish_shadow(registry, wanted, settings)
    if challenger is not None:
        approved = "" if challenger["approved"] else " (not promoted)"
        text += f"\nShadow model: {challenger['name']} version {challenger['version']}{approved}"
    elif wanted is not None:
        text += f"\nNo shadow model: {wanted} does not exist, or is the published model"
    return Result(release | {"shadow": challenger}, text)


@verb
def shadow(
    progress: Progress,
    from_: datetime | None = FROM,
    until: datetime | None = UNTIL,
    model: str | None = option(
        "Published model to report on instead of the shadow model.", metavar="NAME/VERSION"
    ),
) -> Result:
    """Report how the shadow model differs from the champion.

    The shadow model scores the decisions of the log from their logged fields, as if it had decided. History is recomputed from
    the first entry, as by "npsrisk parity", and the service may keep running. The report compares both on the same consignments: bands,
    highest scores, and results of inspections. The champion selected most inspections, so these results favour it: for a fair
    comparison, use "npsrisk compare", which corrects for the selection.

    First run "npsrisk publish --shadow URI". This needs the data key. Changes nothing.

    \b
    Example:
    npsrisk shadow --from 2024-03-01
    """
    from serving.maintenance.recomputation import DecisionFilter
    from serving.shadow.challenger import Challenger
    from serving.shadow.report import measure_disagreement

    period = DecisionFilter(to_bound_us(from_), to_bound_us(until))
    install_operation_keys()
    with open_log() as log:
        rival = Challenger.load(read_settings(), log, model)
        opinions = [*rival.score_decisions(period, progress)]
        found = measure_disagreement(log, rival.name, rival.target, rival.tally, opinions)
    return Result(found.to_dict(), found.to_text())
