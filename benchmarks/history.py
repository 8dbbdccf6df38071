"""Measure the cost of history, in batch and live.

    python -m benchmarks.history [--rows 200000]

Rows and keys are synthetic: 12 keys for each consignment, drawn from populations that grow with the rows (1.9 keys of a consignment
are new), two outcomes in a hundred consignments, 25 readings for each key. Figures are CPU time of one thread, without creating the
rows; kernels are compiled before.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.script import parse_options
from consignments.timestamps import NO_TIME, US_PER_DAY
from features.history.keys import KeyKind
from features.history.live import LiveHistory
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.table import History
from features.history.table_fold import TableFold
from features.table import SIDES

POPULATIONS = {
    "sender": 0.2, "sender_address": 0.2, "sender_phone": 0.2, "account": 0.04, "consignee": 0.35,
    "consignee_address": 0.35, "consignee_phone": 0.35, "pair": 0.6, "product": 0.0005,
    "product_route": 0.002, "route": 0.0001, "declarant": 0.0005,
}  # fmt: skip
"""Number of keys of each kind, for each row."""
SKEW = 1.6
"""Key number = population x u ** skew: the first tenth of a population gets a quarter of the rows."""
KINDS = tuple(
    KeyKind(name, name, None, (), side=next((side for side in SIDES if name.startswith(side)), None))
    for name in POPULATIONS
)
START, DAYS = 19_783, 300
OUTCOME_SHARE, FIND_SHARE = 0.02, 0.2
DELAY_DAYS = 14
PIECE_ROWS = 1 << 16
LIVE_EVENTS = 20_000
Keys = NDArray[np.uint64]
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class SyntheticTraffic:
    """Consignments of a year in the order of time, created in chunks."""

    rows: int

    @property
    def received_us(self) -> Longs:
        """Times of arrival, evenly spread, no two equal."""
        return START * US_PER_DAY + np.arange(self.rows) * (DAYS * US_PER_DAY // self.rows)

    def arrivals(self) -> ArrivalEvents:
        names = pa.array(np.arange(self.rows)).cast(pa.large_string())
        return ArrivalEvents(names, self.received_us, np.full(self.rows, NO_TIME))

    def outcomes(self) -> Outcomes:
        random = np.random.default_rng(1)
        opened = np.sort(random.choice(self.rows, int(OUTCOME_SHARE * self.rows), replace=False))
        known = self.received_us[opened] + DELAY_DAYS * US_PER_DAY + 1
        found = random.random(len(opened)) < FIND_SHARE
        results = ["nps" if find else "clear" for find in found.tolist()]
        names = pa.array(opened).cast(pa.large_string())
        return Outcomes(names, known, known, np.full(len(opened), NO_TIME), None, results)

    def keys(self, begin: int, end: int) -> Keys:
        """Return the keys of some rows, (rows, kinds)."""
        random = np.random.default_rng(begin)
        keys = np.empty((end - begin, len(KINDS)), dtype=np.uint64)
        for kind, share in enumerate(POPULATIONS.values()):
            size = max(int(share * self.rows), 10)
            number = (size * random.random(end - begin) ** SKEW).astype(np.uint64) + np.uint64(1)
            keys[:, kind] = _mixed(number + np.uint64(kind << 48))
        return keys

    def pieces(self) -> Iterator[tuple[Keys, Keys]]:
        """Yield keys and counterparts in chunks: the consignee for the sender, the sender for others."""
        for begin in range(0, self.rows, PIECE_ROWS):
            keys = self.keys(begin, min(begin + PIECE_ROWS, self.rows))
            yield keys, np.ascontiguousarray(np.repeat(keys[:, :1], len(KINDS), axis=1))


def _mixed(number: Keys) -> Keys:
    """Scatter numbers over 64 bits, one to one (splitmix64)."""
    number = (number ^ number >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ number >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return number ^ number >> np.uint64(31)


def fold(world: SyntheticTraffic) -> tuple[float, History]:
    """Fold a world and return CPU seconds and the table."""
    arrivals, outcomes = world.arrivals(), world.outcomes()
    room = np.zeros((PIECE_ROWS, History(KINDS).width), dtype=np.float32)
    begin = time.process_time()
    history, folding = History.create_sized(KINDS, world.rows), TableFold(arrivals, outcomes)
    seconds = time.process_time() - begin
    for keys, counterparts in world.pieces():
        begin = time.process_time()
        folding.process_arrivals(history, keys, counterparts, room, np.arange(len(keys)))
        seconds += time.process_time() - begin
    return seconds, history


def measure_batch(rows: int) -> None:
    """Measure the batch, and the memory of its table."""
    seconds, history = fold(SyntheticTraffic(rows))
    arrays = history.get_arrays()
    keys, used = len(history), arrays.heads.nbytes + arrays.days.nbytes + history._slots.nbytes
    print(f"| batch, events/s/core | {rows * (1 + OUTCOME_SHARE) / seconds:,.0f} |")
    print(f"| bytes a key of {keys:,}, in use, counterparts apart | {used / keys:.0f} |")
    print(f"| bytes a key, in use, counterparts | {arrays.counterparts.nbytes / keys:.0f} |")
    print(f"| bytes a key, held (room to grow included) | {history.nbytes / keys:.0f} |")


def measure_live(rows: int) -> None:
    """Measure one event at a time."""
    world = SyntheticTraffic(rows)
    ledger, day = LiveHistory(fold(world)[1]), START + DAYS
    keys = np.concatenate([world.keys(begin, begin + 1_000) for begin in range(0, LIVE_EVENTS, 1_000)])
    row = np.zeros(History(KINDS).width, dtype=np.float32)
    begin = time.process_time()
    for number in range(LIVE_EVENTS):
        ledger.record_arrival(f"live {number}", day, keys[number], keys[number], row)
    took = (time.process_time() - begin) / LIVE_EVENTS
    print(f"| live, one event, read and counted, µs | {took * 1e6:.1f} |")


def main() -> None:
    rows = parse_options(__doc__, rows=200_000).rows
    fold(SyntheticTraffic(2_000))
    print(f"\n| {rows:,} rows | |\n|---|---|", flush=True)
    measure_batch(rows)
    measure_live(rows)


if __name__ == "__main__":
    main()
