"""Settings of npsrisk: from the environment, then the file named by `NPSRISK_SETTINGS`, then defaults.

The file has lines of `NAME=value`, with the same names as the environment variables. If a setting is missing or
invalid, the start fails with one line that names it.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from consignments.errors import BadSetting, UnknownName

DEFAULT_MAX_BODY_BYTES = 10_000_000
INSTALLED_APPROVERS_FILE = "/etc/npsrisk/approvers.toml"
SECONDS_PER_UNIT = {"second": 1, "minute": 60, "hour": 3600}


class RateLimit(NamedTuple):
    """A limit of records (consignments, outcomes, …) per period in seconds."""

    amount: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.amount}/{self.seconds}s"


def parse_rate(text: object) -> object:
    """Parse a rate such as `1000/second`; None, a parsed one, and its list in JSON stay as they are."""
    if text is None or isinstance(text, RateLimit | list):
        return text
    match = re.fullmatch(r"\s*([1-9]\d{0,8})\s*/\s*(second|minute|hour)\s*", str(text))
    if match is None:
        raise ValueError("expected a rate such as 1000/second, 60000/minute or 100000/hour")
    return RateLimit(int(match[1]), SECONDS_PER_UNIT[match[2]])


WithoutModel = Literal["rules", "refuse"]
"""What scores if no model is published: the officers' rules, or nothing."""


def _name_variable(field: str) -> str:
    """Name the environment variable of a setting."""
    return field.upper() if field.startswith("mlflow") else f"NPSRISK_{field.upper()}"


class Settings(BaseSettings):
    """The settings of an installation; the text below each describes it."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        alias_generator=_name_variable,
        use_attribute_docstrings=True,
    )

    mlflow_tracking_uri: str = "sqlite:///mlflow.db"
    """MLflow's store of runs and models."""
    state_dir: Path = Path(".npsrisk")
    """State directory of the service: event log, keys, published models, snapshots."""
    database_url: str = ""
    """SQLAlchemy URL of the event log: SQLite, or postgresql://USER@HOST/DATABASE."""
    standby: bool = False
    """If true, of several services on one log in PostgreSQL one is active. The others wait for its lock, and take over when the active one is gone. Set it for all of them."""
    takeover_seconds: float = Field(10.0, ge=3, le=600)
    """Seconds without a sign of life after which a standby ends the session of the active service and takes over. It must be the same for all services on the log."""
    model: str = "models:/nps-risk@champion"
    """MLflow URI of the model that decides."""
    shadow_model: str | None = None
    """MLflow URI of a model in shadow, for example models:/nps-risk@challenger: npsrisk shadow reports what it would have answered."""
    without_model: WithoutModel = "rules"
    """What scores while no model is loaded: the officers' rules, marked in every response, or nothing (status 503)."""
    api_keys_file: Path | None = None
    """TOML file of API keys. Without it the service listens on loopback only."""
    offices_file: Path | None = None
    """CSV file with the columns place,office: the customs office of a destination (IATA, IMPC or ISO 3166-1 alpha-2), for consignments that name none."""
    mappings_dir: Path | None = None
    """Directory of mapping files (.toml), by which the service reads declarations of other formats."""
    tls_cert_file: Path | None = None
    """PEM file of the service's certificate. Without it the service uses plain HTTP, for example behind a proxy."""
    tls_key_file: Path | None = None
    """PEM file of the key of the certificate."""
    max_connections: int = Field(1_000, ge=1, le=100_000)
    """Maximum number of simultaneous connections. Further ones are refused with status 503, except for /health/live."""
    max_connections_per_address: int = Field(500, ge=1, le=100_000)
    """Maximum number of simultaneous connections of one network address; a proxy in front of the service is one."""
    data_key_file: Path = Path()
    """File of the data keys: for pseudonyms and for encryption. The list of what was forgotten lies next to it. It is created on first use in the state directory. A file elsewhere must exist."""
    snapshots_dir: Path = Path()
    """Directory of the snapshots. Services on one log share it, so that the next one starts from the newest."""
    approvers_file: Path = Path()
    """TOML file of the persons who may approve a promotion, with their public keys. The user of the service must not be able to write it. With `NPSRISK_API_KEYS_FILE` the default is `/etc/npsrisk/approvers.toml`."""
    desk: bool = True
    """If false, npsrisk serve has no pages for officers."""
    administration: str | None = Field(None, pattern=r"^[^\s/#]+$", max_length=40)
    """Name of this administration among its partners: the author of its messages."""
    exchange_dir: Path = Path()
    """Directory of the exchange between administrations: partners, operation keys, drafts, messages."""
    exchange_feedback: bool = False
    """If true, npsrisk exchange feedback signs and sends its messages at once; otherwise it writes drafts."""
    max_body_bytes: int = Field(DEFAULT_MAX_BODY_BYTES, ge=1_000, le=1_000_000_000)
    """Maximum size of a request body in bytes."""
    max_history_keys: int | None = Field(None, ge=1_000)
    """Maximum number of history keys, of about 150 bytes each. Without it history grows as far as memory allows."""
    link_days: float = Field(30.0, gt=0, le=366)
    """Days after which the service forgets a master or a house that came as a message. Then one no longer adds to the other."""
    max_links: int = Field(200_000, ge=1)
    """Maximum number of masters, houses and listed items that are kept for each other, of about half a kilobyte each. Above it the oldest are forgotten."""
    snapshot_entries: int = Field(100_000, ge=1)
    """A snapshot of the state is written after this number of new log entries."""
    snapshot_seconds: float = Field(900.0, gt=0)
    """A snapshot is also written after this number of seconds, if there is any new entry."""
    rate_limit: Annotated[RateLimit | None, BeforeValidator(parse_rate)] = Field(None, validate_default=False)
    """Maximum number of records (consignments, outcomes, …) of one API key per period, for example 1000/second."""

    def model_post_init(self, _context: Any) -> None:
        """Set the files that were not named to their defaults, nearly all in the state directory."""
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.state_dir / 'events.db'}")
        files = {
            "data_key_file": "data.key",
            "snapshots_dir": "snapshots",
            # An absolute path replaces the state directory.
            "approvers_file": "approvers.toml" if self.api_keys_file is None else INSTALLED_APPROVERS_FILE,
            "exchange_dir": "exchange",
        }
        for name, file in files.items():
            if getattr(self, name) == Path():
                object.__setattr__(self, name, self.state_dir / file)

    @classmethod
    def read(cls) -> "Settings":
        """Read the settings of this process; `BadSetting` names an invalid one, `UnknownName` an unknown one in the file."""
        path = os.environ.get(SETTINGS_VARIABLE)
        if path is not None:
            _check_file(Path(path))
        try:
            return cls(_env_file=path, _env_file_encoding="utf-8")  # type: ignore[call-arg]
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise BadSetting(
                first["msg"].removeprefix("Value error, "),
                where=str(first["loc"][0]),
                todo="correct it in the environment or in the file that the variable NPSRISK_SETTINGS names",
            ) from error


SETTINGS_VARIABLE = "NPSRISK_SETTINGS"  # variable that names the settings file
SETTING_NAMES = tuple(str(field.alias) for field in Settings.model_fields.values())
OTHER_NAMES = (SETTINGS_VARIABLE, "NPSRISK_API_KEY", "NPSRISK_KEY_PASSPHRASE", "NPSRISK_TEST_POSTGRES")
"""Names that are read elsewhere than in `Settings`."""


def find_unknown_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Find the names that begin with NPSRISK_ and are no setting, with the nearest known name or an empty text."""
    known = (*SETTING_NAMES, *OTHER_NAMES)
    unknown = sorted(name for name in environment if name.startswith("NPSRISK_") and name not in known)
    return {name: next(iter(get_close_matches(name, known, n=1)), "") for name in unknown}


def _check_file(path: Path) -> None:
    """Refuse a settings file that cannot be read or sets an unknown name."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(
            "the settings file cannot be read",
            where=SETTINGS_VARIABLE,
            got=f"{path} ({getattr(error, 'strerror', None) or error.__class__.__name__})",
            todo="set it to a file with lines NAME=value, or unset the variable",
        ) from error
    for number, line in enumerate(lines, start=1):
        name = line.split("=", 1)[0].removeprefix("export ").strip()
        if name and not name.startswith("#") and name not in SETTING_NAMES:
            raise UnknownName.from_candidates(
                name, SETTING_NAMES, kind="setting", where=f"{path} line {number}"
            )
