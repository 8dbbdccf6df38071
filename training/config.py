"""Settings of a training run: named values with defaults, read from a TOML file. Unknown names are refused."""

import datetime
import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from consignments.errors import BadSetting, FileFault, UnknownName, parse_validation_message
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from models.fitting.boosting import TreeParams

CONFIG_FILE = "config.json"
LABEL_DELAY_DAYS = 21  # days within which most results become known
MAX_ORIGINS = 12
DESCRIPTIONS: dict[str, dict[str, str]] = tomllib.loads(
    files(__package__).joinpath("settings.toml").read_text(encoding="utf-8")
)
"""Meaning of each setting by table and name, unless its type says it."""
Days = Annotated[int, Meta(ge=1, le=3660)]
Delay = Annotated[int, Meta(ge=0, le=366)]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Seed = Annotated[int, Meta(ge=0, lt=2**31)]


class SplitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[split]: how the time before `as_of` is divided into training, validation and test."""

    validation_days: Days = 28
    test_days: Days = 28
    label_delay_days: Delay = LABEL_DELAY_DAYS
    test_from: datetime.date | None = None


class ModelConfig(TreeParams, frozen=True, forbid_unknown_fields=True):
    """[model]: the parameters of the trees, and the seed of their fit."""

    seed: Seed = 1


class WeightsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[weights]: how much each training row counts."""

    ipw_clip: Annotated[float, Meta(ge=1)] = 20.0
    background_share: Share = 0.25
    background_rows: Count = 100_000
    background_weight: NotNegative = 3.0


class EvaluationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[evaluation]: how the model is evaluated."""

    origins: Annotated[int, Meta(ge=0, le=MAX_ORIGINS)] = 3
    capacity: Count | None = None
    traffic_rows: Count = 500_000
    smallest_slice: Count = 50
    largest_slices: Count = 12
    name_rows: Count = 1000


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of a training run."""

    columns: ExtraColumns = ExtraColumns()
    history: HistoryKeys = HistoryKeys()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    weights: WeightsConfig = WeightsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def features(self) -> FeatureConfig:
        """The settings that decide which features there are."""
        return FeatureConfig(self.columns, self.history)

    def flatten(self) -> dict[str, Any]:
        """Return every setting as `table.name`, for the parameters of a run."""
        tables: dict[str, dict[str, Any]] = msgspec.to_builtins(self)
        return {f"{table}.{name}": each for table, values in tables.items() for name, each in values.items()}

    def to_json(self) -> str:
        """Return every setting as JSON, to the last bit; `parse_config_json` reads it."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()


def hash_settings(settings: msgspec.Struct) -> str:
    """Compute the SHA-256 of settings."""
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()


def read_config(path: Path | None) -> TrainConfig:
    """Read a configuration file, by default the defaults; `FileFault`, `UnknownName` or `BadSetting` if it is at fault."""
    if path is None:
        return TrainConfig()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileFault(
            "the configuration cannot be read",
            where=str(path),
            got=getattr(error, "strerror", None) or str(error),
            expected="a TOML file",
            todo="check the path and the file",
        ) from error
    return parse_config(values, where=path.name)


def parse_config(values: dict[str, Any], *, where: str = "configuration") -> TrainConfig:
    """Build the configuration from the tables of a TOML file, which errors call `where`; what is left out keeps its default."""
    _require_known(values, TrainConfig, where)
    for field in msgspec.structs.fields(TrainConfig):
        table = values.get(field.name, {})
        place = f"{where} [{field.name}]"
        if not isinstance(table, dict):
            raise BadSetting("not a table", where=place, got=repr(table), expected="a table")
        _require_known(table, field.type, place)
    try:
        config = msgspec.convert(values, TrainConfig)
    except msgspec.ValidationError as error:
        place, fault = parse_validation_message(str(error))
        raise BadSetting(
            f"bad value of a setting: {fault}",
            where=f"{where}, {place}",
            todo='correct it or leave it out; "npsrisk config" describes each setting',
        ) from error
    config.features.validate()
    return config


def parse_config_json(text: bytes, *, where: str = CONFIG_FILE) -> TrainConfig:
    """Read the settings recorded by a run, as `TrainConfig.to_json` wrote them."""
    try:
        return msgspec.json.decode(text, type=TrainConfig)
    except msgspec.DecodeError as error:
        raise BadSetting(
            "the settings recorded by the run cannot be read",
            where=where,
            got=str(error),
            todo="use the version of npsrisk that trained it",
        ) from error


def _require_known(values: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    known = [field.name for field in msgspec.structs.fields(kind)]
    for name in values:
        if name not in known:
            raise UnknownName.from_candidates(name, known, kind="setting", where=where)
