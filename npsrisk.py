"""The command line of npsrisk. It lists the verbs and loads only the file of the verb that is called.

The exit code is 0 on success. It is 1 if a check fails, and 2 if the verb cannot do its task, with one line on standard error. With
`--json` the last line of standard output is one JSON object.
"""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from consignments import refuse_hidden_packages
from consignments.errors import NpsriskError

FUNCTIONS = {
    "columns": "cli.reference.verbs:columns",
    "config": "cli.reference.verbs:config",
    "simulate": "cli.data.simulation:simulate",
    "read": "cli.data.tables:read",
    "features": "cli.data.tables:features",
    "trace": "cli.data.trace:trace",
    "train": "cli.model.training:train",
    "compare": "cli.model.promotion:compare",
    "drift": "cli.model.monitoring:drift",
    "gate": "cli.model.promotion:gate",
    "keys": "cli.model.keys:keys",
    "promote": "cli.model.promotion:promote",
    "dossier": "cli.model.dossier:dossier",
    "score": "cli.selection.scoring:score",
    "select": "cli.selection.scoring:select",
    "replay": "cli.selection.replay:replay",
    "brief": "cli.operation.brief:brief",
    "plan": "cli.operation.plan:plan",
    "debrief": "cli.operation.debrief:debrief",
    "exchange": "cli.operation.exchange:exchange",
    "hunt": "cli.operation.hunt:hunt",
    "serve": "cli.service.service:serve",
    "publish": "cli.service.service:publish",
    "shadow": "cli.service.service:shadow",
    "doctor": "cli.service.doctor:doctor",
    "data-key": "cli.service.data_key:data_key",
    "import": "cli.service.event_log:import_",
    "export": "cli.service.event_log:export",
    "parity": "cli.service.event_log:parity",
    "forget": "cli.service.event_log:forget",
    "backup": "cli.service.backup:backup",
    "restore": "cli.service.backup:restore",
    "verify-log": "cli.service.event_log:verify_log",
}
"""The function of each verb, in the order in which the verbs are used."""
SECTIONS = {
    "reference": "Reference",
    "data": "Data",
    "model": "Models",
    "selection": "Scores and selection",
    "operation": "Operation",
    "service": "Service and its log",
}
"""Headings of the list of verbs in the help, by the folder of `cli/` that has them."""

VERB_KEY = "npsrisk.verb"
EXTRAS = {
    "train": (
        *(
            "currency_converter",
            "jinja2",
            "joblib",
            "lightgbm",
            "matplotlib",
            "mlflow",
            "optuna",
            "pycountry",
        ),
        *("scipy", "sklearn", "threadpoolctl"),
    ),
    "serve": (
        *(
            "httptools",
            "jinja2",
            "prometheus_client",
            "sqlalchemy",
            "starlette",
            "structlog",
            "uvicorn",
        ),
        "uvloop",
    ),
    "postgres": ("psycopg",),
}
"""Extras of the package, and the modules that each one installs."""


class LazyVerbs(Mapping[str, click.Command]):
    """A mapping from names of verbs to commands. It imports the file of a verb when the verb is looked up."""

    def __getitem__(self, verb: str) -> click.Command:
        module, _, function = FUNCTIONS[verb].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(FUNCTIONS)

    def __len__(self) -> int:
        return len(FUNCTIONS)


class VerbGroup(click.Group):
    """A click group that reports an error of npsrisk in one line and ends with exit code 2."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """List the verbs in the order in which they are used."""
        return list(self.commands)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs under the headings of `SECTIONS`."""
        limit = formatter.width - 6 - max(map(len, FUNCTIONS))
        for folder, heading in SECTIONS.items():
            verbs = [verb for verb, function in FUNCTIONS.items() if function.split(".")[1] == folder]
            with formatter.section(heading):
                formatter.write_dl([(verb, self.commands[verb].get_short_help_str(limit)) for verb in verbs])

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that is called, whose file is loaded here, and keep its name for errors."""
        context.meta[VERB_KEY] = words[0]
        return super().resolve_command(context, words)

    def invoke(self, context: click.Context) -> Any:
        """Run the verb that is called."""
        try:
            return super().invoke(context)
        except NpsriskError as error:
            click.echo(f"npsrisk {context.meta.get(VERB_KEY, '')}: {error}", err=True)
            context.exit(2)
        except ModuleNotFoundError as error:
            extra = find_extra(error.name or "")
            if extra is None:
                raise
            click.echo(
                f"npsrisk {context.meta.get(VERB_KEY, '')}: the package {(error.name or '').partition('.')[0]} is not installed; "
                f"install npsrisk with the extra [{extra}], from the wheel of your release: pip install 'npsrisk-VERSION.whl[{extra}]'",
                err=True,
            )
            context.exit(2)


def find_extra(module: str) -> str | None:
    """Find the extra that installs a module; return None if no extra does.

    Examples
    --------
    >>> find_extra("scipy.stats"), find_extra("pandas")
    ('train', None)
    """
    top = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def _load_pyfunc(data_path: str, model_config: dict[str, Any] | None = None) -> Any:
    """Load the registered model; called by MLflow."""
    refuse_hidden_packages("features", "models")
    return import_module("models.mlflow_model.scoring_model").load_scoring_model(data_path, model_config)


@click.group(
    cls=VerbGroup,
    commands=LazyVerbs(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="npsrisk")
def main() -> None:
    """Score postal items and air-cargo consignments for new psychoactive substances (NPS).

    The verbs form a loop. Train a model on past inspections, compare it with the current model, and promote it.
    Score new consignments and select those to inspect. Add the results to the outcome table, and train again.

    A table (T) is a CSV file (.csv), a Parquet file or directory (.parquet) or a JSON Lines file (.jsonl).
    Run "npsrisk VERB --help" for options and an example.

    \b
    Exit codes: 0 success; 1 a check failed (gate, parity, verify-log, doctor); 2 the verb could not do its task.

    \b
    First steps, with simulated data:
    npsrisk simulate --out world
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --register
    """
    import_module("cli.kernel_cache").prepare_kernel_cache()
    # MLflow's own progress bars appear and vanish at once for local files.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


if __name__ == "__main__":
    main()
