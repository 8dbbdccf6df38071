"""History keys of log entries."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from models.bundle import load_bundle
from serving.deployment.releases import BUNDLE_FOLDER, find_release_folder
from serving.encryption.vault import Vault
from serving.event_log.event_codec import KEY_DTYPE, EventCodec, Keys, decode_keys
from serving.event_log.events import ArrivalEvent, decode_row
from serving.event_log.reader import NOT_IN_HISTORY, LogReader


class KeyReader:
    """A reader of the history keys of log entries, as logged or computed from the decrypted consignment."""

    def __init__(self, pipeline: Pipeline, entries: EventCodec) -> None:
        self.pipeline, self.entries = pipeline, entries
        self.count = len(pipeline.kinds)

    def __call__(self, event: ArrivalEvent) -> tuple[Keys, Keys]:
        """Return keys and counterparts, each uint64, (kinds,)."""
        if event.kinds == self.entries.kinds:
            return decode_keys(event)
        keys, counterparts = np.zeros((2, self.count), dtype=np.uint64)
        if event.redacted:
            return keys, counterparts
        self.pipeline.fill_keys(self.entries.decode_consignment(event), keys, counterparts)
        return keys, counterparts

    def read_all(
        self, log: LogReader, sequences: Sequence[int], kinds: Sequence[str], packed: Sequence[bytes]
    ) -> tuple[Keys, Keys]:
        """Return keys and counterparts of arrivals, each uint64, (n, kinds), given the columns `sequence`, `kinds` and `keys` of each."""
        keys, counterparts = np.zeros((2, len(kinds), self.count), dtype=KEY_DTYPE)
        same = np.array([each == self.entries.kinds for each in kinds], dtype=bool)
        places, size = np.flatnonzero(same), 2 * self.count * KEY_DTYPE.itemsize
        stored = b"".join([packed[place][:size] for place in places.tolist()])
        both = np.frombuffer(stored, dtype=KEY_DTYPE).reshape(-1, 2 * self.count)
        keys[places], counterparts[places] = both[:, : self.count], both[:, self.count :]
        others = {sequences[place]: place for place in np.flatnonzero(~same).tolist()}
        for event in map(decode_row, log.read_places([*others], NOT_IN_HISTORY)):
            assert isinstance(event, ArrivalEvent)
            keys[others[event.sequence]], counterparts[others[event.sequence]] = self(event)
        return keys, counterparts


def build_key_reader(state_dir: Path, vault: Vault) -> KeyReader:
    """Build the reader of history keys for the published model, or for the default ones if there is none."""
    folder = find_release_folder(state_dir)
    config = FeatureConfig() if folder is None else load_bundle(folder / BUNDLE_FOLDER).config
    pipeline = Pipeline(config, FittedParameters.create_empty(), Pseudonyms(vault.data_key))
    return KeyReader(pipeline, EventCodec(vault, config.build_record_type(), pipeline.kinds))
