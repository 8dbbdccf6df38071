"""Settings of npsrisk: from the environment, then the file named by `NPSRISK_SETTINGS`, then defaults.

The file has lines of `NAME=value`, with the same names as the environment variables. If a setting is missing or
invalid, the start fails with one line that names it.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

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
    """Parse a rate such as `1000/second`; return no rate, or one that is already parsed, unchanged.

    The process of a challenger gets the settings as JSON, in which a rate is a list.

    Examples
    --------
    >>> parse_rate("600/minute")
    RateLimit(amount=600, seconds=60)
    """
    if text is None or isinstance(text, RateLimit | list):
        return text
    match = re.fullmatch(r"\s*([1-9]\d{0,8})\s*/\s*(second|minute|hour)\s*", str(text))
    if match is None:
        raise ValueError("expected a rate such as 1000/second, 60000/minute or 100000/hour")
    return RateLimit(int(match[1]), SECONDS_PER_UNIT[match[2]])


WithoutModel = Literal["rules", "refuse"]
"""What scores if no model is published: the officers' rules, or nothing."""


class Settings(BaseSettings):
    """The settings of an installation; the description of each is in its field."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    mlflow_tracking_uri: Annotated[
        str,
        Field(alias="MLFLOW_TRACKING_URI", description="MLflow's store of runs and models."),
    ] = "sqlite:///mlflow.db"
    state_dir: Annotated[
        Path,
        Field(
            alias="NPSRISK_STATE_DIR",
            description="State directory of the service: event log, keys, published models, snapshots.",
        ),
    ] = Path(".npsrisk")
    database_url: Annotated[
        str,
        Field(
            alias="NPSRISK_DATABASE_URL",
            description="SQLAlchemy URL of the event log: SQLite, or postgresql://USER@HOST/DATABASE.",
        ),
    ] = ""
    standby: Annotated[
        bool,
        Field(
            alias="NPSRISK_STANDBY",
            description="If true, of several services on one log in PostgreSQL one is active. The others wait for its lock, and take over "
            "when the active one is gone. Set it for all of them.",
        ),
    ] = False
    takeover_seconds: Annotated[
        float,
        Field(
            alias="NPSRISK_TAKEOVER_SECONDS",
            ge=3,
            le=600,
            description="Seconds without a sign of life after which a standby ends the session of the active service and takes over. "
            "It must be the same for all services on the log.",
        ),
    ] = 10.0
    model: Annotated[
        str, Field(alias="NPSRISK_MODEL", description="MLflow URI of the model that decides.")
    ] = "models:/nps-risk@champion"
    shadow_model: Annotated[
        str | None,
        Field(
            alias="NPSRISK_SHADOW_MODEL",
            description="MLflow URI of a model in shadow mode, for example models:/nps-risk@challenger. Its scores are only logged.",
        ),
    ] = None
    without_model: Annotated[
        WithoutModel,
        Field(
            alias="NPSRISK_WITHOUT_MODEL",
            description="What scores while no model is loaded: the officers' rules, marked in every response, or nothing "
            "(status 503).",
        ),
    ] = "rules"
    api_keys_file: Annotated[
        Path | None,
        Field(
            alias="NPSRISK_API_KEYS_FILE",
            description="TOML file of API keys. Without it the service listens on loopback only.",
        ),
    ] = None
    offices_file: Annotated[
        Path | None,
        Field(
            alias="NPSRISK_OFFICES_FILE",
            description="CSV file with the columns place,office: the customs office of a destination (IATA, IMPC or ISO 3166-1 alpha-2), "
            "for consignments that name none.",
        ),
    ] = None
    mappings_dir: Annotated[
        Path | None,
        Field(
            alias="NPSRISK_MAPPINGS_DIR",
            description="Directory of mapping files (.toml), by which the service reads declarations of other formats.",
        ),
    ] = None
    tls_cert_file: Annotated[
        Path | None,
        Field(
            alias="NPSRISK_TLS_CERT_FILE",
            description="PEM file of the service's certificate. Without it the service uses plain HTTP, for example behind a proxy.",
        ),
    ] = None
    tls_key_file: Annotated[
        Path | None,
        Field(alias="NPSRISK_TLS_KEY_FILE", description="PEM file of the key of the certificate."),
    ] = None
    max_connections: Annotated[
        int,
        Field(
            alias="NPSRISK_MAX_CONNECTIONS",
            ge=1,
            le=100_000,
            description="Maximum number of simultaneous connections. Further ones are refused with status 503.",
        ),
    ] = 1_000
    data_key_file: Annotated[
        Path,
        Field(
            alias="NPSRISK_DATA_KEY_FILE",
            description="File of the data keys: for pseudonyms and for encryption. The list of what was forgotten lies next to it. It is created on first use in the state directory. A file elsewhere must exist.",
        ),
    ] = Path()
    snapshots_dir: Annotated[
        Path,
        Field(
            alias="NPSRISK_SNAPSHOTS_DIR",
            description="Directory of the snapshots. Services on one log share it, so that the next one starts from the newest.",
        ),
    ] = Path()
    approvers_file: Annotated[
        Path,
        Field(
            alias="NPSRISK_APPROVERS_FILE",
            description="TOML file of the persons who may approve a promotion, with their public keys. The user of the service must not be "
            "able to write it. With `NPSRISK_API_KEYS_FILE` the default is `/etc/npsrisk/approvers.toml`.",
        ),
    ] = Path()
    desk: Annotated[
        bool,
        Field(
            alias="NPSRISK_DESK",
            description="If false, npsrisk serve has no pages for officers.",
        ),
    ] = True
    administration: Annotated[
        str | None,
        Field(
            alias="NPSRISK_ADMINISTRATION",
            pattern=r"^[^\s/#]+$",
            max_length=40,
            description="Name of this administration among its partners: the author of its messages.",
        ),
    ] = None
    exchange_dir: Annotated[
        Path,
        Field(
            alias="NPSRISK_EXCHANGE_DIR",
            description="Directory of the exchange between administrations: partners, operation keys, drafts, messages.",
        ),
    ] = Path()
    exchange_feedback: Annotated[
        bool,
        Field(
            alias="NPSRISK_EXCHANGE_FEEDBACK",
            description="If true, npsrisk exchange feedback signs and sends its messages at once; otherwise it writes drafts.",
        ),
    ] = False
    max_body_bytes: Annotated[
        int,
        Field(
            alias="NPSRISK_MAX_BODY_BYTES",
            ge=1_000,
            le=1_000_000_000,
            description="Maximum size of a request body in bytes.",
        ),
    ] = DEFAULT_MAX_BODY_BYTES
    max_history_keys: Annotated[
        int | None,
        Field(
            alias="NPSRISK_MAX_HISTORY_KEYS",
            ge=1_000,
            description="Maximum number of history keys, of about 150 bytes each. Without it history grows as far as memory "
            "allows.",
        ),
    ] = None
    link_days: Annotated[
        float,
        Field(
            alias="NPSRISK_LINK_DAYS",
            gt=0,
            le=366,
            description="Days after which the service forgets a master or a house that came as a message. Then one no longer "
            "adds to the other.",
        ),
    ] = 30.0
    max_links: Annotated[
        int,
        Field(
            alias="NPSRISK_MAX_LINKS",
            ge=1,
            description="Maximum number of masters, houses and listed items that are kept for each other, of about half a kilobyte "
            "each. Above it the oldest are forgotten.",
        ),
    ] = 200_000
    snapshot_entries: Annotated[
        int,
        Field(
            alias="NPSRISK_SNAPSHOT_ENTRIES",
            ge=1,
            description="A snapshot of the state is written after this number of new log entries.",
        ),
    ] = 200_000
    snapshot_seconds: Annotated[
        float,
        Field(
            alias="NPSRISK_SNAPSHOT_SECONDS",
            gt=0,
            description="A snapshot is also written after this number of seconds, if there is any new entry.",
        ),
    ] = 900.0
    rate_limit: Annotated[
        RateLimit | None,
        BeforeValidator(parse_rate),
        Field(
            alias="NPSRISK_RATE_LIMIT",
            validate_default=False,
            description="Maximum number of records (consignments, outcomes, …) of one API key per period, for example 1000/second.",
        ),
    ] = None

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
        """Read the settings of this process.

        Raises
        ------
        BadSetting
            A setting is invalid; the error names it in one line. `UnknownName` if the file sets an unknown name.
        """
        path = os.environ.get(SETTINGS_VARIABLE)
        if path is not None:
            _check_file(Path(path))
        try:
            return cls(_env_file=path, _env_file_encoding="utf-8")  # type: ignore[call-arg]
        except ValidationError as error:
            _refuse(error)


SETTINGS_VARIABLE = "NPSRISK_SETTINGS"
"""Variable that names the settings file."""
SETTING_NAMES = tuple(str(field.alias) for field in Settings.model_fields.values())


OTHER_NAMES = (
    SETTINGS_VARIABLE,
    "NPSRISK_API_KEY",
    "NPSRISK_LANGUAGE",
    "NPSRISK_KEY_PASSPHRASE",
    "NPSRISK_TEST_POSTGRES",
)
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


def _refuse(error: ValidationError) -> NoReturn:
    first = error.errors(include_url=False, include_input=False)[0]
    raise BadSetting(
        first["msg"].removeprefix("Value error, "),
        where=str(first["loc"][0]),
        todo="correct it in the environment or in the file that the variable NPSRISK_SETTINGS names",
    ) from error
