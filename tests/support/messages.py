"""The messages of the tests, and ways to change and read them."""

from pathlib import Path
from typing import Any

from consignments.messages.reading import ParsedMessages, read_messages
from consignments.records import Consignment

MESSAGES = Path(__file__).resolve().parent.parent / "messages"
SAMPLES = MESSAGES.parent.parent.parent / "shared" / "data" / "messages"
HOUSE, MASTER = MESSAGES / "xfzb_house.xml", MESSAGES / "xfwb_master.xml"
DIRECT, POUNDS = MESSAGES / "xfwb_direct.xml", MESSAGES / "xfzb_pounds.xml"


def change_message(path: Path, *changes: tuple[str, str]) -> bytes:
    """Give a message with some of its text replaced."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
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
