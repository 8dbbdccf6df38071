"""The command line of npsrisk. It lists the verbs and loads only the file of the verb that is called.

The exit code is 0 on success. It is 1 if a check fails, and 2 if the verb cannot do its task, with one line on standard error. With
`--json` the last line of standard output is one JSON object.
"""

import ast
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from consignments import HOME, refuse_hidden_packages
from consignments.errors import NpsriskError

SECTIONS = {
    "Reference": {"cli.reference.verbs": "columns config"},
    "Data": {
        "cli.data.simulation": "simulate",
        "cli.data.messages": "read",
        "cli.selection.scoring": "features",
        "cli.data.trace": "trace",
    },
    "Models": {
        "cli.model.training": "train",
        "cli.model.promotion": "compare gate promote",
        "cli.model.keys": "keys",
        "cli.model.pages": "dossier drift",
    },
    "Scores and selection": {"cli.selection.scoring": "score select", "cli.data.simulation": "replay"},
    "Operation": {
        "cli.operation.documents": "brief plan debrief",
        "cli.operation.exchange": "exchange",
        "cli.operation.hunt": "hunt",
    },
    "Service and its log": {
        "cli.service.service": "publish serve shadow doctor",
        "cli.service.event_log": "import export parity forget verify-log",
        "cli.service.backup": "data-key backup restore",
    },
}
"""The verbs of each file, under the headings of the help."""
MODULES = {
    verb: module for files in SECTIONS.values() for module, verbs in files.items() for verb in verbs.split()
}
EXTRAS = {
    "train": "currency_converter jinja2 joblib lightgbm matplotlib mlflow optuna pycountry scipy sklearn threadpoolctl",
    "serve": "httptools jinja2 prometheus_client sqlalchemy starlette structlog uvicorn uvloop",
    "postgres": "psycopg",
}
"""Extras of the package, and the modules that each one installs."""


class LazyVerbs(Mapping[str, click.Command]):
    """A mapping from names of verbs to commands. It imports the file of a verb when the verb is looked up."""

    def __getitem__(self, verb: str) -> click.Command:
        found = vars(import_module(MODULES[verb]))
        commands = {each.name: each for each in found.values() if isinstance(each, click.Command)}
        return commands[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class VerbGroup(click.Group):
    """A click group that reports an error of npsrisk in one line and ends with exit code 2."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs under their headings."""
        limit = formatter.width - 6 - max(map(len, MODULES))
        for heading, files in SECTIONS.items():
            verbs = " ".join(files.values()).split()
            with formatter.section(heading):
                formatter.write_dl([(verb, read_short_help(verb, limit)) for verb in verbs])

    def resolve_command(self, context: click.Context, words: list[str]) -> Any:
        """Find the verb that is called, whose file is loaded here, and keep its name for errors."""
        context.invoked_subcommand = words[0]
        return super().resolve_command(context, words)

    def invoke(self, context: click.Context) -> Any:
        """Run the verb that is called."""
        try:
            return super().invoke(context)
        except NpsriskError as error:
            fault = str(error)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            extra = next((extra for extra, modules in EXTRAS.items() if module in modules.split()), None)
            if extra is None:
                raise
            fault = (
                f"the package {module} is not installed; install npsrisk with the extra [{extra}], "
                f"from the wheel of your release: pip install 'npsrisk-VERSION.whl[{extra}]'"
            )
        click.echo(f"npsrisk {context.invoked_subcommand or ''}: {fault}", err=True)
        return context.exit(2)


def read_short_help(verb: str, limit: int) -> str:
    """Read the first sentence of the help of a verb from its file, which is not run."""
    path = HOME.joinpath(*MODULES[verb].split(".")).with_suffix(".py")
    functions = [each for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)]
    helps = {each.name.strip("_").replace("_", "-"): ast.get_docstring(each) for each in functions}
    return click.Command(verb, help=helps[verb]).get_short_help_str(limit)


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
