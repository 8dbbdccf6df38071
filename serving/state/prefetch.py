"""Dossiers that are not in memory are read from the log in threads, before a call goes on: whoever asks for one waits for the
disk, and only those with him who ask for another.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from consignments.errors import ServiceFault
from serving.state.consignment_states import ConsignmentEvents, ConsignmentStates, PendingLookup

THREADS = 2
MAX_WAIT_SECONDS = 10.0
"""How long a call, or a chunk of a list, waits for what it asks about."""


class Prefetcher:
    """The threads; used by the thread that changes state."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "look-up")

    async def complete(self, dossiers: ConsignmentStates, awaited: Mapping[str, PendingLookup]) -> None:
        """Bring into memory what `ConsignmentStates.request_lookups` returned.

        Raises
        ------
        ServiceFault
            The log cannot be read, or that takes too long.
        """
        found: ConsignmentEvents = {}
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                found = await asyncio.get_running_loop().run_in_executor(
                    self._threads, dossiers.read_events, list(awaited), dossiers.sequence
                )
        except TimeoutError:
            raise ServiceFault("reading the event log takes too long", todo="try again later") from None
        finally:
            dossiers.complete_lookups(awaited, found)

    def close(self) -> None:
        """End the threads; one that waits for the disk is waited for at the end of the process only."""
        self._threads.shutdown(wait=False, cancel_futures=True)
