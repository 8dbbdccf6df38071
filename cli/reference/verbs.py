"""The verbs columns and config."""

from pathlib import Path

from cli.verb import Result, option, verb

MARKDOWN = option("Print the page of the documentation, in Markdown.")


@verb
def columns(markdown: bool = MARKDOWN) -> Result:
    """Show the columns of all tables.

    For each column the verb shows name, type, if it is required, if it is personal data, meaning, and allowed values. It reads
    them from the code that checks the tables.

    Run "npsrisk config" for settings, and "npsrisk features" for the features of a model.

    \b
    Examples:
    npsrisk columns
    npsrisk columns --json
    """
    from cli.reference.tables import COLUMN_INTRODUCTION, build_column_reference, format_page

    tables = build_column_reference()
    titles = None if markdown else [f"{each.title}: {each.text}" for each in tables]
    values = {"tables": {table.title: table.rows for table in tables}}
    return Result(values, format_page(COLUMN_INTRODUCTION, tables, titles))


@verb
def config(
    file: Path | None = option(
        "Check this training configuration, and show what differs from the defaults.", metavar="FILE.toml"
    ),
    markdown: bool = MARKDOWN,
) -> Result:
    """Show every setting, or check a training configuration.

    For each setting the verb shows name, type, default, allowed values and meaning: first the settings of a training
    configuration, then the environment variables. With --file it reads a configuration as "npsrisk train --config" does.

    Exit code 2 if the file has an unknown setting or a bad value.

    \b
    Examples:
    npsrisk config
    npsrisk config --file config.toml
    """
    from cli.reference.tables import SETTING_INTRODUCTION, build_setting_tables, format_page

    if file is not None:
        return _check_configuration(file)
    tables = build_setting_tables()
    titles = None if markdown else [each.title.lower() for each in tables]
    values = dict(zip(("training", "environment"), (table.rows for table in tables), strict=True))
    return Result(values, format_page(SETTING_INTRODUCTION, tables, titles))


def _check_configuration(file: Path) -> Result:
    from cli.reference.tables import format_value, list_differences
    from training.config import read_config

    differences = list_differences(read_config(file))
    lines = [
        f"{name} = {format_value(each['value'])} (default: {format_value(each['default'])})"
        for name, each in differences.items()
    ]
    head = f"{file.name} is valid; settings that differ from the defaults: {len(differences)}"
    return Result({"file": str(file), "differences": differences}, "\n".join([head, *lines]))
