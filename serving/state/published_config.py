"""Columns and history keys of the published model, for verbs that work on the log without the service."""

from pathlib import Path

from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from models.bundle import load_bundle
from serving.deployment.releases import BUNDLE_FOLDER, find_release_folder
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.state.history_keys import KeyReader


def load_published_config(state_dir: Path) -> FeatureConfig:
    """Load the columns and history keys of the published model, or return the default ones if there is none."""
    folder = find_release_folder(state_dir)
    return FeatureConfig() if folder is None else load_bundle(folder / BUNDLE_FOLDER).config


def build_key_reader(state_dir: Path, vault: Vault) -> KeyReader:
    """Build the reader of history keys for the published model."""
    config = load_published_config(state_dir)
    pipeline = Pipeline(config, FittedParameters.create_empty(), Pseudonyms(vault.data_key))
    return KeyReader(pipeline, EventCodec(vault, config.build_record_type(), pipeline.kinds))
