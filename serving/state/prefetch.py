"""Prefetching: threads read the states that are not in memory from the log before a request continues.

So only requests that need such states wait for the disk.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from consignments.errors import ServiceFault
from serving.state.consignment_states import ConsignmentEvents, ConsignmentStates, PendingLookup

THREADS = 2
MAX_WAIT_SECONDS = 10.0
"""Maximum seconds that a request, or a chunk of a list, waits for its states."""


class Prefetcher:
    """A pool of threads that read states; used by the thread that changes the state."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "look-up")

    async def complete(self, dossiers: ConsignmentStates, awaited: Mapping[str, PendingLookup]) -> None:
        """Load into memory the states that `ConsignmentStates.request_lookups` returned; `ServiceFault` if the log cannot be read in time."""
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
        """Shut the threads down; one that reads the disk is awaited only at the end of the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
