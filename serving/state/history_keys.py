"""The keys of history of an entry of the log."""

import numpy as np

from features.pipeline import Pipeline
from serving.event_log.event_codec import EventCodec, Keys, decode_keys
from serving.event_log.events import ArrivalEvent


class KeyReader:
    """Gives the keys of history of an entry: as logged or, where it holds other kinds, of the decrypted consignment.

    An entry of other kinds whose content was removed, or the key of its personal fields erased, has none: it counts under no key.

    Parameters
    ----------
    pipeline : Pipeline
    entries : EventCodec
        With the kinds of keys of `pipeline`.
    """

    def __init__(self, pipeline: Pipeline, entries: EventCodec) -> None:
        self.pipeline, self.entries = pipeline, entries
        self.count = len(pipeline.kinds)

    def __call__(self, event: ArrivalEvent) -> tuple[Keys, Keys]:
        """Give keys and counterparts, each uint64, (kinds,)."""
        if event.kinds == self.entries.kinds:
            return decode_keys(event)
        keys, counterparts = np.zeros((2, self.count), dtype=np.uint64)
        if event.redacted or self.entries.find_erasure(event):
            return keys, counterparts
        self.pipeline.fill_keys(self.entries.decode_consignment(event), keys, counterparts)
        return keys, counterparts

    def read_handle(self, event: ArrivalEvent) -> bytes:
        """Give the keys alone, as the handle of a file."""
        if event.kinds == self.entries.kinds:
            return event.keys[: len(event.keys) // 2]
        return self(event)[0].tobytes()
