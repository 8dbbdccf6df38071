"""The messages of the tests, and ways to change and read them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from consignments.errors import Reject
from consignments.messages.onerecord.waybills import OneRecordLinker
from consignments.messages.parsed import Declaration, MasterDetails, MessageContext, Parsed, StateRow
from consignments.messages.post.mapping import MessageMapping
from consignments.messages.quality import find_doubts, sort_codes
from consignments.messages.reading import ReadOptions, add_messages, link_entries
from consignments.messages.sources import RawMessage, list_files, read_file, read_parts
from consignments.messages.spool import Spool, Topic
from consignments.records import Consignment

ROOT = Path(__file__).resolve().parents[2]
MESSAGES, BROKEN = ROOT / "docs" / "samples", ROOT / "tests" / "messages"
SAMPLES = ROOT.parent / "shared" / "data" / "messages"
HOUSE, MASTER = MESSAGES / "xfzb_house.xml", MESSAGES / "xfwb_master.xml"
DIRECT, POUNDS = MESSAGES / "xfwb_direct.xml", BROKEN / "xfzb_pounds.xml"

Reader = Callable[[bytes, MessageContext], Iterator[Parsed]]


def change_message(path: Path, *changes: tuple[str, str]) -> bytes:
    return changed(path.read_bytes(), *changes)


def changed(content: bytes, *changes: tuple[str, str]) -> bytes:
    text = content.decode()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def build_message(given: str | list[Any] | dict[str, Any]) -> bytes:
    """Build the message of a case: a text, parts of one, a JSON document, or a sample, changed, with something before it, or cut."""
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, list):
        return b"".join(map(build_message, given))
    if "json" in given:
        return json.dumps(given["json"]).encode()
    text = given.get("before", "") + changed(load(given["sample"]), *given.get("change", ())).decode()
    return (text[: text.rindex(given["cut"])] if "cut" in given else text).encode()


class ParsedMessages(NamedTuple):
    consignments: tuple[Consignment, ...]
    extras: tuple[dict[str, Any], ...]
    states: tuple[StateRow, ...]
    rejects: tuple[Reject, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    repeats: int
    warnings: tuple[str, ...]


def read_messages(
    sources: Iterable[Path | str | bytes],
    *,
    received_at: datetime | None = None,
    mappings: Sequence[MessageMapping] = (),
    now: datetime | None = None,
) -> ParsedMessages:
    """Read messages in memory; without `received_at` each is received when it was issued."""
    spool = Spool(None)
    add_messages(iterate_sources(sources), spool, ReadOptions(received_at, mappings=tuple(mappings), now=now))
    (linker, states), rows = link_entries(spool), list(spool.rows.values())
    found = ParsedMessages(
        tuple(row.record for row in rows),
        tuple(row.extras for row in rows),
        tuple(states),
        tuple(spool.read(Topic.REJECT)),
        tuple(sorted(spool.count_texts(Topic.IGNORED))),
        tuple(sorted(spool.count_texts(Topic.NOTE))),
        linker.repeats,
        tuple("; ".join(doubt.text for doubt in row.warnings) for row in rows),
    )
    spool.remove()
    return found


def iterate_sources(sources: Iterable[Path | str | bytes]) -> Iterator[RawMessage]:
    for number, source in enumerate(sources, start=1):
        if isinstance(source, bytes):
            yield from read_parts(f"message {number}", source)
        else:
            for path in list_files([source]):
                yield from read_file(path)


def check_quality(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Find the quality codes that follow from the fields of a declaration, in their order."""
    return sort_codes(find_doubts(fields, fields.get("level")))


def read_one(source: Path | bytes, **options: Any) -> Consignment:
    """Read a message that gives one consignment."""
    (found,) = read_all(source, **options).consignments
    return found


def read_all(*sources: Path | bytes, **options: Any) -> ParsedMessages:
    """Read messages of which none is rejected."""
    found = read_messages(sources, **options)
    assert found.rejects == ()
    return found


def replace_houses(sample: str, name: str, house: str, values: Iterable[Any]) -> bytes:
    """Put other houses, one for each value, in the place of those of a sample, whose elements have a name."""
    head, _, rest = load(sample).decode().partition(f"<{name}>")
    houses = "".join(f"<{name}>{house.format(value)}</{name}>" for value in values)
    return (head + houses + rest.rpartition(f"</{name}>")[2]).encode()


def load(name: str) -> bytes:
    folder = MESSAGES if (MESSAGES / name).exists() else BROKEN
    return (folder / name).read_bytes()


def read(reader: Reader, content: bytes) -> list[Parsed]:
    return list(reader(content, MessageContext()))


def read_one_record(content: bytes, _: MessageContext) -> Iterator[Parsed]:
    """Read one document by itself; what it links to elsewhere is not known."""
    linker = OneRecordLinker()
    linker.add_document(content, "test")
    return (parsed for _, parsed in linker.read_all())


def declarations(reader: Reader, content: bytes) -> list[Declaration]:
    return [each for each in read(reader, content) if isinstance(each, Declaration)]


def declaration(reader: Reader, content: bytes) -> Declaration:
    (found,) = declarations(reader, content)
    return found


def masters(reader: Reader, content: bytes) -> list[MasterDetails]:
    return [each for each in read(reader, content) if isinstance(each, MasterDetails)]


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something, items too."""
    known = {name: value for name, value in fields.items() if value is not None}
    if "items" in known:
        known["items"] = [given(item) for item in known["items"]]
    return known
