"""The command line of npsrisk: it lists the verbs, and loads only the file of the verb asked for.

Exit code 0 on success, 2 on bad input with one clear line on standard error, 1 if a check finds a difference. With
`--json` the last line of standard output is one JSON object.
"""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from consignments.errors import NpsriskError

FUNCTIONS = {
    "simulate": "cli.simulation:simulate",
    "read": "cli.tables:read",
    "features": "cli.tables:features",
    "train": "cli.training:train",
    "compare": "cli.promotion:compare",
    "drift": "cli.monitoring:drift",
    "gate": "cli.promotion:gate",
    "keys": "cli.keys:keys",
    "promote": "cli.promotion:promote",
    "score": "cli.scoring:score",
    "select": "cli.scoring:select",
    "trace": "cli.trace:trace",
    "recall": "cli.scoring:recall",
    "replay": "cli.replay:replay",
    "serve": "cli.service:serve",
    "publish": "cli.service:publish",
    "shadow": "cli.service:shadow",
    "import": "cli.event_log:import_",
    "export": "cli.event_log:export",
    "parity": "cli.event_log:parity",
    "forget": "cli.event_log:forget",
    "verify-log": "cli.event_log:verify_log",
}
"""The function of each verb, in the order in which one meets them."""


class LazyVerbs(Mapping[str, click.Command]):
    """The verbs by name; the file of a verb is imported when the verb is looked up."""

    def __getitem__(self, verb: str) -> click.Command:
        module, _, function = FUNCTIONS[verb].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(FUNCTIONS)

    def __len__(self) -> int:
        return len(FUNCTIONS)


class VerbGroup(click.Group):
    """A group of verbs that turns the errors of npsrisk into one clear line and an exit code."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """List the verbs in the order in which one meets them."""
        return list(self.commands)

    def invoke(self, context: click.Context) -> Any:
        """Run the verb asked for."""
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
    """Find the few postal items and air-cargo consignments that hold new psychoactive substances.

    The loop: advance data are scored, some are inspected, what was found comes back, a new model is trained on it,
    compared, promoted, and scores again. Tables (T) are CSV (.csv), Parquet (.parquet or a directory) or JSON
    Lines (.jsonl).
    """
    # MLflow's own bars flash for files that are there at once.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


if __name__ == "__main__":
    main()
