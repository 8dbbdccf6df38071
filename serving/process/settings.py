"""The settings of npsrisk: from the environment, then the file named by `NPSRISK_SETTINGS`, then defaults.

The file has lines of `NAME=value` with the names of the environment. A missing or bad setting stops the start with
one line that names it.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from consignments.errors import BadSetting, UnknownName

DEFAULT_MAX_BODY_BYTES = 10_000_000
SECONDS_PER_UNIT = {"second": 1, "minute": 60, "hour": 3600}


class RateLimit(NamedTuple):
    """So many consignments or other records in so many seconds."""

    amount: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.amount}/{self.seconds}s"


def parse_rate(text: object) -> object:
    """Read a rate such as `1000/second`; anything else is left for the type check to refuse.

    Examples
    --------
    >>> parse_rate("600/minute")
    Rate(amount=600, seconds=60)
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"\s*([1-9]\d{0,8})\s*/\s*(second|minute|hour)\s*", text)
    if match is None:
        raise ValueError("expected a rate such as 1000/second, 60000/minute or 100000/hour")
    return RateLimit(int(match[1]), SECONDS_PER_UNIT[match[2]])


WithoutModel = Literal["rules", "refuse"]
"""What scores if no model is published: the officers' rules, or nothing."""


class Settings(BaseSettings):
    """What an installation decides.

    Attributes
    ----------
    mlflow_tracking_uri : str
        Where MLflow keeps runs and models; default: an SQLite file in the working directory.
    state_dir : Path
        Folder of the service: log, models, data key; default `.npsrisk` in the working directory.
    database_url : str
        SQLAlchemy address of the event log; default: `events.db` in the state directory.
    model, shadow_model : str
        MLflow addresses of the model that decides, and of the one that scores beside it (none by default).
    without_model : str
        What scores while no model is loaded: the `rules`, marked as such in every answer, or nothing (`refuse`, 503).
    api_keys_file : Path or None
        TOML file of API keys (`serving.http.auth`); without it the service listens on loopback only.
    tls_cert_file, tls_key_file : Path or None
        PEM files of the service's certificate and its key; without them it speaks plain HTTP, as behind a proxy.
    max_connections : int
        Connections at once; past that a new one is answered 503.
    data_key_file : Path
        The key from which pseudonyms and encryption are derived; default `data.key` in the state directory.
    approvers_file : Path
        TOML file of those who may approve a promotion (`models.signatures.approvers`); default `approvers.toml` in the state
        directory.
    max_body_bytes : int
        Largest request body.
    max_history_keys : int or None
        Bound of history: at most this many keys at once, about 120 bytes each; none by default.
    snapshot_entries : int
        A snapshot of the state is written after so many entries of the log,
    snapshot_seconds : float
        or after so long, where there is any new entry.
    rate_limit : RateLimit or None
        Records of one key in a time, as `1000/second`; none by default.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    mlflow_tracking_uri: Annotated[str, Field(alias="MLFLOW_TRACKING_URI")] = "sqlite:///mlflow.db"
    state_dir: Annotated[Path, Field(alias="NPSRISK_STATE_DIR")] = Path(".npsrisk")
    database_url: Annotated[str, Field(alias="NPSRISK_DATABASE_URL")] = ""
    model: Annotated[str, Field(alias="NPSRISK_MODEL")] = "models:/nps-risk@champion"
    shadow_model: Annotated[str | None, Field(alias="NPSRISK_SHADOW_MODEL")] = None
    without_model: Annotated[WithoutModel, Field(alias="NPSRISK_WITHOUT_MODEL")] = "rules"
    api_keys_file: Annotated[Path | None, Field(alias="NPSRISK_API_KEYS_FILE")] = None
    tls_cert_file: Annotated[Path | None, Field(alias="NPSRISK_TLS_CERT_FILE")] = None
    tls_key_file: Annotated[Path | None, Field(alias="NPSRISK_TLS_KEY_FILE")] = None
    max_connections: Annotated[int, Field(alias="NPSRISK_MAX_CONNECTIONS", ge=1, le=100_000)] = 1_000
    data_key_file: Annotated[Path, Field(alias="NPSRISK_DATA_KEY_FILE")] = Path()
    approvers_file: Annotated[Path, Field(alias="NPSRISK_APPROVERS_FILE")] = Path()
    max_body_bytes: Annotated[int, Field(alias="NPSRISK_MAX_BODY_BYTES", ge=1_000, le=1_000_000_000)] = (
        DEFAULT_MAX_BODY_BYTES
    )
    max_history_keys: Annotated[int | None, Field(alias="NPSRISK_MAX_HISTORY_KEYS", ge=1_000)] = None
    snapshot_entries: Annotated[int, Field(alias="NPSRISK_SNAPSHOT_ENTRIES", ge=1)] = 200_000
    snapshot_seconds: Annotated[float, Field(alias="NPSRISK_SNAPSHOT_SECONDS", gt=0)] = 900.0
    rate_limit: Annotated[
        RateLimit | None,
        BeforeValidator(parse_rate),
        Field(alias="NPSRISK_RATE_LIMIT", validate_default=False),
    ] = None

    def model_post_init(self, _context: Any) -> None:
        """Put the files that were not named into the state directory."""
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.state_dir / 'events.db'}")
        for name, file in (("data_key_file", "data.key"), ("approvers_file", "approvers.toml")):
            if getattr(self, name) == Path():
                object.__setattr__(self, name, self.state_dir / file)

    @classmethod
    def read(cls) -> "Settings":
        """Read the settings of this process.

        Raises
        ------
        BadSetting
            Naming the variable, in one line; `UnknownName` for a name in the file that means nothing.
        """
        path = os.environ.get("NPSRISK_SETTINGS")
        if path is not None:
            _check_file(Path(path))
        try:
            return cls(_env_file=path, _env_file_encoding="utf-8")  # type: ignore[call-arg]
        except ValidationError as error:
            _refuse(error)


SETTING_NAMES = tuple(str(field.alias) for field in Settings.model_fields.values())


def _check_file(path: Path) -> None:
    """Refuse a file that is not there, or that sets a name which means nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(
            "the settings file cannot be read",
            where="NPSRISK_SETTINGS",
            got=f"{path} ({error.__class__.__name__})",
            todo="name a file of lines NAME=value, or unset the variable",
        ) from error
    for number, line in enumerate(lines, start=1):
        name = line.split("=", 1)[0].removeprefix("export ").strip()
        if name and not name.startswith("#") and name not in SETTING_NAMES:
            raise UnknownName.from_candidates(
                name, SETTING_NAMES, kind="setting", where=f"{path} line {number}"
            )


def _refuse(error: ValidationError) -> NoReturn:
    first = error.errors(include_url=False, include_input=False)[0]
    raise BadSetting(
        first["msg"].removeprefix("Value error, "),
        where=str(first["loc"][0]),
        todo="correct it in the environment or in the file named by NPSRISK_SETTINGS",
    ) from error
