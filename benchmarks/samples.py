"""Read a folder of sample messages, and show what each gives, field by field: `make samples DIR=…`.

    python -m benchmarks.samples DIR [--received-at TIME] [--mapping FILE.toml]

What is shown is for the eyes of who has the samples: it is not hidden that a field is personal.
"""

import argparse
from collections import Counter
from pathlib import Path

from msgspec import structs

from consignments.messages.post.mapping import load_mapping
from consignments.messages.quantities import parse_moment
from consignments.messages.reading import ParsedMessages, read_messages
from consignments.records import Consignment


def main() -> None:
    """Read the folder and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--received-at", default=None)
    parser.add_argument("--mapping", type=Path, default=None)
    options = parser.parse_args()
    mappings = [] if options.mapping is None else [load_mapping(options.mapping)]
    found = read_messages([options.folder], received_at=parse_moment(options.received_at), mappings=mappings)
    for place, (c, extras) in enumerate(zip(found.consignments, found.extras, strict=True), start=1):
        print_consignment(place, c, extras)
    print_rest(found)


def print_consignment(place: int, c: Consignment, extras: dict[str, str]) -> None:
    """Print the fields that have a value."""
    print(f"\n{place}. {c.consignment_id}")
    values = {name: value for name, value in structs.asdict(c).items() if value is not None}
    for name, value in (values | extras).items():
        if name == "items":
            for number, item in enumerate(value, start=1):
                told = {key: part for key, part in structs.asdict(item).items() if part is not None}
                print(f"   {f'item {number}':<26} {told}")
        elif name != "consignment_id":
            print(f"   {name:<26} {str(value)!r}")


def print_rest(found: ParsedMessages) -> None:
    """Print answers of customs, what holds no goods, rejects, and the counts."""
    for state in found.states:
        print(f"\nanswer {structs.asdict(state)}")
    for lead, lines in (
        ("ignored", found.ignored),
        ("noted", found.notes),
        ("rejected", [str(reject) for reject in found.rejects]),
    ):
        print(*(f"{lead}: {line}" for line in lines), sep="\n")
    levels = Counter(c.level or "item" for c in found.consignments)
    codes = Counter(code for c in found.consignments for code in c.quality or ())
    print(f"{len(found.consignments)} rows: {dict(levels)}; {found.repeats} retransmissions")
    print(f"{len(found.states)} answers, {len(found.ignored)} kinds ignored, {len(found.rejects)} rejects")
    print(f"quality codes: {dict(codes.most_common())}")


if __name__ == "__main__":
    main()
