"""Benchmark of reading house waybills (XFZB) on one core, from memory to a table, by stage.

    python -m benchmarks.messages [--messages 4000]

The messages are docs/samples/xfzb_house.xml with other numbers, about 7 kB each. Figures are CPU time of one thread; the parser alone
is measured in the same run.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.script import parse_options
from consignments import HOME
from consignments.messages.reading import ReadOptions, link_entries, parse_messages
from consignments.messages.sources import RawMessage
from consignments.messages.spool import Spool
from consignments.messages.xml_parsing import parse_xml
from consignments.records import Consignment
from consignments.tables import build_frame

if TYPE_CHECKING:
    from consignments.messages.entries import Version
    from consignments.messages.spool import Finding

SAMPLE, HOUSE = HOME / "docs" / "samples" / "xfzb_house.xml", b"WHX26030917"
PADDED_BYTES = 7_000
BATCH = 200
REPEATS = 3
PADDING = b"<ram:HandlingOSIInstructions><ram:Description>HANDLE WITH CARE</ram:Description></ram:HandlingOSIInstructions>"
"""What real messages have much of, and no reader needs."""
END = b"</ram:IncludedHouseConsignment>"


def main() -> None:
    count = parse_options(__doc__, messages=4_000).messages
    house = pad(SAMPLE.read_bytes())
    messages = [RawMessage(f"message {n}", house.replace(HOUSE, b"H%010d" % n)) for n in range(count)]
    read_all(messages[:BATCH])
    results = read_all(messages)
    rows = link_all(results)
    assert len(rows) == len(messages), (len(rows), len(messages))
    parts = {
        "parse the XML": measure(lambda: [parse_xml(message.content, []) for message in messages]),
        "parse, read and check": measure(lambda: read_all(messages)),
        "link, in the order of time": measure(lambda: link_all(results)),
        "build the table": measure(lambda: build_frame([row.record for row in rows], Consignment)),
    }
    size = sum(len(message.content) for message in messages) / len(messages)
    print(f"{len(messages):,} messages of {size:,.0f} bytes")
    for name, seconds in parts.items():
        print(f"{name:<28} {seconds / len(messages) * 1e6:8.0f} us a message")
    whole = sum(list(parts.values())[1:])
    print(f"from memory to table         {len(messages) / whole:8,.0f} messages a second")


def pad(message: bytes) -> bytes:
    """Add elements that no reader needs, up to the size of a real message."""
    missing = max(PADDED_BYTES - len(message), 0) // len(PADDING)
    return message.replace(END, PADDING * missing + END)


def measure(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of several runs."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def read_all(messages: Sequence[RawMessage]) -> "list[list[Finding]]":
    """Read messages into entries."""
    starts = range(0, len(messages), BATCH)
    return [parse_messages(messages[start : start + BATCH], ReadOptions()) for start in starts]


def link_all(results: "Sequence[list[Finding]]") -> "list[Version]":
    """Make rows of entries."""
    spool = Spool(None)
    for result in results:
        spool.add(result)
    link_entries(spool)
    rows = list(spool.rows.values())
    spool.remove()
    return rows


if __name__ == "__main__":
    main()
