"""The office of a consignment: how it is decided, and whether a client that is bound to offices may have it.

It is the consignment's own, else that of its first decision, else the request's, else the only one of the API key, else that of its
destination in `NPSRISK_OFFICES_FILE`. `Decider.build_request` finds it for a request, and `serving.scoring.scorer` keeps that of the first decision.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from consignments.identifiers import normalize_identifier
from consignments.offices import OfficeTable
from serving.event_log.event_codec import EventCodec, find_counting_version
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.process.watched_files import WatchedFiles
from serving.scoring.active_model import ActiveModel
from serving.scoring.intake import FieldError

Offices = frozenset[str]
OTHER_OFFICE = FieldError(
    "office", "this API key is bound to other offices; use a key of this consignment's office", "other_office"
)
NO_OFFICE = FieldError(
    "office",
    "name an office: in the consignment, as ?office= or in the header X-Office; this API key is bound to several",
    "other_office",
)
EXCLUDED_FROM_OFFICES = ("sealed", "features", "reasons")


def watch_offices(path: Path | None) -> WatchedFiles[OfficeTable]:
    """Read the table of offices that a setting names; without a file, it is empty."""
    if path is None:
        return WatchedFiles(list, lambda: OfficeTable({}))
    return WatchedFiles(lambda: [path], lambda: OfficeTable.read(path))


class OfficeFinder:
    """A finder of the office of a known consignment."""

    def __init__(self, active: ActiveModel, log: EventLog) -> None:
        self._active, self._log = active, log

    async def is_foreign(self, identifier: str, offices: Offices) -> bool:
        """Check whether a consignment is known, and its version that counts belongs to none of some offices."""
        await self._active.prefetch((identifier,))
        if not self.is_known(identifier):
            return False
        return find_office(await self._read_loaded(identifier), self._active.entries) not in offices

    async def read_events(self, identifier: str) -> list[Event]:
        """Read the entries of a consignment, without personal fields; those that are not on disk yet come last."""
        await self._active.prefetch((identifier,))
        return await self._read_loaded(identifier)

    async def _read_loaded(self, identifier: str) -> list[Event]:
        """Read the entries of a consignment whose state was loaded."""
        name = normalize_identifier(identifier)
        pending = [each for each in self._active.committer.list_pending() if each.consignment_id == name]
        stored = await asyncio.to_thread(self._log.read_consignment_events, name, None, EXCLUDED_FROM_OFFICES)
        return [*stored, *pending]

    def is_known(self, identifier: str) -> bool:
        """Check whether a consignment is known; its state must have been loaded."""
        state = self._active.state
        return state.get_consignment(normalize_identifier(identifier)).version is not None


def find_office(events: Iterable[Event], entries: EventCodec) -> str | None:
    """Return the office of a consignment's version that counts; None if it has none."""
    version = find_counting_version(events)
    return None if version is None else entries.read_office(version)
