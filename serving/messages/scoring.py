"""Messages of post and air cargo as bodies of `POST /v1/scores`: Cargo-XML, Cargo-IMP and ONE Record, read as `npsrisk read` does.

A body is one message, or several that follow each other. A message without goods is named in the answer; only a body of which
nothing can be read is refused. `serving.messages.linking` links masters and houses.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from consignments.timestamps import to_datetime
from serving.http.problems import RecordFault, Refusal
from serving.http.requests import Door
from serving.http.routing import EndpointRoute
from serving.http.scores import MessageResult, ScoreCall, Scores
from serving.messages.linking import MessageLinker, build_records
from serving.process.watched_files import WatchedFiles
from serving.service import Service

if TYPE_CHECKING:
    from consignments.messages.post.mapping import MessageMapping
    from consignments.messages.reading import MessageEntries

MAX_LISTED_REJECTS = 20


def accept_messages(service: Service, _door: Door) -> list[EndpointRoute]:
    """Allow messages as bodies of `POST /v1/scores`, without a further route."""
    service.messages = MessageScorer(service)
    return []


def watch_mappings(folder: Path | None) -> "WatchedFiles[tuple[MessageMapping, ...]]":
    """Read all mapping files of a folder; `BadSetting` if it does not exist or a mapping is not valid."""
    if folder is None:
        return WatchedFiles(list, tuple)
    from consignments.messages.post.mapping import list_mapping_files, load_mappings

    return WatchedFiles(lambda: list_mapping_files(folder), lambda: load_mappings(folder))


class MessageScorer:
    """A scorer of the consignments that follow from messages, read by the mappings of the service."""

    def __init__(self, service: Service) -> None:
        self._service, self._active = service, service.active
        self._mappings = watch_mappings(service.settings.mappings_dir)
        service.watch("mappings", self._mappings.refresh)
        self._linker = MessageLinker(service.active)

    async def read(self, content: bytes) -> "MessageEntries":
        """Read messages that come now; raise a refusal with 422 if nothing can be read."""
        if not content.strip():
            raise Refusal(422, "The body is empty. Send at least one message.")
        from consignments.messages.reading import read_entries  # loads what only messages need

        mappings = self._mappings.content
        found = await asyncio.to_thread(read_entries, content, to_datetime(self._active.clock()), mappings)
        if found.rejects and not (found.entries or found.states or found.ignored):
            from consignments.messages.kinds import UNKNOWN_KIND

            reason = found.rejects[0].reason
            if reason.startswith(UNKNOWN_KIND):
                reason += f". The service reads {len(mappings)} mappings, and none is for this message."
            raise Refusal.from_fault(RecordFault(reason))
        return found

    async def score(self, call: ScoreCall, content: bytes) -> Scores:
        """Score the consignments that follow from messages; houses that a master amends get no office of the request."""
        count, caller, record = self._service.metrics.count, call.caller, call.reader.record
        try:
            found = await self.read(content)
        except Refusal:
            count("unscored_messages")
            raise
        count("unscored_messages", by=len(found.rejects))
        async with self._linker.lock:
            linked = await self._linker.link(found.entries)
            theirs, ours = linked.amended, linked.declared
            caller.spend(max(len(theirs) + len(ours), 1))
            others = build_records(theirs, record)
            amended, faults = await call.decide_list(others, [row.warnings for row in theirs], own=False)
            answers, errors = await call.decide_list(
                build_records(ours, record), [row.warnings for row in ours]
            )
            refused = {others[fault.index].consignment_id: fault.detail for fault in faults}
            names = {*refused, *(ours[fault.index].record.consignment_id for fault in errors)}
            group = await self._linker.record(linked, caller.name, names)
        notes = [
            f"{name}: these messages concern it, and its record is refused: {detail}"
            for name, detail in refused.items()
        ]
        scores = await call.build_scores([*amended, *answers], quality=True)
        if group is not None:
            await group.wait_until_durable()
        return Scores(scores, errors, describe_messages(found, linked.unused, notes))


def describe_messages(found: "MessageEntries", unused: Sequence[str], notes: Sequence[str]) -> MessageResult:
    """Describe contents other than goods; of the rejects the first ones, and the numbers of the others."""
    kept = (f"master {number}: it is kept for its houses" for number in dict.fromkeys(unused))
    rejected = list(map(str, found.rejects[:MAX_LISTED_REJECTS]))
    others = [reject.place.removeprefix("message ") for reject in found.rejects[MAX_LISTED_REJECTS:]]
    if others:
        rejected.append(f"{len(others):,} more of which nothing could be read, messages {', '.join(others)}")
    return MessageResult(list(found.states), [*found.ignored, *kept], [*found.notes, *notes], rejected)
