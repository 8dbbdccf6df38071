"""Access to the settings, and to the model registry and the keys that they name."""

from pathlib import Path
from typing import TYPE_CHECKING

from consignments.errors import BadInput

if TYPE_CHECKING:
    from features.history.pseudonyms import Pseudonyms
    from models.bundle import Bundle
    from models.registry import ModelVersion, Registry
    from serving.encryption.vault import Vault
    from serving.event_log.reader import LogReader
    from serving.process.settings import Settings


def read_settings() -> "Settings":
    """Read the settings from the environment."""
    from serving.process.settings import Settings

    return Settings.read()


def open_registry() -> "Registry":
    """Open the model registry of the settings; raise `BadInput` if it does not exist."""
    from models.registry import Registry

    require_store(read_settings().mlflow_tracking_uri)
    return Registry(read_settings().mlflow_tracking_uri)


def require_store(uri: str) -> None:
    """Raise `BadInput` if the SQLite file of MLflow does not exist. Opening it would create an empty one."""
    file = uri.removeprefix("sqlite:///")
    if file != uri and not Path(file).exists():
        expected = "the MLflow database of a training run"
        todo = "run npsrisk train --register first, or change to the folder that holds this file"
        where = "MLFLOW_TRACKING_URI"
        raise BadInput("there is no such file", where=where, got=file, expected=expected, todo=todo)


def resolve_model(uri: str | None) -> "ModelVersion":
    """Find the model of a URI; if it is None, the model of the settings."""
    return open_registry().resolve(uri if uri is not None else read_settings().model)


def install_operation_keys() -> None:
    """Install the operation keys of the exchange directory, so that indicators of partners can be compared."""
    from consignments.exchange.folder_names import KEYS_FOLDER
    from features.indicators.operation_keys import OperationKeys, install_keys

    install_keys(OperationKeys.read_folder(read_settings().exchange_dir / KEYS_FOLDER))


def load_pseudonyms() -> "Pseudonyms":
    """Load the pseudonyms of the service, whose data key is created if there is none: only in the state directory, and for a new log."""
    from features.history.data_keys import read_data_keys
    from features.history.pseudonyms import Pseudonyms

    settings = read_settings()
    if settings.data_key_file.exists():  # a batch then needs neither the log nor its packages
        return Pseudonyms(read_data_keys(settings.data_key_file).pseudonyms)
    from serving.event_log.log import load_or_create_vault

    vault = load_or_create_vault(settings.data_key_file, settings.state_dir, settings.database_url)
    return Pseudonyms(vault.data_key)


def create_batch_pseudonyms() -> "Pseudonyms":
    """Create the pseudonyms of a batch. A batch writes none of them to a file or log."""
    from features.batch import BATCH_KEY
    from features.history.pseudonyms import Pseudonyms

    return Pseudonyms(BATCH_KEY)


def fetch_bundle(uri: str) -> "Bundle":
    """Fetch the bundle of the model of a URI."""
    registry = open_registry()
    return registry.fetch_bundle(registry.resolve(uri))


def open_log() -> "LogReader":
    """Open the event log of the settings to read it; it is closed at the end of a `with`."""
    from serving.event_log.reader import LogReader

    return LogReader.open_to_read(read_settings().database_url)


def open_vault() -> "Vault":
    """Open the vault of the file of the data keys, which must exist."""
    from serving.encryption.vault import Vault

    return Vault.load(read_settings().data_key_file)
