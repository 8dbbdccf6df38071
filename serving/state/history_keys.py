"""History keys of log entries."""

import numpy as np

from features.pipeline import Pipeline
from serving.event_log.event_codec import EventCodec, Keys, decode_keys
from serving.event_log.events import ArrivalEvent
from serving.event_log.history_chunks import HistoryChunk


class KeyReader:
    """A reader of the history keys of log entries, as logged, or of other kinds computed from the decrypted consignment.

    If then its content was removed, it has no keys and counts under none.
    """

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

    def read_chunk(self, chunk: HistoryChunk) -> tuple[Keys, Keys]:
        """Return keys and counterparts of a chunk of entries, each uint64, (entries, kinds); 0 for an entry that has none."""
        same, keys, counterparts = chunk.read_keys(self.entries.kinds, self.count)
        others = np.flatnonzero(chunk.arriving & ~same).tolist()
        for place, event in chunk.read_events(others).items():
            assert isinstance(event, ArrivalEvent)
            keys[place], counterparts[place] = self(event)
        return keys, counterparts

    def read_handle(self, event: ArrivalEvent) -> bytes:
        """Return the keys without counterparts, as the handle of a `CountedState`."""
        if event.kinds == self.entries.kinds:
            return event.keys[: len(event.keys) // 16 * 8]
        return self(event)[0].tobytes()
