"""Reading of messages: from files to entries on disk, from entries in the order of their time to rows, from rows to a table.

    files ─► messages ─► entries (several processes) ─► spool ─► in the order of time ─► linker ─► rows ─► table
                     └► rejects                                                      └► answers of customs ─► states

A message at fault becomes a reject and never ends the run.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from consignments.errors import MessageFault, Reject, name_file
from consignments.identifiers import find_identifier
from consignments.messages.air.waybill_numbers import identify_by_content
from consignments.messages.content.trees import HEAD_BYTES, decode_json
from consignments.messages.entries import (
    FUTURE_TOLERANCE,
    IN_FUTURE,
    DeclarationEntry,
    Entry,
    EventEntry,
    MasterEntry,
    build_declaration,
    build_master,
    choose_received_at,
    digest_content,
)
from consignments.messages.kinds import LINKED, MessageKind, detect_kind, read_message_parts
from consignments.messages.linking import Linker, LinkStore
from consignments.messages.parsed import (
    CustomsEvent,
    Declaration,
    Ignored,
    MasterDetails,
    MessageContext,
    Parsed,
)
from consignments.messages.post.mapping import MessageMapping
from consignments.messages.quality import UNIDENTIFIED, sort_codes
from consignments.messages.sources import (
    BLANK,
    RawMessage,
    Source,
    join_continuations,
    list_files,
    read_file,
    read_parts,
)
from consignments.messages.spool import BatchResult, Spool, pack_entry
from consignments.messages.states import StateRow, resolve_states
from consignments.workers import pause_garbage_collection

Progress = Callable[[str, int, int], None]

BATCH_MESSAGES = 200
"""Messages that one process reads at a time."""
GROUP_PARTS = 32
"""Parts of messages that are read before entries are made of them. By turns for each part, both take longer: the code of one leaves
little of the other in the caches of the processor."""
MIN_PARALLEL_MESSAGES = 2_000
"""Fewer are read sooner than further processes are started."""
MAX_BATCH_BYTES = 20_000_000
"""Bytes that are held before the first batch is parsed, and in each batch of a process."""
MAX_LINKED_BYTES = 50_000_000
"""Documents that are read together, at most."""
NOTE_PREFIX, IGNORED_PREFIX = "note: ", "ignored: "
MAX_REPORTED_REASON = 500
MAX_NAMED_REPEATED = 20


@dataclass(frozen=True)
class ReadOptions:
    """Options of a run."""

    received_at: datetime | None = None
    jobs: int = 1
    mappings: tuple[MessageMapping, ...] = ()
    now: datetime | None = None


def parse_messages(messages: Sequence[RawMessage], options: ReadOptions) -> BatchResult:
    """Read messages into packed entries."""
    result = BatchResult()
    with pause_garbage_collection():  # nothing here is part of a circle
        _fill_result(messages, options, result)
    return result


def _fill_result(messages: Sequence[RawMessage], options: ReadOptions, result: BatchResult) -> None:
    parts = _read_messages(messages, options, result)
    while group := list(islice(parts, GROUP_PARTS)):
        for part in group:
            try:
                result.entries.append(pack_entry(_build_entry(part, options, result.kinds)))
            except Exception as error:
                result.rejects.append((part.raw.source, "", _describe_failure(error)))


class _Part(NamedTuple):
    """A part of a message, and what its entry depends on."""

    content: Declaration | MasterDetails | CustomsEvent
    raw: RawMessage
    now: datetime
    identifiers: Counter[str]


def _read_messages(
    messages: Iterable[RawMessage], options: ReadOptions, result: BatchResult
) -> Iterator[_Part]:
    """Yield the parts of messages; a fault of a message becomes a reject, and what came before stays."""
    for raw in chain.from_iterable(
        _split_array(each, options, result) for each in _count_messages(messages, result)
    ):
        notes: list[str] = []
        has_read = False
        now = options.now or datetime.now(UTC)
        try:
            if raw.fault:
                raise MessageFault(raw.fault)
            kind = detect_kind(raw.content, options.mappings)
            result.kinds[kind.name] += 1
            if kind.name == LINKED:
                result.documents.append(raw)
                continue
            context = MessageContext(raw.source, notes, options.received_at or raw.received_at or now)
            identifiers: Counter[str] = Counter()
            for content in _read_parts(raw.content, context, kind, result.kinds):
                if isinstance(content, MessageFault):
                    result.rejects.append((raw.source, "", _describe_failure(content)))
                else:
                    has_read = True
                    yield _Part(content, raw, now, identifiers)
        except Exception as error:
            name = "" if has_read else find_identifier(raw.content)
            result.rejects.append((raw.source, name, _describe_failure(error)))
        for note in dict.fromkeys(notes):
            result.kinds[NOTE_PREFIX + note] += 1


def _count_messages(messages: Iterable[RawMessage], result: BatchResult) -> Iterator[RawMessage]:
    """Yield messages, and count them and their bytes."""
    for raw in messages:
        result.messages.update(raw.paths)
        result.size += len(raw.content)
        yield raw


def _split_array(raw: RawMessage, options: ReadOptions, result: BatchResult) -> Iterable[RawMessage]:
    """Split a JSON array of several kinds of messages into one for each kind; a member that is no message becomes a reject."""
    if raw.fault or raw.content[:HEAD_BYTES].lstrip(BLANK)[:1] != b"[":
        return [raw]
    try:
        whole, members = detect_kind(raw.content, options.mappings), decode_json(raw.content)
        texts = [json.dumps(member) for member in members]  # msgspec encodes no half of a surrogate pair
    except (MessageFault, RecursionError):
        return [raw]
    by_kind: dict[str, list[str]] = {}
    for number, (member, text) in enumerate(zip(members, texts, strict=True), start=1):
        try:
            if not isinstance(member, dict | list):
                raise MessageFault("no message", got="no JSON object")
            kind = detect_kind(text.encode(), options.mappings)
        except MessageFault as fault:
            kind = whole
            if whole.mapping is not None or not isinstance(member, dict):
                result.rejects.append((f"{raw.source}, member {number}", "", _describe_failure(fault)))
                continue
        by_kind.setdefault(kind.name, []).append(text)
    if [len(each) for each in by_kind.values()] == [len(members)]:
        return [raw]
    return [replace(raw, content=f"[{','.join(each)}]".encode()) for each in by_kind.values()]


def _leave_out_issue_time(
    content: Declaration | MasterDetails | CustomsEvent,
) -> Declaration | MasterDetails | CustomsEvent:
    if isinstance(content, Declaration):
        content.doubts.warnings[IN_FUTURE] = None
        return structs.replace(content, issued_at=None)
    if isinstance(content, CustomsEvent) or content.declaration is None:
        return replace(content, issued_at=None)
    return replace(content, issued_at=None, declaration=structs.replace(content.declaration, issued_at=None))


def _build_entry(part: _Part, options: ReadOptions, notes: Counter[str]) -> Entry:
    content, raw, now, identifiers = part
    if content.issued_at is not None and content.issued_at > now + FUTURE_TOLERANCE:
        notes[f"{NOTE_PREFIX}{IN_FUTURE.text}"] += 1
        content = _leave_out_issue_time(content)
    received_at = choose_received_at(options.received_at, content.issued_at, raw.received_at, now)
    if isinstance(content, CustomsEvent):
        return EventEntry(content, received_at, raw.source)
    if isinstance(content, MasterDetails):
        return build_master(content, received_at, raw.source)
    entry = build_declaration(content, received_at, raw.source)
    identifier = entry.record.consignment_id
    identifiers[identifier] += 1
    if identifiers[identifier] == 1:
        return entry
    if identifier.startswith(UNIDENTIFIED):
        other = identify_by_content({"equal to": identifier, "number": identifiers[identifier]})
        record = structs.replace(entry.record, consignment_id=other)
        return structs.replace(
            entry, record=record, digest=digest_content(record, entry.purpose, entry.extras)
        )
    codes = sort_codes({*(entry.record.quality or ()), "identifier_repeated"})
    return structs.replace(entry, record=structs.replace(entry.record, quality=codes))


def link_documents(documents: Iterable[RawMessage], options: ReadOptions) -> Iterator[BatchResult]:
    """Read documents whose objects link to each other, as many together as a bound of memory allows."""
    for group in _cut_batches(documents, MAX_LINKED_BYTES, math.inf):
        yield _link_group(group, options)


def _link_group(group: Sequence[RawMessage], options: ReadOptions) -> BatchResult:
    from consignments.messages.onerecord.waybills import OneRecordLinker

    result, linker = BatchResult(), OneRecordLinker()
    came = max((raw.received_at for raw in group if raw.received_at is not None), default=None)
    unread: dict[str, None] = {}
    for raw in group:
        try:
            linker.add_document(raw.content, MessageContext(raw.source, [], came))
            unread[raw.source] = None
        except Exception as error:
            result.rejects.append((raw.source, "", _describe_failure(error)))
    now = options.now or datetime.now(UTC)
    identifiers: dict[str, Counter[str]] = {}
    try:
        for source, content in linker.read_all():
            if isinstance(content, Ignored):
                result.kinds[f"{IGNORED_PREFIX}{content.kind}: {content.reason}"] += 1
            elif isinstance(content, MessageFault):
                result.rejects.append((source, "", _describe_failure(content)))
            else:
                raw = RawMessage(source, b"", came)
                part = _Part(content, raw, now, identifiers.setdefault(source, Counter()))
                result.entries.append(pack_entry(_build_entry(part, options, result.kinds)))
            unread.pop(source, None)
    except Exception as error:
        reason = _describe_failure(error)
        result.rejects += [(source, "", reason) for source in unread or (group[0].source,)]
    return result


def _describe_failure(error: Exception) -> str:
    """Describe a fault of a message, or a failure of its reader without any content of the message."""
    if isinstance(error, MessageFault):
        return str(error)[:MAX_REPORTED_REASON]
    return f"the reader failed on it ({type(error).__name__}); report it with the message"


def _read_parts(
    content: bytes, context: MessageContext, kind: MessageKind, kinds: Counter[str]
) -> Iterator[Declaration | MasterDetails | CustomsEvent | MessageFault]:
    found: Parsed | None = None
    adds_only = True
    for found in read_message_parts(content, context, kind):
        adds_only = adds_only and isinstance(found, MasterDetails) and found.declaration is None
        if isinstance(found, Ignored):
            kinds[f"{IGNORED_PREFIX}{found.kind}: {found.reason}"] += 1
        else:
            yield found
    if found is None:
        kinds[f"{IGNORED_PREFIX}{kind.name}: nothing in it"] += 1
    elif adds_only:
        kinds[f"{IGNORED_PREFIX}{kind.name}: it only adds master and route to its items"] += 1


# --- from files to the spool ------------------------------------------------------------------------------------------


def fill_spool(
    paths: Iterable[Path | str], spool: Spool, options: ReadOptions, progress: Progress | None = None
) -> None:
    """Read all messages of files and folders into the spool; what it has of the same files is not read again."""
    files = list_files(paths)
    marks = {name_file(path): _mark_file(path) for path in files}
    total, done = sum(size for _, size in marks.values()), 0
    counts = spool.begin_files({name: mark for name, (mark, _) in marks.items()})
    messages = join_continuations(_iterate_files(files, counts))
    for result in _parse_all(messages, options):
        spool.add_result(result)
        for path, number in result.messages.items():
            counts[path] += number
        spool.note_progress({path: counts[path] for path in result.messages})
        done += result.size
        if progress is not None:
            progress("read", min(done, total), total)
    for result in link_documents(spool.take_documents(), options):
        spool.add_result(result)


def _mark_file(path: Path) -> tuple[str, int]:
    """Return what changes with the content of a file, and its size."""
    try:
        stat = path.stat()
    except OSError:
        return "missing", 0
    return f"{stat.st_size} {stat.st_mtime_ns}", stat.st_size


def _iterate_files(files: Sequence[Path], counts: dict[str, int]) -> Iterator[RawMessage]:
    for path in files:
        yield from islice(read_file(path), counts[name_file(path)], None)


def _parse_all(messages: Iterator[RawMessage], options: ReadOptions) -> Iterator[BatchResult]:
    """Parse messages in batches: in this process, or in several if there is much to read."""
    batches = _cut_batches(messages)
    ahead, is_much = _look_ahead(batches) if options.jobs > 1 else ([], False)
    parse = partial(parse_messages, options=options)
    if not is_much:
        yield from map(parse, chain(ahead, batches))
        return
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=options.jobs, return_as="generator", batch_size=1, pre_dispatch="2*n_jobs")
    yield from pool(delayed(parse)(batch) for batch in chain(ahead, batches))


def _look_ahead(batches: Iterator[list[RawMessage]]) -> tuple[list[list[RawMessage]], bool]:
    """Read the first batches, until they are worth the start of further processes; say whether they are."""
    ahead: list[list[RawMessage]] = []
    number = size = 0
    for batch in batches:
        ahead.append(batch)
        number += len(batch)
        size += sum(len(message.content) for message in batch)
        if number >= MIN_PARALLEL_MESSAGES or (size >= MAX_BATCH_BYTES and len(ahead) > 1):
            return ahead, True
    return ahead, False


def _cut_batches(
    messages: Iterable[RawMessage], max_bytes: int | None = None, max_messages: float | None = None
) -> Iterator[list[RawMessage]]:
    """Cut messages into batches of at most `MAX_BATCH_BYTES`, unless one message is larger."""
    max_bytes, max_messages = max_bytes or MAX_BATCH_BYTES, max_messages or BATCH_MESSAGES
    batch: list[RawMessage] = []
    size = 0
    for message in messages:
        if batch and (len(batch) >= max_messages or size + len(message.content) > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.content)
    if batch:
        yield batch


# --- from the spool to rows -------------------------------------------------------------------------------------------


@dataclass
class LinkResult:
    """Results of linking; the rows are in the spool."""

    repeated: bool
    repeats: int
    counts: Counter[str]
    states: list[StateRow]
    extras: set[str]


def link_entries(spool: Spool, progress: Progress | None = None) -> LinkResult:
    """Make rows of all entries, in the order of their time."""
    linker, events = Linker(LinkStore(spool.rows)), list[CustomsEvent]()
    total = spool.count_entries() if progress is not None else 0
    for number, entry in enumerate(spool.read_entries(), start=1):
        if isinstance(entry, DeclarationEntry):
            linker.add_declaration(entry)
        elif isinstance(entry, MasterEntry):
            linker.add_master(entry)
        else:
            events.append(entry.event)
        if progress is not None and number % BATCH_MESSAGES == 0:
            progress("link", number, total)
    states = list(resolve_states(events))
    return LinkResult(linker.find_repeated(), linker.repeats, linker.counts, states, linker.extras)


# --- all of it in memory ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MessageEntries:
    """Entries of messages that are not linked yet."""

    entries: tuple[DeclarationEntry | MasterEntry, ...]
    states: tuple[StateRow, ...]
    rejects: tuple[Reject, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


def read_entries(
    content: bytes, received_at: datetime, mappings: Sequence[MessageMapping] = ()
) -> MessageEntries:
    """Read messages in memory that were received now, without linking them."""
    options = ReadOptions(received_at, mappings=tuple(mappings), now=received_at)
    spool = parse_sources([content], options)
    entries = list(spool.read_entries())
    events = [each.event for each in entries if isinstance(each, EventEntry)]
    numbers = Counter(each.record.consignment_id for each in entries if isinstance(each, DeclarationEntry))
    repeated = [f"{count} times in one body: {name}" for name, count in numbers.items() if count > 1]
    if len(repeated) > MAX_NAMED_REPEATED:
        repeated[MAX_NAMED_REPEATED:] = [
            f"{len(repeated) - MAX_NAMED_REPEATED} more identifiers several times"
        ]
    rejects, ignored, notes = take_remarks(spool)
    return MessageEntries(
        tuple(each for each in entries if not isinstance(each, EventEntry)),
        tuple(resolve_states(events)),
        rejects,
        ignored,
        (*notes, *repeated),
    )


def parse_sources(sources: Iterable[Source], options: ReadOptions) -> Spool:
    """Parse messages into a spool in memory."""
    spool = Spool(None)
    for batch in _cut_batches(join_continuations(_iterate_sources(sources))):
        spool.add_result(parse_messages(batch, options))
    for result in link_documents(spool.take_documents(), options):
        spool.add_result(result)
    return spool


def take_remarks(spool: Spool) -> tuple[tuple[Reject, ...], tuple[str, ...], tuple[str, ...]]:
    """Return rejects, ignored messages and notes, and close the spool."""
    rejects = tuple(Reject(place, name, "", reason) for place, name, reason in spool.read_rejects())
    counts = spool.read_counts()
    spool.close(remove=True)
    ignored, notes = (
        tuple(name.removeprefix(prefix) for name in counts if name.startswith(prefix))
        for prefix in (IGNORED_PREFIX, NOTE_PREFIX)
    )
    return rejects, ignored, notes


def _iterate_sources(sources: Iterable[Source]) -> Iterator[RawMessage]:
    for number, source in enumerate(sources, start=1):
        if isinstance(source, bytes):
            yield from read_parts(f"message {number}", source)
        else:
            for path in list_files([source]):
                yield from read_file(path)
