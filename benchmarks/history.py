"""Measure the cost of history, in batch and live, and compare it with pandas.

    python -m benchmarks.history [--rows 200000]

Rows and keys are synthetic: 12 keys for each consignment, drawn from populations that grow with the rows (1.9 keys of a consignment
are new), two outcomes in a hundred consignments, 25 readings for each key. Figures are CPU time of one thread, without creating the
rows; kernels are compiled before.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.script import parse_options
from consignments.timestamps import NO_TIME, US_PER_DAY
from features.history.kernels import WIDTH
from features.history.keys import KeyKind
from features.history.live import LiveHistory
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.readings import READINGS, SIDES
from features.history.table import History
from features.history.table_fold import TableFold
from features.pipeline import EXPECTED_NEW_KEYS

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


def fold(world: SyntheticTraffic, out: NDArray[np.float32] | None = None) -> tuple[float, History]:
    """Fold a world and return CPU seconds and the table; readings are kept if `out` is given."""
    arrivals, outcomes = world.arrivals(), world.outcomes()
    room = np.zeros((PIECE_ROWS, History(KINDS).width), dtype=np.float32)
    begin = time.process_time()
    history, folding = History(KINDS, capacity=EXPECTED_NEW_KEYS * world.rows), TableFold(arrivals, outcomes)
    seconds, done = time.process_time() - begin, 0
    for keys, counterparts in world.pieces():
        rows = room if out is None else out[done:]
        begin = time.process_time()
        folding.process_arrivals(history, keys, counterparts, rows, np.arange(len(keys)))
        seconds, done = seconds + time.process_time() - begin, done + len(keys)
    return seconds, history


def measure_batch(rows: int) -> None:
    """Measure the batch, and the memory of its table."""
    seconds, history = fold(SyntheticTraffic(rows))
    arrays = history.get_arrays()
    slots, keys = history.nbytes - sum(part.nbytes for part in history._parts), len(history)
    used = arrays.heads.nbytes + arrays.days.nbytes + slots
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


# The same readings as a user of pandas would write them, on one thread. All 25 except the decayed counts and the counterparts, which
# are included in our time. The world has 300 days and nothing is deleted, so no window of 365 days is needed.

LEFT_OUT = {"decayed_7d", "decayed_30d", "counterparts"}
SAME = tuple(reading.name for reading in READINGS if reading.name not in LEFT_OUT)
WINDOWS = (1, 7, 30, 90)
FIRST_GUESS = {"nps": 0.01, "controlled_drug": 0.01, "any_offence": 0.05}
FOUND = tuple(FIRST_GUESS)
TOLERANCE = 1e-6
"""Tolerance of shares and ratios, which are not computed in the same order of operations everywhere."""
Columns = dict[str, Any]


def list_columns(world: SyntheticTraffic) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return consignments with `us`, `day` and a key of each kind, and results with the same and the positives of each target."""
    outcomes = world.outcomes()
    keys = np.concatenate([keys for keys, _ in world.pieces()]).view(np.int64)
    opened = np.asarray(outcomes.consignment_id.cast("int64"))
    rows = {"us": world.received_us, "day": world.received_us // US_PER_DAY}
    results = {"us": outcomes.visible_us, "day": outcomes.visible_us // US_PER_DAY}
    for target in FOUND:
        wanted = {"nps", "controlled_drug"} if target == "any_offence" else {target}
        results[target] = np.array([result in wanted for result in outcomes.result], np.int64)
    for kind, name in enumerate(POPULATIONS):
        rows[name] = np.ascontiguousarray(keys[:, kind])
        results[name] = rows[name][opened]
    return pd.DataFrame(rows), pd.DataFrame(results)


def compute_readings(counts: Columns, common: Columns) -> list[Any]:
    """Compute the readings `SAME` from the counts of a kind; columns of any library with array operations.

    `counts` has ever, in_1 to in_90, since_first and since_last (missing for a new key), known, the positives of each target,
    and since_find; `common` has the known results and positives of all keys.
    """
    known = counts["known"]
    age = np.clip(np.nan_to_num(counts["since_first"], nan=0.0) + 1, 7, 90)
    values = {
        "new": counts["ever"] == 0,
        **{f"arrivals_{days}d": counts[f"in_{days}"] for days in WINDOWS},
        "arrivals_365d": counts["ever"],
        "arrivals_ever": counts["ever"],
        "days_since_first": counts["since_first"],
        "days_since_last": counts["since_last"],
        "velocity": (counts["in_7"] + 1) / (counts["in_90"] * 7 / age + 1),
        "days_since_find": counts["since_find"],
    }
    for when in ("365d", "ever"):
        values[f"inspections_{when}"] = known
        values |= {f"{target}_{when}": counts[target] for target in FOUND}
    for target in FOUND:
        share = (common[target] + 100 * FIRST_GUESS[target]) / (common["known"] + 100)
        values[f"{target}_rate"] = (counts[target] + 10 * share) / (known + 10)
    return [values[name] for name in SAME]


def compute_by_pandas(rows: pd.DataFrame, result_rows: pd.DataFrame) -> list[Any]:
    """Compute the readings `SAME` of each kind of keys."""

    def results(kind: str | None) -> Any:
        """Sum the results in order, and join to each row the last one that it may see."""
        seen = result_rows[["us", *([kind] if kind else [])]].copy()
        groups = result_rows.groupby(kind, sort=False) if kind else result_rows
        seen["known"] = groups.cumcount() + 1 if kind else np.arange(1, len(result_rows) + 1)
        for target in FOUND:
            seen[target] = groups[target].cumsum()
        if kind:
            seen["found"] = result_rows["day"].where(result_rows["any_offence"] > 0)
            seen["found"] = seen.groupby(kind, sort=False)["found"].ffill()
        return pd.merge_asof(rows[["us", *([kind] if kind else [])]], seen, on="us", by=kind)

    everybody = results(None).fillna(0)
    columns = []
    for kind in POPULATIONS:
        days = rows.groupby(kind, sort=False)["day"]
        ever = days.cumcount()
        counts = {"ever": ever.to_numpy()}
        earlier = pd.DataFrame({kind: rows[kind], "day": rows["day"], "count": ever + 1})
        for window in WINDOWS:
            before = pd.DataFrame({kind: rows[kind], "day": rows["day"] - window})
            gone = pd.merge_asof(before, earlier, on="day", by=kind)["count"].fillna(0)
            counts[f"in_{window}"] = (ever - gone).to_numpy()
        counts["since_first"] = (rows["day"] - days.transform("first")).where(ever > 0).to_numpy()
        counts["since_last"] = (rows["day"] - days.shift()).to_numpy()
        seen = results(kind)
        counts["since_find"] = (rows["day"] - seen["found"]).to_numpy()
        counts |= {name: seen[name].fillna(0).to_numpy() for name in ("known", *FOUND)}
        columns += compute_readings(counts, everybody)
    return columns


def compare_with_pandas(rows: int) -> None:
    """Compare with pandas: CPU time of each, and the values that differ."""
    world = SyntheticTraffic(rows)
    X = np.zeros((rows, History(KINDS).width), dtype=np.float32)
    ours, _ = fold(world, X)
    print(f"| npsrisk, all {WIDTH} readings of {len(KINDS)} keys and those of the sides, s | {ours:.2f} |")
    names = [reading.name for reading in READINGS]
    places = [kind * WIDTH + names.index(name) for kind in range(len(KINDS)) for name in SAME]
    given = list_columns(world)
    begin = time.process_time()
    columns = compute_by_pandas(*given)
    took = time.process_time() - begin
    differ = {
        names[place % WIDTH]
        for place, column in zip(places, columns, strict=True)
        if not np.allclose(X[:, place], column, rtol=TOLERANCE, atol=0, equal_nan=True)
    }
    compared = f"{took / ours:.1f} times" if not differ else f"differs in {', '.join(sorted(differ))}"
    print(f"| pandas, {len(SAME)} of these readings, s | {took:.2f}, {compared} |")


def main() -> None:
    rows = parse_options(__doc__, rows=200_000).rows
    fold(SyntheticTraffic(2_000))
    print(f"\n| {rows:,} rows | |\n|---|---|", flush=True)
    measure_batch(rows)
    measure_live(rows)
    compare_with_pandas(rows)


if __name__ == "__main__":
    main()
