"""The verbs of the running service: publish, shadow, serve."""

import click

from cli.options import PeriodOptions, json_option, model_option, period_options
from cli.output import print_result
from cli.stores import open_registry, read_settings


@click.command()
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
    from serving.http.server import serve as run

    run(host, port, read_settings())


@click.command()
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

    settings, registry = read_settings(), open_registry()
    release = run(registry, settings.model if model is None else model, settings)
    text = f"published {release['name']} version {release['version']} -> {release['folder']}"
    wanted = settings.shadow_model if shadow is None else shadow
    challenger = publish_shadow(registry, wanted, settings)
    if challenger is not None:
        approved = "" if challenger["approved"] else ", which nobody approved"
        text += f"\nin shadow: {challenger['name']} version {challenger['version']}{approved}"
    elif wanted is not None:
        text += f"\nnothing in shadow: {wanted} is not there, or decides already"
    print_result(release | {"shadow": challenger}, as_json, text)


@click.command()
@period_options("Only decisions made from then on.", "Only decisions made before.")
@click.option("--model", default=None, metavar="NAME/VERSION", help="The challenger; default: the latest.")
@json_option
def shadow(period: PeriodOptions, model: str | None, as_json: bool) -> None:
    """Report where a challenger in shadow disagrees with what was answered.

    With NPSRISK_SHADOW_MODEL set, as to models:/nps-risk@challenger, npsrisk publish places it, and the service lets it score
    the same traffic for its own log. Example: npsrisk shadow --from 2024-03-01
    """
    from serving.event_log.reader import LogReader
    from serving.shadow.report import MAX_TIME_US, measure_disagreement
    from serving.shadow.store import ShadowLog

    settings = read_settings()
    from_us, until_us = period.to_us()
    with (
        LogReader.open_to_read(settings.database_url) as log,
        ShadowLog(settings.state_dir, log.log_id) as shadow_log,
    ):
        found = measure_disagreement(
            log, shadow_log, model, from_us or 0, MAX_TIME_US if until_us is None else until_us
        )
    print_result(found.to_dict(), as_json, found.to_text())
