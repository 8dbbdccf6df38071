"""The verbs of the running service: publish, shadow, serve, doctor."""

import gc
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
    host: str = option("Address. Any but loopback needs API keys.", "127.0.0.1", metavar="ADDRESS"),
    port: int = option("Port; 0 for any free one.", 8080, type=click.IntRange(0, 65535), metavar="PORT"),
    accept_clock: bool = option("Start although the clock is far from the end of the log: it is right."),
    accept_loss: bool = option("Start although the log lacks entries that a snapshot has: they are lost."),
) -> None:
    """Run the HTTP service with the published model.

    The pages for officers are at /, unless NPSRISK_DESK is false. The page at /interface lists the calls, and /openapi.json
    describes them. All settings are environment variables (docs/settings.md). With NPSRISK_STANDBY, a second service on one log
    in PostgreSQL waits until the first one has ended, and then starts. Stop the service with SIGTERM or Ctrl-C.
    First run "npsrisk publish", and "npsrisk import" for past consignments.

    \b
    Example:
    npsrisk serve --port 8080
    """
    with pause_garbage_collection():
        from serving.http.server import serve as run
        from serving.messages.scoring import accept_messages
        from serving.process.clock import read_elapsed_us

        gc.freeze()  # modules stay, so garbage collection need not scan them

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
    shadow: ModelUri | None = option("Model to place in shadow. Default: NPSRISK_SHADOW_MODEL."),
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
    model: str | None = option("Published model to report on instead.", metavar="NAME/VERSION"),
) -> Result:
    """Report how the shadow model differs from the champion.

    The shadow model scores the decisions of the log from their logged fields, as if it had decided. History is recomputed from
    the first entry, as by "npsrisk parity", and the service may keep running. The report compares both on the same consignments: bands,
    highest scores, and results of inspections. The champion selected most inspections, so these results favour it: for a fair
    comparison, use "npsrisk compare", which corrects for the selection. First run "npsrisk publish --shadow URI".

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


@verb
def doctor() -> Result:
    """Check an installation, and say how to correct each fault.

    Changes nothing, and the service may keep running. Run it as the user of the service, with its settings. Exit code 0 if
    everything is right, 1 if anything is wrong, 2 if a setting is invalid.

    \b
    Example:
    npsrisk doctor
    """
    from cli.service.installation import examine

    results = list(examine(read_settings()))
    wrong = sum(not each.ok for each in results)
    last = f"{wrong} of {len(results)} checks failed." if wrong else "Everything is right."
    values = {"ok": not wrong, "checks": [each._asdict() for each in results]}
    return Result(values, "\n".join([*map(str, results), last]), failed=bool(wrong))
