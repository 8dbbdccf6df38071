"""The settings of a training configuration and of the environment, from their types: name, default, limits, meaning."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from cli.reference.page import ReferenceTable, format_value

if TYPE_CHECKING:
    import msgspec
    from pydantic.fields import FieldInfo

    from training.config import TrainConfig

LIMIT_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
NAMES_OF_TYPES = {"IntType": "whole number", "FloatType": "number", "StrType": "text", "DateType": "date"}
INTRODUCTION = """\
# Settings

This page is for data scientists and operators. After reading it you know each setting, its default, and the allowed values.

`npsrisk config --markdown` writes this page from the code. Do not edit it."""
TRAINING_TEXT = """\
`npsrisk train --config FILE.toml` reads these settings. A setting `split.test_days` stands in the table `[split]` of the file. What a
file does not name keeps its default. `npsrisk config --file FILE.toml` checks a file and shows what differs from the defaults."""
ENVIRONMENT_TEXT = """\
These are environment variables. `NPSRISK_SETTINGS` can name a file with lines of `NAME=value`; the environment has priority over it."""


def build_setting_tables() -> list[ReferenceTable]:
    """Build the two tables of the page of settings."""
    return [
        ReferenceTable("Training configuration", TRAINING_TEXT, list_training_settings()),
        ReferenceTable("Environment", ENVIRONMENT_TEXT, list_environment_settings()),
    ]


def list_training_settings() -> list[dict[str, Any]]:
    """List the settings of a training run, in the order of the file."""
    import msgspec

    from consignments.records import describe_type
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
            name, allowed = f"{table.name}.{field.name}", _describe_limits([inner])
            found.append(_build_row(name, _name_type(inner), defaults[name], allowed, meaning))
    return found


def list_environment_settings() -> list[dict[str, Any]]:
    """List the environment variables: the settings of an installation, then those that no settings file may set."""
    from models.signatures.keys import PASSPHRASE_VARIABLE
    from operation.exchange.folder import API_KEY_VARIABLE
    from serving.process.settings import SETTINGS_VARIABLE, Settings

    defaults = Settings.model_construct()
    settings = []
    for name, field in Settings.model_fields.items():
        kind, allowed = _describe_annotation(field)
        default, meaning = getattr(defaults, name), field.description or ""
        settings.append(_build_row(str(field.alias), kind, default, allowed, meaning))
    passphrase = "Passphrase that encrypts a signing key (`npsrisk keys`)."
    api_key = "Key of `npsrisk exchange import --service` for the service."
    only = "Read from the environment only."
    return [
        *settings,
        _build_row(SETTINGS_VARIABLE, "path", None, "", f"File of settings. {only}"),
        _build_row(PASSPHRASE_VARIABLE, "text", None, "", f"{passphrase} {only}"),
        _build_row(API_KEY_VARIABLE, "text", None, "", f"{api_key} {only}"),
    ]


def _build_row(name: str, kind: str, default: Any, allowed: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "default": default, "allowed": allowed, "meaning": meaning}


def list_differences(config: "TrainConfig") -> dict[str, dict[str, Any]]:
    """List the settings of a configuration that differ from the defaults, each with its value and the default."""
    from training.config import TrainConfig

    defaults = TrainConfig().flatten()
    return {
        name: {"value": value, "default": defaults[name]}
        for name, value in config.flatten().items()
        if value != defaults[name]
    }


def _describe_limits(limits: list[Any]) -> str:
    """Describe the limits that are attributes of the given types or constraints."""
    found = [(words, getattr(each, name, None)) for each in limits for name, words in LIMIT_WORDS.items()]
    return "; ".join(f"{words} {format_value(value)}" for words, value in found if value is not None)


def _name_type(inner: "msgspec.inspect.Type") -> str:
    """Name the type of a setting of a training configuration, for example `list of text`."""
    import msgspec

    if isinstance(inner, msgspec.inspect.VarTupleType):
        return f"list of {_name_type(inner.item_type).replace('list', 'lists')}"
    return NAMES_OF_TYPES[type(inner).__name__]


def _describe_annotation(field: "FieldInfo") -> tuple[str, str]:
    """Return the type of an environment variable, and its allowed values."""
    from serving.process.settings import RateLimit

    if get_origin(field.annotation) is Literal:
        return "text", ", ".join(get_args(field.annotation))
    numbers = {int: "whole number", float: "number", RateLimit: "rate"}
    names: dict[Any, str] = {str: "text", bool: "true or false", Path: "path", **numbers}
    kinds = [each for each in get_args(field.annotation) if each is not type(None)]
    return names[kinds[0] if kinds else field.annotation], _describe_limits(field.metadata)
