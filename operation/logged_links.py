"""Link table of the event log. Personal fields are decrypted only to compute normal forms."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.records import Consignment
from features.history.pseudonyms import Pseudonyms
from features.links.identifiers import LINK_IDENTIFIERS, LinkNumberBuilder, LinkNumbers
from features.links.trace import LinkTable
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import ArrivalEvent
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.maintenance.recomputation import CHUNK_ARRIVALS, LoggedHistory

Longs = NDArray[np.int64]
EXCLUDED_FROM_LINKS = ("keys", "features", "reasons")
REDACTED, UNREADABLE = ("content was removed by npsrisk forget", "fields cannot be decrypted")


class LoggedLinks:
    """A reader of the link table of a log up to its `last_sequence`; `unread` counts the consignments that cannot be read, by reason."""

    def __init__(self, log: LogReader, vault: Vault, pseudonyms: Pseudonyms) -> None:
        check_vault(log, vault)
        self._log, self._codec = log, EventCodec(vault, Consignment, ())
        self._history = LoggedHistory.read(log, vault, log.last_sequence)
        self._builder = LinkNumberBuilder(pseudonyms)
        self.unread: Counter[str] = Counter()

    def read(self, progress: Progress | None = None, known: LinkTable | None = None) -> LinkTable:
        """Read the link table of all consignments; those of an earlier table of the same log, `known`, are not read again."""
        rows = len(self._history.arrivals.received_us)
        numbers = np.zeros((rows, len(LINK_IDENTIFIERS)), dtype=np.uint64)
        begin, after = 0, 0
        if known is not None and known.arrivals.sequence is not None and len(known.arrivals.sequence):
            begin, after = len(known.numbers), int(known.arrivals.sequence[-1])
            numbers[:begin] = known.numbers
        events = self._log.read_arrivals(after, self._log.last_sequence, EXCLUDED_FROM_LINKS)
        for row, event in enumerate(events, begin):
            numbers[row] = self._build_numbers(event)
            if progress is not None and ((row + 1) % CHUNK_ARRIVALS == 0 or row + 1 == rows):
                progress("identifiers", row + 1, rows)
        return LinkTable(self._history.arrivals, self._history.outcomes, numbers)

    def read_consignments(self, rows: Longs) -> Sequence[Consignment]:
        """Read the consignments of some rows of the link table."""
        sequence = self._history.arrivals.sequence
        assert sequence is not None
        events = [self._log.read_event(place) for place in sequence[rows].tolist()]
        return [self._codec.decode_consignment(event) for event in events if isinstance(event, ArrivalEvent)]

    def _build_numbers(self, event: ArrivalEvent) -> LinkNumbers:
        """Build the link numbers of one consignment; all are missing if it cannot be read."""
        try:
            row: LinkNumbers = self._builder.build_rows([self._codec.decode_consignment(event)])[0]
        except (ServiceFault, msgspec.MsgspecError):
            self.unread[REDACTED if event.redacted else UNREADABLE] += 1
            return np.zeros(len(LINK_IDENTIFIERS), dtype=np.uint64)
        return row
