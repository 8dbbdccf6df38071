"""The settings of a training configuration and of the environment, from their types: name, default, limits, meaning."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from cli.reference.markdown import format_entry, format_markdown_table

if TYPE_CHECKING:
    import msgspec
    from pydantic.fields import FieldInfo

    from training.config import TrainConfig

HEADINGS = ("setting", "type", "default", "allowed values", "meaning")
LIMIT_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
NAMES_OF_TYPES = {
    "IntType": "whole number",
    "FloatType": "number",
    "StrType": "text",
    "DateType": "date",
}
INTRODUCTION = """\
# Settings

This page is for data scientists and operators. After reading it you know each setting, its default, and the allowed values.

`npsrisk config --markdown` writes this page from the code. Do not edit it."""
TRAINING_TEXT = """\
## Training configuration

`npsrisk train --config FILE.toml` reads these settings. A setting `split.test_days` stands in the table `[split]` of the file. What a
file does not name keeps its default. `npsrisk config --file FILE.toml` checks a file and shows what differs from the defaults."""
ENVIRONMENT_TEXT = """\
## Environment

These are environment variables. `NPSRISK_SETTINGS` can name a file with lines of `NAME=value`; the environment has priority over it."""


class SettingReference(NamedTuple):
    """The reference of one setting.

    Attributes
    ----------
    name : str
        `table.name` in a training configuration, or the environment variable.
    kind : str
    default : object
        None for none.
    allowed : str
        Limits or choices; empty for none.
    meaning : str
    """

    name: str
    kind: str
    default: Any
    allowed: str
    meaning: str


def build_training_reference() -> list[SettingReference]:
    """Build the reference of the settings of a training run, in the order of the file."""
    import msgspec

    from consignments.schema import describe_type
    from training.config import DESCRIPTIONS, TrainConfig

    tables = msgspec.inspect.type_info(TrainConfig)
    defaults = TrainConfig().flatten()
    assert isinstance(tables, msgspec.inspect.StructType)
    found = []
    for table in tables.fields:
        assert isinstance(table.type, msgspec.inspect.StructType)
        for field in table.type.fields:
            inner, _, meaning, _ = describe_type(field.type)
            meaning = meaning or DESCRIPTIONS[table.name][field.name]
            name = f"{table.name}.{field.name}"
            limits = {each: getattr(inner, each, None) for each in LIMIT_WORDS}
            kind = _name_type(inner)
            found.append(SettingReference(name, kind, defaults[name], _describe_limits(limits), meaning))
    return found


def build_environment_reference() -> list[SettingReference]:
    """Build the reference of the environment variables: the settings of an installation, then those read from the environment only."""
    from serving.process.settings import Settings

    defaults = Settings.model_construct()
    settings = [
        SettingReference(
            str(field.alias),
            _name_annotation(field.annotation),
            getattr(defaults, name),
            _describe_field_limits(field),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    return [*settings, *_list_environment_only()]


def list_differences(config: "TrainConfig") -> dict[str, dict[str, Any]]:
    """List the settings of a configuration that differ from the defaults, each with its value and the default."""
    from training.config import TrainConfig

    defaults = TrainConfig().flatten()
    return {
        name: {"value": value, "default": defaults[name]}
        for name, value in config.flatten().items()
        if value != defaults[name]
    }


def format_settings_markdown(training: list[SettingReference], environment: list[SettingReference]) -> str:
    """Format the reference as a page in Markdown."""
    parts = [INTRODUCTION]
    for text, settings in ((TRAINING_TEXT, training), (ENVIRONMENT_TEXT, environment)):
        rows = [
            (f"`{each.name}`", each.kind, _quote(each.default), each.allowed, each.meaning)
            for each in settings
        ]
        parts += [text, format_markdown_table(HEADINGS, rows)]
    return "\n\n".join(parts)


def format_settings_text(training: list[SettingReference], environment: list[SettingReference]) -> str:
    """Format the reference for a terminal."""
    parts = []
    for title, settings in (("training configuration", training), ("environment", environment)):
        entries = [
            format_entry(
                each.name, [each.kind, f"default {format_value(each.default)}", each.allowed], each.meaning
            )
            for each in settings
        ]
        parts.append("\n".join([title, *entries]))
    return "\n\n".join(parts)


def format_value(value: Any) -> str:
    """Format the value of a setting for people.

    Examples
    --------
    >>> format_value(100_000), format_value(()), format_value(0.25), format_value(["a", "b"])
    ('100,000', 'none', '0.25', 'a, b')
    """
    if value is None or value in ((), []):
        return "none"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return ", ".join(map(format_value, value))
    if isinstance(value, float):
        return f"{value:,g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def to_plain(setting: SettingReference) -> dict[str, Any]:
    """Convert a setting to plain values for JSON."""
    default = setting.default
    if isinstance(default, Path | datetime.date) or hasattr(default, "_fields"):
        default = str(default)
    return setting._replace(default=default)._asdict()


def _describe_limits(limits: dict[str, Any]) -> str:
    return "; ".join(
        f"{LIMIT_WORDS[name]} {format_value(value)}" for name, value in limits.items() if value is not None
    )


def _describe_field_limits(field: "FieldInfo") -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    found = {
        name: getattr(each, name) for each in field.metadata for name in LIMIT_WORDS if hasattr(each, name)
    }
    return _describe_limits(found)


def _name_type(inner: "msgspec.inspect.Type") -> str:
    """Name the type of a setting of a training configuration, for example `list of text`."""
    import msgspec

    if isinstance(inner, msgspec.inspect.VarTupleType):
        return f"list of {_name_type(inner.item_type).replace('list', 'lists')}"
    return NAMES_OF_TYPES[type(inner).__name__]


def _name_annotation(annotation: Any) -> str:
    """Name the type of an environment variable."""
    from serving.process.settings import RateLimit

    names = {
        str: "text",
        bool: "true or false",
        Path: "path",
        int: "whole number",
        float: "number",
        RateLimit: "rate",
    }
    kinds = [each for each in get_args(annotation) if each is not type(None)]
    if get_origin(annotation) is Literal:
        return "text"
    return names[kinds[0] if kinds else annotation]


def _list_environment_only() -> list[SettingReference]:
    """Describe the variables that no settings file may set, since they are read before it or hold a secret."""
    from cli.operation.exchange_import import API_KEY_VARIABLE
    from models.reasons.texts import DEFAULT_LANGUAGE, LANGUAGE_VARIABLE, LANGUAGES
    from models.signatures.keys import PASSPHRASE_VARIABLE
    from serving.process.settings import SETTINGS_VARIABLE

    return [
        SettingReference(
            SETTINGS_VARIABLE, "path", None, "", "File of settings. Read from the environment only."
        ),
        SettingReference(
            LANGUAGE_VARIABLE,
            "text",
            DEFAULT_LANGUAGE,
            ", ".join(LANGUAGES),
            "Language of reasons, also of `npsrisk score` and the model in MLflow. Read from the environment only.",
        ),
        SettingReference(
            PASSPHRASE_VARIABLE,
            "text",
            None,
            "",
            "Passphrase that encrypts a signing key (`npsrisk keys`). Read from the environment only.",
        ),
        SettingReference(
            API_KEY_VARIABLE,
            "text",
            None,
            "",
            "Key of `npsrisk exchange import --service` for the service. Read from the environment only.",
        ),
    ]


def _quote(value: Any) -> str:
    text = format_value(value)
    return text if text == "none" or isinstance(value, int | float) else f"`{text}`"
