"""Benchmark of reading house waybills (XFZB) on one core, from memory to a table: its stages, and two versions of npsrisk in turn.

    python -m benchmarks.messages [--messages 4000]
    git worktree add ../before REVISION
    python -m benchmarks.messages --other ../before [--rounds 15]

The messages are those of a simulated world, each with the header and the empty parts of real ones: about 7 kB. Figures are CPU
time of one thread; the parser alone is measured in the same run. Two versions run in a process each and measure by turns. The quartiles of
the ratio of each round are printed, and the records are compared.
"""

import argparse
import hashlib
import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from consignments.messages.reading import ReadOptions, link_entries, parse_messages
from consignments.messages.sources import RawMessage
from consignments.messages.spool import Spool
from consignments.records import Consignment
from consignments.tables import build_frame, check_frame, to_consignments

if TYPE_CHECKING:
    from consignments.messages.entries import Version
    from consignments.messages.spool import BatchResult

MEASURE = "--measure"
HERE = Path(__file__).resolve()
PADDED_BYTES = 7_000
BATCH = 200
REPEATS = 3
PADDING = b"<ram:HandlingOSIInstructions><ram:Description>HANDLE WITH CARE</ram:Description></ram:HandlingOSIInstructions>"
"""What real messages have much of, and no reader needs."""


def build_messages(count: int) -> list[RawMessage]:
    """Write houses of a simulated world as messages of the size of real ones."""
    from training.simulation.messages.cargo_xml import write_cargo_xml
    from training.simulation.operation import simulate

    frame = simulate(days=max(count // 100, 2), per_day=500, seed=1).consignments
    records = to_consignments(check_frame(frame, Consignment).frame, Consignment)
    houses = [c for c in records if c.channel == "air_cargo" and "/" in c.consignment_id][:count]
    return [RawMessage(f"message {n}", pad(write_cargo_xml(c))) for n, c in enumerate(houses, start=1)]


def pad(message: bytes) -> bytes:
    """Add elements that no reader needs, up to the size of a real message."""
    end = b"</ram:IncludedHouseConsignment>"
    missing = max(PADDED_BYTES - len(message), 0) // len(PADDING)
    return message.replace(end, PADDING * missing + end)


def measure(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of several runs."""
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def parse_all(messages: Sequence[RawMessage]) -> None:
    """Parse the XML alone."""
    from consignments.messages.xml_parsing import parse_xml

    for message in messages:
        parse_xml(message.content, [])


def read_all(messages: Sequence[RawMessage]) -> "list[BatchResult]":
    """Read messages into entries."""
    options = ReadOptions()
    return [
        parse_messages(messages[start : start + BATCH], options) for start in range(0, len(messages), BATCH)
    ]


def link_all(results: "Sequence[BatchResult]") -> "list[Version]":
    """Make rows of entries."""
    spool = Spool(None)
    for result in results:
        spool.add_result(result)
    link_entries(spool)
    rows = list(spool.read_rows())
    spool.close(remove=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--other", type=Path, help="folder of the other version, a git worktree")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    messages = build_messages(args.messages)
    if args.other is None:
        measure_stages(messages)
    else:
        compare(messages, args.other, args.rounds)


def measure_stages(messages: Sequence[RawMessage]) -> None:
    """Measure each stage over all messages."""
    read_all(messages[:BATCH])
    results = read_all(messages)
    rows = link_all(results)
    assert len(rows) == len(messages), (len(rows), len(messages))
    parts = {
        "parse the XML": measure(lambda: parse_all(messages)),
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


def compare(messages: Sequence[RawMessage], other: Path, rounds: int) -> None:
    """Measure the versions by turns, from memory to a table."""
    from benchmarks.two_versions import measure_by_turns

    with TemporaryDirectory() as folder:
        made = Path(folder) / "messages"
        made.write_bytes(pickle.dumps([message.content for message in messages]))
        found = measure_by_turns([HERE, MEASURE, made], other, rounds)
    before, now = ([row["us"] for row in found[name]] for name in ("before", "now"))
    low, middle, high = statistics.quantiles([b / a for a, b in zip(before, now, strict=True)], n=4)
    print(f"us a message, least of all rounds: before {min(before):.0f}, now {min(now):.0f}")
    print(f"now / before: {middle:.3f} ({low:.3f} to {high:.3f})")
    equal = [row["records"] for row in found["before"]] == [row["records"] for row in found["now"]]
    print("records", "equal" if equal else "DIFFER")


def measure_version(made: Path) -> None:
    """Measure the messages of a file for each line of the input, and print the figures."""
    contents = pickle.loads(made.read_bytes())
    messages = [RawMessage(f"message {n}", content) for n, content in enumerate(contents, start=1)]
    read_all(messages)
    for _ in sys.stdin:
        begun = time.process_time()
        rows = link_all(read_all(messages))
        build_frame([row.record for row in rows], Consignment)
        spent = time.process_time() - begun
        records = hashlib.sha256(repr([(row.record, row.extras) for row in rows]).encode()).hexdigest()
        print(json.dumps({"us": spent / len(messages) * 1e6, "records": records}), flush=True)


if __name__ == "__main__":
    if MEASURE in sys.argv:
        measure_version(Path(sys.argv[2]))
    else:
        main()
