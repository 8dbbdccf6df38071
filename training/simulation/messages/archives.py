"""Consignments written as messages, one archive for each format: what a reader is tried with, and a source of test feeds.

Air cargo is written as Cargo-XML and as ONE Record, its houses as Cargo-IMP too; post is written in the flat postal schema.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from consignments.errors import explain_failure
from consignments.records import Consignment
from training.simulation.messages.cargo_imp import write_fhl
from training.simulation.messages.cargo_xml import write_cargo_xml
from training.simulation.messages.one_record import write_one_record
from training.simulation.messages.postal import write_postal

MessageWriter = Callable[[Consignment], bytes]
EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""So that the same consignments give the same bytes."""
FORMATS: dict[str, tuple[Callable[[Consignment], bool], MessageWriter]] = {
    "cargo_xml": (lambda c: c.channel == "air_cargo", write_cargo_xml),
    "cargo_imp": (lambda c: c.channel == "air_cargo" and "/" in c.consignment_id, write_fhl),
    "one_record": (lambda c: c.channel == "air_cargo", write_one_record),
    "postal": (lambda c: c.channel == "postal", write_postal),
}
"""Which consignments each format is for, and what writes it."""


def write_archives(consignments: Iterable[Consignment], folder: Path) -> dict[str, int]:
    """Write each consignment in every format that it has."""
    counts = dict.fromkeys(FORMATS, 0)
    with explain_failure("cannot be written", folder), ExitStack() as opened:
        folder.mkdir(parents=True, exist_ok=True)
        archives = {name: opened.enter_context(ZipFile(folder / f"{name}.zip", "w")) for name in FORMATS}
        for c in consignments:
            for name, (fits, write) in FORMATS.items():
                if fits(c):
                    counts[name] += 1
                    entry = ZipInfo(f"{counts[name]:07d}", EARLIEST_ZIP_TIME)
                    archives[name].writestr(entry, write(c), ZIP_DEFLATED)
    return counts
