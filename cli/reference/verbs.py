"""The verbs columns and config."""

from pathlib import Path

import click

from cli.options import json_option
from cli.output import print_result

markdown_option = click.option(
    "--markdown", "as_markdown", is_flag=True, help="Print the page of the documentation, in Markdown."
)


@click.command()
@markdown_option
@json_option
def columns(as_markdown: bool, as_json: bool) -> None:
    """Show the columns of all tables.

    For each column the verb shows name, type, if it is required, if it is personal data, meaning, and allowed values. It reads
    them from the code that checks the tables.

    Run "npsrisk config" for settings, and "npsrisk features" for the features of a model.

    \b
    Examples:
    npsrisk columns
    npsrisk columns --json
    """
    from cli.reference.column_table import (
        build_column_reference,
        format_columns_markdown,
        format_columns_text,
    )

    tables = build_column_reference()
    text = format_columns_markdown(tables) if as_markdown else format_columns_text(tables)
    print_result({"tables": {table.name: list(table.columns) for table in tables}}, as_json, text)


@click.command()
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Check this training configuration, and show what differs from the defaults.",
)
@markdown_option
@json_option
def config(file: Path | None, as_markdown: bool, as_json: bool) -> None:
    """Show every setting, or check a training configuration.

    For each setting the verb shows name, type, default, allowed values and meaning: first the settings of a training
    configuration, then the environment variables. With --file it reads a configuration as "npsrisk train --config" does.

    Exit code 2 if the file has an unknown setting or a bad value.

    \b
    Examples:
    npsrisk config
    npsrisk config --file config.toml
    """
    from cli.reference.setting_table import (
        build_environment_reference,
        build_training_reference,
        format_settings_markdown,
        format_settings_text,
        format_value,
        list_differences,
        to_plain,
    )

    if file is not None:
        from training.config import read_config

        differences = list_differences(read_config(file))
        lines = [
            f"{name} = {format_value(each['value'])} (default: {format_value(each['default'])})"
            for name, each in differences.items()
        ]
        head = f"{file.name} is valid; settings that differ from the defaults: {len(differences)}"
        print_result({"file": str(file), "differences": differences}, as_json, "\n".join([head, *lines]))
        return
    training, environment = build_training_reference(), build_environment_reference()
    text = (format_settings_markdown if as_markdown else format_settings_text)(training, environment)
    result = {
        "training": [to_plain(each) for each in training],
        "environment": [to_plain(each) for each in environment],
    }
    print_result(result, as_json, text)
