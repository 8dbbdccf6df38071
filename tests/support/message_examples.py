"""Example messages of the tests, and the reading of one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from consignments.messages.parsed import CustomsEvent, Declaration, MasterDetails, MessageContext, Parsed

MESSAGES = Path(__file__).parents[1] / "messages"
Reader = Callable[[bytes, MessageContext], Iterator[Parsed]]


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


def changed(content: bytes, *changes: tuple[str, str]) -> bytes:
    text = content.decode()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something, items too."""
    known = {name: value for name, value in fields.items() if value is not None}
    if "items" in known:
        known["items"] = [
            {name: value for name, value in item.items() if value is not None} for item in known["items"]
        ]
    return known
