"""The verbs columns and config."""

from cli.options import TomlFile
from cli.verb import Result, option, verb

MARKDOWN = option("Print the page of the documentation, in Markdown.")


@verb
def columns(markdown: bool = MARKDOWN) -> Result:
    """Show the columns of all tables.

    For each column the verb shows name, type, if it is required, if it is personal data, meaning, and allowed values, from the
    code that checks the tables. Run "npsrisk config" for settings, and "npsrisk features" for the features of a model.

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
    file: TomlFile | None = option("Check this configuration, and show what differs from the defaults."),
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
    from cli.reference import tables as reference
    from training.config import TrainConfig, read_config

    if file is not None:
        given, defaults = read_config(file).flatten(), TrainConfig().flatten()
        changed = [name for name in given if given[name] != defaults[name]]
        lines = [f"{file.name} is valid; settings that differ from the defaults: {len(changed)}"]
        for name in changed:
            value, default = (reference.format_value(settings[name]) for settings in (given, defaults))
            lines.append(f"{name} = {value} (default: {default})")
        differences = {name: {"value": given[name], "default": defaults[name]} for name in changed}
        return Result({"file": str(file), "differences": differences}, "\n".join(lines))
    tables = reference.build_setting_tables()
    titles = None if markdown else [each.title.lower() for each in tables]
    values = dict(zip(("training", "environment"), (table.rows for table in tables), strict=True))
    return Result(values, reference.format_page(reference.SETTING_INTRODUCTION, tables, titles))
