"""Reading of messages: from files to entries on disk, from entries in the order of their time to rows, from rows to a table.

    files ─► messages ─► entries (several processes) ─► spool ─► in the order of time ─► linker ─► rows ─► table
                     └► rejects                                                      └► answers of customs ─► states

A message at fault becomes a reject and never ends the run.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path

from msgspec import structs

from consignments.errors import MessageFault, Reject, name_file
from consignments.identifiers import find_identifier, normalize_identifier
from consignments.messages.air.waybills import identify_by_content
from consignments.messages.content.trees import HEAD_BYTES, split_array
from consignments.messages.entries import (
    FUTURE_TOLERANCE,
    IN_FUTURE,
    MasterEntry,
    Version,
    build_declaration,
    build_master,
    digest_content,
)
from consignments.messages.kinds import LINKED, detect_kind, read_message_parts
from consignments.messages.linking import Linker, resolve_states
from consignments.messages.parsed import Declaration, Ignored, MasterDetails, MessageContext, Parsed, StateRow
from consignments.messages.post.mapping import MessageMapping
from consignments.messages.quality import UNIDENTIFIED, sort_codes
from consignments.messages.sources import (
    BLANK_BYTES,
    RawMessage,
    join_continuations,
    list_files,
    read_file,
    read_parts,
)
from consignments.messages.spool import Finding, Spool, Topic, pack
from consignments.workers import Progress, WorkerPool, pause_garbage_collection

BATCH_MESSAGES = 200
"""Messages that one process reads at a time."""
MIN_PARALLEL_BYTES = 5_000_000
"""Files of fewer bytes are read sooner than further processes are started."""
MAX_BATCH_BYTES = 20_000_000
"""Bytes of the messages that one process reads at a time, unless one message is larger."""
MAX_LINKED_BYTES = 50_000_000
"""Documents that are read together, at most."""
MAX_BODY_MESSAGES = 10_000
"""Messages in one body, together with the members of its arrays."""
TOO_MANY = f"too many messages in one body; expected at most {MAX_BODY_MESSAGES:,}; send several bodies"
MAX_REPORTED_REASON = 500
MAX_NAMED_REPEATED = 20


@dataclass(frozen=True)
class ReadOptions:
    """Options of a run; `is_live` if the messages come now, so that none was issued later."""

    received_at: datetime | None = None
    jobs: int = 1
    mappings: tuple[MessageMapping, ...] = ()
    now: datetime | None = None
    is_live: bool = False


@dataclass
class _Source:
    """One message or linked document, from whose parts findings come; it `is_read` once it gave a part."""

    name: str
    came_at: datetime | None
    options: ReadOptions
    findings: list[Finding]
    is_read: bool = False
    identifiers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.now = self.options.now or datetime.now(UTC)

    def add(self, found: Parsed) -> None:
        """Add what a part of the message gave; one of which no entry can be made becomes a reject."""
        self.is_read = True
        if isinstance(found, Ignored):
            self.count(Topic.IGNORED, f"{found.kind}: {found.reason}")
        elif isinstance(found, MessageFault):
            self.reject(found)
        else:
            try:
                self._add_entry(found)
            except Exception as error:
                self.reject(error)

    def count(self, topic: Topic, text: str) -> None:
        """Count a text of a topic."""
        self.findings.append((topic, 0, text))

    def reject(self, error: Exception, identifier: str = "") -> None:
        """Reject the message or a part of it, by a fault of it or by a failure of its reader without any of its content."""
        reason = f"the reader failed on it ({type(error).__name__}); report it with the message"
        if isinstance(error, MessageFault):
            reason = str(error)[:MAX_REPORTED_REASON]
        self.findings.append(pack(Reject(self.name, identifier, "", reason)))

    def _add_entry(self, content: Declaration | MasterDetails | StateRow) -> None:
        options, issued_at = self.options, content.issued_at
        if issued_at is not None and issued_at > self.now + FUTURE_TOLERANCE:
            issued_at = None
            self.count(Topic.NOTE, IN_FUTURE.text)
            if isinstance(content, Declaration):
                content.doubts.warnings[IN_FUTURE] = None
        received_at = options.received_at or issued_at or self.came_at or self.now
        # A wrong clock of the sender would make later versions look late.
        is_ahead = options.is_live and issued_at is not None and issued_at > received_at
        entry: MasterEntry | Version | StateRow
        if isinstance(content, StateRow):
            entry = structs.replace(content, issued_at=issued_at)
        elif isinstance(content, MasterDetails):
            entry = build_master(content, received_at, None if is_ahead else issued_at)
        else:
            entry = build_declaration(content, received_at, None if is_ahead else issued_at)
            entry = self._flag_repeated(entry)
        self.findings.append(pack(entry, received_at))

    def _flag_repeated(self, entry: Version) -> Version:
        """Flag an identifier that stands in its message again; declarations that have none stay apart."""
        identifier = entry.record.consignment_id
        self.identifiers[name := normalize_identifier(identifier)] += 1
        if self.identifiers[name] == 1:
            return entry
        if identifier.startswith(UNIDENTIFIED):
            other = identify_by_content({"equal to": identifier, "number": self.identifiers[name]})
            record = structs.replace(entry.record, consignment_id=other)
            digest = digest_content(record, entry.purpose, entry.extras)
            return structs.replace(entry, record=record, digest=digest)
        codes = sort_codes({*(entry.record.quality or ()), "identifier_repeated"})
        return structs.replace(entry, record=structs.replace(entry.record, quality=codes))


def parse_messages(messages: Iterable[RawMessage], options: ReadOptions) -> list[Finding]:
    """Read messages; a fault of a message becomes a reject, and what came before stays."""
    findings: list[Finding] = []
    with pause_garbage_collection():  # nothing here is part of a circle
        for raw in messages:
            findings.append((Topic.MESSAGE, len(raw.content), ""))
            for part in _split_array(raw, options, findings):
                source, notes = _Source(part.source, part.received_at, options, findings), list[str]()
                try:
                    _parse_message(part, source, notes)
                except Exception as error:
                    source.reject(error, "" if source.is_read else find_identifier(part.content))
                for note in dict.fromkeys(notes):
                    source.count(Topic.NOTE, note)
    return findings


def _parse_message(raw: RawMessage, source: _Source, notes: list[str]) -> None:
    options = source.options
    if raw.fault:
        raise MessageFault(raw.fault)
    kind = detect_kind(raw.content, options.mappings)
    source.count(Topic.KIND, kind.name)
    if kind.name == LINKED:
        source.findings.append(pack(raw))
        return
    context = MessageContext(notes, options.received_at or raw.received_at or source.now, kind.newest)
    found: Parsed | None = None
    adds_only = True
    for found in read_message_parts(raw.content, context, kind):
        adds_only = adds_only and isinstance(found, MasterDetails) and found.declaration is None
        source.add(found)
    if found is None:
        source.count(Topic.IGNORED, f"{kind.name}: nothing in it")
    elif adds_only:
        source.count(Topic.IGNORED, f"{kind.name}: it only adds master and route to its items")


def _split_array(raw: RawMessage, options: ReadOptions, findings: list[Finding]) -> Iterable[RawMessage]:
    """Split a JSON array of several kinds of messages into one for each kind; a member that is no message becomes a reject."""
    if raw.fault or raw.content[:HEAD_BYTES].lstrip(BLANK_BYTES)[:1] != b"[":
        return [raw]
    try:
        whole, members = detect_kind(raw.content, options.mappings), split_array(raw.content)
    except (MessageFault, RecursionError):
        return [raw]
    by_kind: dict[str, list[bytes]] = {}
    for number, member in enumerate(members, start=1):
        try:
            if member[:1] not in (b"{", b"["):
                raise MessageFault("no message", got="no JSON object")
            kind = detect_kind(member, options.mappings)
        except MessageFault as fault:
            kind = whole
            if whole.mapping is not None or member[:1] != b"{":
                _Source(f"{raw.source}, member {number}", None, options, findings).reject(fault)
                continue
        by_kind.setdefault(kind.name, []).append(member)
    if [len(each) for each in by_kind.values()] == [len(members)]:
        return [raw]
    return [replace(raw, content=b"[%b]" % b",".join(each)) for each in by_kind.values()]


def link_documents(documents: Iterable[RawMessage], options: ReadOptions) -> Iterator[list[Finding]]:
    """Read documents whose objects link to each other, as many together as a bound of memory allows.

    If their reader fails, each that was not read becomes a reject.
    """
    from consignments.messages.onerecord.waybills import OneRecordLinker

    for group in _cut_batches(documents, MAX_LINKED_BYTES, math.inf):
        findings, linker = list[Finding](), OneRecordLinker()
        came_at = max((raw.received_at for raw in group if raw.received_at is not None), default=None)
        sources = {raw.source: _Source(raw.source, came_at, options, findings) for raw in group}
        for raw in group:
            try:
                linker.add_document(raw.content, raw.source)
            except Exception as error:
                sources[raw.source].reject(error)
                sources[raw.source].is_read = True
        try:
            for name, found in linker.read_all():
                sources[name].add(found)
        except Exception as error:
            for source in [each for each in sources.values() if not each.is_read] or sources.values():
                source.reject(error)
        yield findings


def fill_spool(
    paths: Iterable[Path | str], spool: Spool, options: ReadOptions, progress: Progress | None = None
) -> None:
    """Read all messages of files and folders into the spool; what it has of the same files is not read again."""
    files = list_files(paths)
    marks, sizes = zip(*map(_mark_file, files), strict=True) if files else ((), ())
    spool.begin(repr(marks))
    total, done = sum(sizes), 0

    def note(size: int) -> None:
        nonlocal done
        spool.commit()
        done += size
        if progress is not None:
            progress("read", min(done, total), total)

    jobs = options.jobs if total >= MIN_PARALLEL_BYTES else 1
    messages = chain.from_iterable(map(read_file, files))
    add_messages(messages, spool, replace(options, jobs=jobs), note)


def add_messages(
    messages: Iterable[RawMessage],
    spool: Spool,
    options: ReadOptions,
    note: Callable[[int], None] = lambda _: None,
) -> None:
    """Read the messages that the spool does not have; `note` gets the bytes of each batch of this process or of several."""
    waiting = islice(join_continuations(messages), spool.count(Topic.MESSAGE), None)
    with WorkerPool(options.jobs, rows=0, least=0) as workers:
        batches = _cut_batches(waiting, MAX_BATCH_BYTES, BATCH_MESSAGES)
        for findings in workers.map(partial(parse_messages, options=options), batches):
            spool.add(findings)
            note(sum(size for topic, size, _ in findings if topic is Topic.MESSAGE))
    for findings in link_documents(spool.read(Topic.DOCUMENT), options):
        spool.add(findings)


def _mark_file(path: Path) -> tuple[str, int]:
    """Return what changes with the name or the content of a file, and its size."""
    try:
        stat = path.stat()
    except OSError:
        return f"{name_file(path)} missing", 0
    return f"{name_file(path)} {stat.st_size} {stat.st_mtime_ns}", stat.st_size


def _cut_batches(
    messages: Iterable[RawMessage], max_bytes: int, max_messages: float
) -> Iterator[list[RawMessage]]:
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


def link_entries(spool: Spool, progress: Progress | None = None) -> tuple[Linker, list[StateRow]]:
    """Make rows of all masters and versions, in the order of their time; return their linker, and the states that customs answered."""
    linker = Linker(spool.rows)
    total = spool.count(Topic.MASTER) + spool.count(Topic.VERSION)
    for number, entry in enumerate(spool.read(Topic.MASTER, Topic.VERSION), start=1):
        if isinstance(entry, Version):
            linker.add_declaration(entry)
        else:
            linker.add_master(entry)
        if progress is not None and number % BATCH_MESSAGES == 0:
            progress("link", number, total)
    return linker, list(resolve_states(spool.read(Topic.STATE)))


@dataclass(frozen=True)
class MessageEntries:
    """Entries of messages that are not linked yet."""

    entries: tuple[Version | MasterEntry, ...]
    states: tuple[StateRow, ...]
    rejects: tuple[Reject, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


def read_entries(
    content: bytes, received_at: datetime, mappings: Sequence[MessageMapping] = ()
) -> MessageEntries:
    """Read messages that are received now, without linking them."""
    spool = Spool(None)
    options = ReadOptions(received_at, mappings=tuple(mappings), now=received_at, is_live=True)
    messages = list(islice(read_parts("", content), MAX_BODY_MESSAGES + 1))
    if sum(map(_count_members, messages)) > MAX_BODY_MESSAGES:
        messages = [RawMessage("", b"", fault=TOO_MANY)]
    add_messages(messages, spool, options)
    entries = tuple(spool.read(Topic.MASTER, Topic.VERSION))
    numbers = Counter(each.record.consignment_id for each in entries if isinstance(each, Version))
    repeated = [f"{count} times in one body: {name}" for name, count in numbers.items() if count > 1]
    hidden = len(repeated) - MAX_NAMED_REPEATED
    if hidden > 0:
        repeated[MAX_NAMED_REPEATED:] = [f"{hidden} more identifiers several times"]
    found = MessageEntries(
        entries,
        tuple(resolve_states(spool.read(Topic.STATE))),
        tuple(spool.read(Topic.REJECT)),
        tuple(sorted(spool.count_texts(Topic.IGNORED))),
        (*sorted(spool.count_texts(Topic.NOTE)), *repeated),
    )
    spool.remove()
    return found


def _count_members(raw: RawMessage) -> int:
    """Count the members of a JSON array; any other message is one."""
    if raw.content[:HEAD_BYTES].lstrip(BLANK_BYTES)[:1] == b"[":
        with suppress(MessageFault, RecursionError):
            return len(split_array(raw.content))
    return 1
