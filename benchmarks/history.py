"""Measure the cost of history: batch and live, few rows and many, hot keys and none, growth; also pandas, Polars and DuckDB.

    python -m benchmarks.history [speed scale hot live growth others files] [--rows 200000] [--most 2000000]

All parts, small, without arguments. Rows and keys are synthetic: 12 keys for each consignment, drawn from populations that grow
with the rows (1.9 keys of a consignment are new), two outcomes in a hundred consignments, 25 readings for each key. Figures are
CPU time of one thread, without creating the rows; kernels are compiled before. `others` needs the packages of
`make bench-history`. `files` runs `npsrisk features` on a Parquet table that it creates.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import MemoryMonitor
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
    KeyKind(
        name, name, None, lambda _, __: "", side=next((side for side in SIDES if name.startswith(side)), None)
    )
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
    """Consignments of a year in the order of time, created in chunks.

    Attributes
    ----------
    rows : int
    hot : float
        Share of rows that carry one and the same key, in every kind.
    skew : float
        1 is uniform.
    met : bool
        True if keys have counterparts.
    """

    rows: int
    hot: float = 0.0
    skew: float = SKEW
    met: bool = True

    @property
    def received_us(self) -> Longs:
        """Times of arrival, evenly spread, no two equal."""
        return START * US_PER_DAY + np.arange(self.rows) * (DAYS * US_PER_DAY // self.rows)

    def arrivals(self) -> ArrivalEvents:
        import pyarrow as pa

        names = pa.array(np.arange(self.rows)).cast(pa.large_string())
        return ArrivalEvents(names, self.received_us, np.full(self.rows, NO_TIME))

    def outcomes(self) -> Outcomes:
        import pyarrow as pa

        random = np.random.default_rng(1)
        opened = np.sort(random.choice(self.rows, int(OUTCOME_SHARE * self.rows), replace=False))
        known = self.received_us[opened] + DELAY_DAYS * US_PER_DAY + 1
        found = random.random(len(opened)) < FIND_SHARE
        return Outcomes(
            pa.array(opened).cast(pa.large_string()),
            known,
            known,
            np.full(len(opened), NO_TIME),
            None,
            ["nps" if find else "clear" for find in found.tolist()],
        )

    def keys(self, begin: int, end: int) -> Keys:
        """Return the keys of some rows, (rows, kinds)."""
        random = np.random.default_rng(begin)
        keys = np.empty((end - begin, len(KINDS)), dtype=np.uint64)
        hot = random.random(end - begin) < self.hot
        for kind, share in enumerate(POPULATIONS.values()):
            size = max(int(share * self.rows), 10)
            number = (size * random.random(end - begin) ** self.skew).astype(np.uint64) + np.uint64(1)
            number[hot] = 0
            keys[:, kind] = _mixed(number + np.uint64(kind << 48))
        return keys

    def pieces(self) -> Iterator[tuple[Keys, Keys]]:
        """Yield keys and counterparts in chunks: the consignee for the sender, the sender for others."""
        for begin in range(0, self.rows, PIECE_ROWS):
            keys = self.keys(begin, min(begin + PIECE_ROWS, self.rows))
            yield keys, np.ascontiguousarray(np.repeat(keys[:, :1], len(KINDS), axis=1)) * np.uint64(self.met)


def _mixed(number: Keys) -> Keys:
    """Scatter numbers over 64 bits, one to one (splitmix64)."""
    number = (number ^ number >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ number >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return number ^ number >> np.uint64(31)


@dataclass(frozen=True)
class FoldCost:
    """Cost of a fold."""

    seconds: float
    history: History
    longest: float


def fold(
    world: SyntheticTraffic,
    out: NDArray[np.float32] | None = None,
    piece_rows: int = PIECE_ROWS,
    capacity: int | None = None,
) -> FoldCost:
    """Fold a world and return CPU seconds, table and longest chunk; readings are kept if `out` has room for all."""
    arrivals, outcomes = world.arrivals(), world.outcomes()
    begin = time.process_time()
    room_for = EXPECTED_NEW_KEYS * world.rows if capacity is None else capacity
    history, folding = History(KINDS, capacity=room_for), TableFold(arrivals, outcomes)
    seconds, longest, done = time.process_time() - begin, 0.0, 0
    room = np.zeros((PIECE_ROWS, History(KINDS).width), dtype=np.float32)
    for keys, counterparts in world.pieces():
        for start in range(0, len(keys), piece_rows):
            part = slice(start, start + piece_rows)
            rows = room if out is None else out[done:]
            begin = time.process_time()
            folding.process_arrivals(
                history, keys[part], counterparts[part], rows, np.arange(len(keys[part]))
            )
            took = time.process_time() - begin
            seconds, longest, done = seconds + took, max(longest, took), done + len(keys[part])
    return FoldCost(seconds, history, longest)


def speed(options: argparse.Namespace) -> None:
    done = fold(SyntheticTraffic(options.rows))
    print(f"| batch, events/s/core | {options.rows * (1 + OUTCOME_SHARE) / done.seconds:,.0f} |")
    tell_bytes(done.history)


def tell_bytes(history: History) -> None:
    arrays = history.get_arrays()
    slots, keys = history.nbytes - sum(part.nbytes for part in history._parts), len(history)
    used = arrays.heads.nbytes + arrays.days.nbytes + slots
    print(f"| keys | {keys:,} |")
    print(f"| bytes a key, in use, counterparts apart | {used / keys:.0f} |")
    print(f"| bytes a key, in use, counterparts | {arrays.counterparts.nbytes / keys:.0f} |")
    print(f"| bytes a key, held (room to grow included) | {history.nbytes / keys:.0f} |")


def scale(options: argparse.Namespace) -> None:
    sizes = [options.most // 10, options.most * 3 // 10, options.most]
    seconds = [fold(SyntheticTraffic(rows)).seconds for rows in sizes]
    for rows, took in zip(sizes, seconds, strict=True):
        print(f"| batch, {rows:,} rows, s | {took:.2f} |")
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    print(f"| slope of time over rows, both as logarithms | {slope:.3f} |")


def hot(options: argparse.Namespace) -> None:
    uniform = fold(SyntheticTraffic(options.rows, skew=1.0)).seconds
    hottest = fold(SyntheticTraffic(options.rows, hot=0.5, skew=1.0)).seconds
    print(f"| uniform keys, s | {uniform:.2f} |\n| one key on half of the rows, s | {hottest:.2f} |")
    print(f"| ratio | {hottest / uniform:.2f} |")


def live(options: argparse.Namespace) -> None:
    world = SyntheticTraffic(options.rows)
    history = fold(world).history
    ledger = LiveHistory(history)
    day = START + DAYS
    keys = np.concatenate([world.keys(begin, begin + 1_000) for begin in range(0, LIVE_EVENTS, 1_000)])
    names = [f"live {number}" for number in range(LIVE_EVENTS)]
    row = np.zeros(History(KINDS).width, dtype=np.float32)
    begin = time.process_time()
    for number, name in enumerate(names):
        ledger.record_arrival(name, day, keys[number], keys[number], row)
    took = (time.process_time() - begin) / LIVE_EVENTS
    print(f"| live, one event, read and counted, µs | {took * 1e6:.1f} |")


def growth(options: argparse.Namespace) -> None:
    begin = time.perf_counter()
    done = fold(SyntheticTraffic(options.most), piece_rows=1_000, capacity=1 << 16)
    print(
        f"| growth to {len(done.history):,} keys, s (making the keys included) | {time.perf_counter() - begin:.1f} |"
    )
    print(f"| longest 1,000 consignments (one growth of the table among them), s | {done.longest:.2f} |")
    tell_bytes(done.history)


# Comparison with other libraries: the same readings as a user of each library would write them, on one thread. All 25
# except the decayed counts and the counterparts, which are included in our time. The world has 300 days and nothing is
# deleted, so no window of 365 days is needed. None of the others amends, cancels, corrects or deletes.

LEFT_OUT = {"decayed_7d", "decayed_30d", "counterparts"}
SAME = tuple(reading.name for reading in READINGS if reading.name not in LEFT_OUT)
WINDOWS = (1, 7, 30, 90)
FIRST_GUESS = {"nps": 0.01, "controlled_drug": 0.01, "any_offence": 0.05}
FOUND = tuple(FIRST_GUESS)
TOLERANCE = 1e-6
"""Tolerance of shares and ratios, which are not computed in the same order of operations everywhere."""
Frame = dict[str, Any]


@dataclass(frozen=True)
class EventColumns:
    """A world as columns: consignments with `us`, `day` and a key of each kind; results with `us`, `day`, keys, positives."""

    rows: dict[str, NDArray[np.int64]]
    result_rows: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, world: SyntheticTraffic) -> "EventColumns":
        outcomes = world.outcomes()
        keys = np.concatenate([keys for keys, _ in world.pieces()]).view(np.int64)
        opened = np.asarray(outcomes.consignment_id.cast("int64"))
        rows = {"us": world.received_us, "day": world.received_us // US_PER_DAY}
        result_rows = {"us": outcomes.visible_us, "day": outcomes.visible_us // US_PER_DAY}
        for target in FOUND:
            wanted = {"nps", "controlled_drug"} if target == "any_offence" else {target}
            result_rows[target] = np.array([result in wanted for result in outcomes.result], np.int64)
        for kind, name in enumerate(POPULATIONS):
            rows[name] = np.ascontiguousarray(keys[:, kind])
            result_rows[name] = rows[name][opened]
        return cls(rows, result_rows)


def readings_from(counts: Frame, common: Frame) -> list[Any]:
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


def by_pandas(given: EventColumns) -> list[Any]:
    import pandas as pd

    rows, result_rows = pd.DataFrame(given.rows), pd.DataFrame(given.result_rows)

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
        columns += readings_from(counts, everybody)
    return columns


def by_polars(given: EventColumns) -> list[Any]:
    import polars as pl

    rows, result_rows = pl.DataFrame(given.rows), pl.DataFrame(given.result_rows)
    everybody = rows.select("us").join_asof(
        result_rows.select(
            "us", known=pl.int_range(1, pl.len() + 1), **{t: pl.col(t).cum_sum() for t in FOUND}
        ),
        on="us",
    )
    common = {name: everybody[name].fill_null(0).to_numpy() for name in ("known", *FOUND)}
    columns = []
    for kind in POPULATIONS:
        counted = rows.select(
            "us", "day", kind, *((pl.col("day") - window).alias(f"before_{window}") for window in WINDOWS),
            ever=pl.int_range(pl.len()).over(kind),
            first=pl.col("day").first().over(kind), last=pl.col("day").shift().over(kind),
        )  # fmt: skip
        for window in WINDOWS:
            at = f"at_{window}"
            earlier = counted.select(
                kind, pl.col("day").alias(at), (pl.col("ever") + 1).alias(f"gone_{window}")
            )
            counted = counted.join_asof(
                earlier, left_on=f"before_{window}", right_on=at, by=kind, check_sortedness=False
            )
        found = pl.when(pl.col("any_offence") > 0).then(pl.col("day")).forward_fill().over(kind)
        known = result_rows.select(
            "us", kind, known=pl.int_range(1, pl.len() + 1).over(kind), found=found,
            **{target: pl.col(target).cum_sum().over(kind) for target in FOUND},
        )  # fmt: skip
        seen = counted.join_asof(known, on="us", by=kind, check_sortedness=False).select(
            "ever",
            *(
                (pl.col("ever") - pl.col(f"gone_{window}").fill_null(0)).alias(f"in_{window}")
                for window in WINDOWS
            ),
            *(pl.col(name).fill_null(0) for name in ("known", *FOUND)),
            since_first=pl.when(pl.col("ever") > 0).then(pl.col("day") - pl.col("first")).cast(pl.Float64),
            since_last=(pl.col("day") - pl.col("last")).cast(pl.Float64),
            since_find=(pl.col("day") - pl.col("found")).cast(pl.Float64),
        )
        columns += readings_from({name: seen[name].to_numpy() for name in seen.columns}, common)
    return columns


def by_duckdb(given: EventColumns) -> list[Any]:
    import duckdb
    import pyarrow as pa

    database = duckdb.connect(config={"threads": 1})
    database.register("consignments", pa.table(given.rows))
    database.register("result_rows", pa.table(given.result_rows))
    sums = ", ".join(f"sum({target}) OVER until_now AS {target}" for target in FOUND)
    finds = ", ".join(f"coalesce({target}, 0) AS {target}" for target in FOUND)
    everybody = database.execute(f"""
        WITH seen AS (SELECT us, count(*) OVER until_now AS known, {sums} FROM result_rows WINDOW until_now AS (ORDER BY us))
        SELECT coalesce(known, 0) AS known, {finds}
        FROM consignments c ASOF LEFT JOIN seen ON c.us >= seen.us ORDER BY c.us
    """).fetchnumpy()
    common = {name: column.astype(float) for name, column in everybody.items()}
    gone = ", ".join(
        f"count(*) OVER (PARTITION BY k ORDER BY day RANGE BETWEEN UNBOUNDED PRECEDING AND {w} PRECEDING) AS gone_{w}"
        for w in WINDOWS
    )
    columns = []
    for kind in POPULATIONS:
        found = database.execute(f"""
            WITH counted AS (
                SELECT us, day, k, count(*) OVER before AS ever, {gone},
                       first_value(day) OVER before AS first, last_value(day) OVER before AS last
                FROM (SELECT us, day, {kind} AS k FROM consignments)
                WINDOW before AS (PARTITION BY k ORDER BY us ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
            seen AS (
                SELECT us, {kind} AS k, count(*) OVER until_now AS known, {sums},
                       max(CASE WHEN any_offence > 0 THEN day END) OVER until_now AS found
                FROM result_rows WINDOW until_now AS (PARTITION BY {kind} ORDER BY us))
            SELECT ever, {", ".join(f"ever - gone_{w} AS in_{w}" for w in WINDOWS)},
                   day - first AS since_first, day - last AS since_last, day - found AS since_find,
                   coalesce(known, 0) AS known, {finds}
            FROM counted ASOF LEFT JOIN seen ON counted.k = seen.k AND counted.us >= seen.us
            ORDER BY counted.us
        """).fetchnumpy()
        filled = {name: np.ma.filled(column.astype(float), np.nan) for name, column in found.items()}
        columns += readings_from(filled, common)
    database.close()
    return columns


def others(options: argparse.Namespace) -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"
    world = SyntheticTraffic(options.rows)
    X = np.zeros((options.rows, History(KINDS).width), dtype=np.float32)
    ours = fold(world, X).seconds
    print(f"| npsrisk, all {WIDTH} readings of {len(KINDS)} keys and those of the sides, s | {ours:.2f} |")
    alone = fold(SyntheticTraffic(options.rows, met=False)).seconds
    print(f"| npsrisk without counterparts, s | {alone:.2f}, {alone / ours:.2f} times |")
    names = [reading.name for reading in READINGS]
    places = [kind * WIDTH + names.index(name) for kind in range(len(KINDS)) for name in SAME]
    given = EventColumns.of(world)
    for name, work in (("pandas", by_pandas), ("Polars", by_polars), ("DuckDB", by_duckdb)):
        begin = time.process_time()
        columns = work(given)
        took = time.process_time() - begin
        differ = {
            names[place % WIDTH]
            for place, column in zip(places, columns, strict=True)
            if not np.allclose(X[:, place], column, rtol=TOLERANCE, atol=0, equal_nan=True)
        }
        compared = f"{took / ours:.1f} times" if not differ else f"differs in {', '.join(sorted(differ))}"
        print(f"| {name}, {len(SAME)} of these readings, s | {took:.2f}, {compared} |", flush=True)


# From Parquet to Parquet, with the command.

SYLLABLES = [a + b for a in "bdfghjklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "en", "in")]
GOODS = "cotton shirts,phone cases,ceramic mugs,hair clips,usb cables,toy cars,green tea,steel bolts,watch straps,face cream"


def write_consignments(path: Path, rows: int) -> None:
    """Write a table of consignments in the order of time, with the keys of `SyntheticTraffic`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    syllables = pa.array(SYLLABLES)
    world = SyntheticTraffic(rows)

    def word(number: Longs) -> Any:
        """Spell a number of up to 28 bits in four syllables."""
        parts = [syllables.take(pa.array(number >> shift & 127)) for shift in (0, 7, 14, 21)]
        return pc.binary_join_element_wise(*parts, "")

    def of(number: Longs, before: str, after: str = "") -> Any:
        return pc.binary_join_element_wise(before, word(number), after, "")

    def code(number: Longs, before: str, digits: int) -> Any:
        text = pc.utf8_lpad(pa.array(number % 10**digits).cast(pa.string()), digits, "0")
        return pc.binary_join_element_wise(before, text, "")

    writer = None
    for begin in range(0, rows, PIECE_ROWS):
        end = min(begin + PIECE_ROWS, rows)
        random = np.random.default_rng(begin)
        draw = {
            name: (max(int(share * rows), 10) * random.random(end - begin) ** SKEW).astype(np.int64)
            for name, share in POPULATIONS.items()
        }
        goods = pa.array(GOODS.split(","))
        table = pa.table(
            {
                "consignment_id": code(np.arange(begin, end), "C", 9),
                "channel": pa.array(["postal"] * (end - begin)),
                "received_at": pa.array(world.received_us[begin:end], pa.timestamp("us", "UTC")),
                "sender_name": of(draw["sender"], "Lee "),
                "sender_address": of(draw["sender_address"], "12 ", " road"),
                "sender_country": pa.array(["CN"] * (end - begin)),
                "sender_phone": code(draw["sender_phone"], "+86 13", 9),
                "account_id": code(draw["account"], "A", 8),
                "consignee_name": of(draw["consignee"], "Kim "),
                "consignee_address": of(draw["consignee_address"], "7 ", "-ro"),
                "consignee_country": pa.array(["KR"] * (end - begin)),
                "consignee_phone": code(draw["consignee_phone"], "+82 10", 8),
                "declarant": code(draw["declarant"] % 500, "D", 4),
                "office": code(draw["route"] % 5, "Office ", 1),
                "departure_country": pa.array(["CN"] * (end - begin)),
                "destination_country": pa.array(["KR"] * (end - begin)),
                "route": pa.array(["PVG>ICN"] * (end - begin)),
                "description": goods.take(pa.array(draw["product"] % len(goods))),
                "hs_code": code(draw["product"], "61", 4),
                "pieces": pa.array(random.integers(1, 4, end - begin).astype(float)),
                "gross_weight_kg": pa.array(np.round(random.gamma(2, 0.5, end - begin), 2)),
                "declared_value": pa.array(np.round(random.gamma(2, 20, end - begin), 2)),
                "currency": pa.array(["USD"] * (end - begin)),
            }
        )
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def write_outcomes(path: Path, rows: int) -> None:
    """Write the outcomes of `SyntheticTraffic` as a table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    outcomes = SyntheticTraffic(rows).outcomes()
    known = pa.array(outcomes.known_us, pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "consignment_id": pc.binary_join_element_wise(
                "C", pc.utf8_lpad(outcomes.consignment_id.cast(pa.string()), 9, "0"), ""
            ),
            "selected_by": pa.array(["model"] * len(known)),
            "status": pa.array(["inspected"] * len(known)),
            "inspected_at": known,
            "known_at": known,
            "result": pa.array(outcomes.result),
        }
    )
    parquet.write_table(table, path)


def files(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_consignments(folder / "consignments.parquet", options.most)
        write_outcomes(folder / "outcomes.parquet", options.most)
        command = [
            sys.executable, "-m", "npsrisk", "features", "--consignments", str(folder / "consignments.parquet"),
            "--outcomes", str(folder / "outcomes.parquet"), "--out", str(folder / "features.parquet"),
        ]  # fmt: skip
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            memory = MemoryMonitor(process.pid)
            memory.start()
            said, _ = process.communicate()
        memory.running = False
        took = time.perf_counter() - begin
        if process.returncode:
            raise SystemExit(process.returncode)
        size = (folder / "features.parquet").stat().st_size
        print(f"| npsrisk features: {said.split(' ->')[0]} | |")
        print(
            f"| wall, s ({os.cpu_count()} cores) | {took:.0f} |\n| consignments/s | {options.most / took:,.0f} |"
        )
        print(f"| peak memory, all processes, GB | {memory.peak / 1e9:.2f} |")
        print(f"| peak memory, the process that folds, GB | {memory.parent_peak / 1e9:.2f} |")
        print(f"| features.parquet, GB | {size / 1e9:.2f} |")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "speed": speed, "scale": scale, "hot": hot, "live": live, "growth": growth, "others": others, "files": files,
}  # fmt: skip
USUAL = ("speed", "scale", "hot", "live", "growth")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all except others and files")
    parser.add_argument("--rows", type=int, default=200_000, help="rows for speed, hot, live, others")
    parser.add_argument("--most", type=int, default=1_000_000, help="rows for scale, growth, files")
    parser.add_argument("--folder", type=Path, default=None, help="folder for files; default: the system's")
    options = parser.parse_args(arguments)
    fold(SyntheticTraffic(2_000))
    for part in options.parts or USUAL:
        print(f"\n{part}, {options.rows:,} and {options.most:,} rows\n\n| what | |\n|---|---|", flush=True)
        PARTS[part](options)


if __name__ == "__main__":
    main()
