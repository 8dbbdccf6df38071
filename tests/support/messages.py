"""The messages of the tests, and ways to change and read them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from consignments.messages.parsed import CustomsEvent, Declaration, MasterDetails, MessageContext, Parsed
from consignments.messages.reading import ParsedMessages, read_messages
from consignments.records import Consignment

ROOT = Path(__file__).resolve().parents[2]
MESSAGES, BROKEN = ROOT / "docs" / "samples", ROOT / "tests" / "messages"
SAMPLES = ROOT.parent / "shared" / "data" / "messages"
HOUSE, MASTER = MESSAGES / "xfzb_house.xml", MESSAGES / "xfwb_master.xml"
DIRECT, POUNDS = MESSAGES / "xfwb_direct.xml", BROKEN / "xfzb_pounds.xml"

Reader = Callable[[bytes, MessageContext], Iterator[Parsed]]


def change_message(path: Path, *changes: tuple[str, str]) -> bytes:
    """Give a message with some of its text replaced."""
    return changed(path.read_bytes(), *changes)


def changed(content: bytes, *changes: tuple[str, str]) -> bytes:
    """Give content with some of its text replaced."""
    text = content.decode()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def read_one(source: Path | bytes, **options: Any) -> Consignment:
    """Read a message that gives one consignment."""
    (found,) = read_all(source, **options).consignments
    return found


def read_all(*sources: Path | bytes, **options: Any) -> ParsedMessages:
    """Read messages of which none is rejected."""
    found = read_messages(sources, **options)
    assert found.rejects == ()
    return found


# --- the values of one reader, before they are linked ---


def load(name: str) -> bytes:
    return (MESSAGES / name).read_bytes()


def read(reader: Reader, content: bytes) -> list[Parsed]:
    return list(reader(content, MessageContext("test")))


def declarations(reader: Reader, content: bytes) -> list[Declaration]:
    return [each for each in read(reader, content) if isinstance(each, Declaration)]


def declaration(reader: Reader, content: bytes) -> Declaration:
    (found,) = declarations(reader, content)
    return found


def events(reader: Reader, content: bytes) -> list[CustomsEvent]:
    return [each for each in read(reader, content) if isinstance(each, CustomsEvent)]


def masters(reader: Reader, content: bytes) -> list[MasterDetails]:
    return [each for each in read(reader, content) if isinstance(each, MasterDetails)]


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something, items too."""
    known = {name: value for name, value in fields.items() if value is not None}
    if "items" in known:
        known["items"] = [
            {name: value for name, value in item.items() if value is not None} for item in known["items"]
        ]
    return known
