"""The command line of npsrisk. It lists the verbs and loads only the file of the verb that is called.

The exit code is 0 on success. It is 1 if a check finds a difference, and 2 on bad input, with one line on standard error. With
`--json` the last line of standard output is one JSON object.
"""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from consignments.errors import NpsriskError

FUNCTIONS = {
    "simulate": "cli.data.simulation:simulate",
    "read": "cli.data.tables:read",
    "features": "cli.data.tables:features",
    "train": "cli.model.training:train",
    "compare": "cli.model.promotion:compare",
    "drift": "cli.model.monitoring:drift",
    "gate": "cli.model.promotion:gate",
    "keys": "cli.model.keys:keys",
    "promote": "cli.model.promotion:promote",
    "score": "cli.selection.scoring:score",
    "select": "cli.selection.scoring:select",
    "trace": "cli.data.trace:trace",
    "recall": "cli.selection.scoring:recall",
    "debrief": "cli.operation.debrief:debrief",
    "replay": "cli.selection.replay:replay",
    "serve": "cli.service.service:serve",
    "publish": "cli.service.service:publish",
    "shadow": "cli.service.service:shadow",
    "import": "cli.service.event_log:import_",
    "export": "cli.service.event_log:export",
    "parity": "cli.service.event_log:parity",
    "forget": "cli.service.event_log:forget",
    "verify-log": "cli.service.event_log:verify_log",
}
"""The function of each verb, in the order in which the verbs are used."""


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

    def invoke(self, context: click.Context) -> Any:
        """Run the verb that is called."""
        try:
            return super().invoke(context)
        except NpsriskError as error:
            click.echo(f"npsrisk {context.invoked_subcommand}: {error}", err=True)
            context.exit(2)


@click.group(
    cls=VerbGroup,
    commands=LazyVerbs(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="npsrisk")
def main() -> None:
    """Score postal items and air-cargo consignments for new psychoactive substances (NPS).

    Use the verbs as a loop. Train a model on past inspections, compare it with the current model, and promote it.
    Score new consignments and select those to inspect. Add the results to the outcome table, and train again.

    A table (T) is a CSV file (.csv), a Parquet file or directory (.parquet) or a JSON Lines file (.jsonl).
    Run "npsrisk VERB --help" for options and an example.

    \b
    Exit codes: 0 success; 1 a check found a difference; 2 bad input.

    \b
    First steps, with simulated data:
    npsrisk simulate --out world
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --register
    """
    # MLflow's own progress bars appear and vanish at once for local files.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


if __name__ == "__main__":
    main()
