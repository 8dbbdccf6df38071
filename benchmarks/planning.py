"""Plan hardware: core-hours, memory, disk and money for some volumes, from measured costs of a row and from prices.

    python -m benchmarks.planning [--core-hour 0.04 --memory-month 3.0 --disk-month 0.1]

Prints the tables of docs/sizing.md. Costs are measured: each says by what. Prices are assumptions, in any currency: give your own.
Replace a cost when it is measured again; nothing in the page is written by hand.
"""

import argparse
from math import ceil
from typing import NamedTuple

YEAR_DAYS = 366
DAY_SECONDS, HOUR_SECONDS = 86_400, 3_600
GB = 1e9
MONTH_HOURS = 730.0
MONTH_DAYS = 30


class Costs(NamedTuple):
    """Measured costs.

    Attributes
    ----------
    feature_rows, score_rows : float
        Rows a CPU second of `npsrisk features` and of `npsrisk score`, one machine (`benchmarks.features --rows 20000`, `benchmarks.batch --rows 10000`).
    dask_ratio : float
        CPU time of `--dask local:2` in multiples of one machine, of ten million rows (`benchmarks.scale --days 300 --per-day 3334 slope`).
        It contains the start of the worker, which weighs less in large tables.
    plan_bytes : float
        Memory for each row in the process that plans and joins (docs/scale.md, many machines).
    scratch_bytes, result_bytes : float
        Bytes a row of the working folder of Dask (docs/scale.md, many machines), and of features with 550 columns (`benchmarks.history files`, of
        25 November; 605 now, so some tenth more).
    keys : float
        New history keys a consignment, within 30 days (`benchmarks.scale … state`). Over a year there are fewer.
    state_key_bytes, state_row_bytes : float
        Bytes of a batch's state for each key, and for each consignment of the last 366 days (`benchmarks.scale … state`).
    table_key_bytes, identifier_bytes : float
        Memory of the service for each key, with room to grow, and for each consignment (docs/service.md, memory).
    snapshot_ratio : float
        Memory of history while a snapshot is written, in multiples of history: all arrays are copied (docs/service.md, memory).
    process_bytes : float
        Memory of a process without history.
    decisions : float
        Single decisions a CPU second of the service, 64 connections (`benchmarks.serving --seconds 4 --mlserver`).
    postgres_ratio, database_us : float
        CPU time of the service with PostgreSQL, in multiples of that with SQLite, and CPU microseconds a decision of PostgreSQL itself
        (`benchmarks.databases`).
    log_bytes : float
        Bytes of the log in PostgreSQL for a decision (`.ci/with-postgres python -m benchmarks.log`).
    training_row_bytes, training_kept_bytes : float
        Memory of a training for each row of its table, and for each kept row: sums of types (docs/scale.md, memory).
    """

    feature_rows: float = 4_200
    score_rows: float = 3_400
    dask_ratio: float = 1.51
    plan_bytes: float = 130
    scratch_bytes: float = 400
    result_bytes: float = 238
    keys: float = 4.43
    state_key_bytes: float = 59
    state_row_bytes: float = 145
    table_key_bytes: float = 150
    identifier_bytes: float = 25
    snapshot_ratio: float = 2
    process_bytes: float = 300e6
    decisions: float = 1_527
    postgres_ratio: float = 1.1
    database_us: float = 20
    log_bytes: float = 2_048
    training_row_bytes: float = 280
    training_kept_bytes: float = 6_000


class Prices(NamedTuple):
    """Assumed prices: of a core for an hour, and of a gigabyte of memory and of disk for a month."""

    core_hour: float = 0.04
    memory_month: float = 3.0
    disk_month: float = 0.1


class Volume(NamedTuple):
    """A volume, and the room that it needs.

    Attributes
    ----------
    name : str
    rows : float
        Consignments a day.
    peak : float
        Consignments a second in the busiest minute, in multiples of the mean.
    use : float
        Share of a core that a service may use at the peak, so that answers do not wait.
    """

    name: str
    rows: float
    peak: float = 5.0
    use: float = 0.6


VOLUMES = (
    Volume("1 M a day", 1e6),
    Volume("12 M a day", 12e6),
    Volume("4.6 bn a year", 4.6e9 / 365),
)
DAY_MINUTES = 60
"""Minutes in which a day's batch has to be done."""
TRAINING_DAYS = 90
INSPECTED_SHARE, BACKGROUND_ROWS, TRAFFIC_ROWS = 0.003, 100_000, 500_000
"""Share of consignments that are inspected (assumed), and the most other rows that a training keeps."""
MACHINE_BYTES = 256e9
"""Memory of a machine that is easy to get. The history of a service must fit into it, twice while a snapshot is written."""


def count_keys(volume: Volume, costs: Costs) -> float:
    """Compute the most history keys of a year."""
    return volume.rows * YEAR_DAYS * costs.keys


def plan_batch(volume: Volume, costs: Costs, prices: Prices) -> dict[str, str]:
    """Plan the features and scores of a day, and a training."""
    features, scores = (volume.rows / rate / HOUR_SECONDS for rate in (costs.feature_rows, costs.score_rows))
    on_dask = features * costs.dask_ratio
    trained = volume.rows * TRAINING_DAYS
    kept = min(trained, trained * INSPECTED_SHARE + BACKGROUND_ROWS + TRAFFIC_ROWS)
    training = (trained * costs.training_row_bytes + kept * costs.training_kept_bytes) / GB
    scratch, result = volume.rows * costs.scratch_bytes / GB, volume.rows * costs.result_bytes / GB
    state = (
        volume.rows * YEAR_DAYS * costs.state_row_bytes + count_keys(volume, costs) * costs.state_key_bytes
    ) / GB
    money = (
        MONTH_DAYS * (on_dask + scores) * prices.core_hour
        + (scratch + state + MONTH_DAYS * result) * prices.disk_month
    )
    return {
        "core-minutes of a day's scores, one machine": f"{scores * 60:,.1f}",
        "core-minutes of a day's features, one machine": f"{features * 60:,.1f}",
        "core-minutes of a day's features, Dask": f"{on_dask * 60:,.1f}",
        f"cores for the features of a day in {DAY_MINUTES} minutes": f"{max(1, on_dask * 60 / DAY_MINUTES):,.1f}",
        "core-hours of the features of a year, once": f"{on_dask * YEAR_DAYS:,.0f}",
        "memory of the command for a whole year, GB": f"{volume.rows * YEAR_DAYS * costs.plan_bytes / GB:,.0f}",
        "working folder, GB": f"{scratch:,.1f}",
        "features of a day, GB": f"{result:,.1f}",
        "state of a year on disk, GB, at most": f"{state:,.0f}",
        "table of keys in memory, GB, at most": f"{count_keys(volume, costs) * costs.table_key_bytes / GB:,.0f}",
        f"memory of a training on {TRAINING_DAYS} days, GB": f"{training:,.0f}",
        "money a month, features of 30 days kept": f"{money:,.0f}",
    }


def plan_service(volume: Volume, costs: Costs, prices: Prices) -> dict[str, str]:
    """Plan services with their logs in PostgreSQL; each has a standby."""
    mean = volume.rows / DAY_SECONDS
    limit = costs.decisions / costs.postgres_ratio
    history = (
        costs.snapshot_ratio
        * (
            count_keys(volume, costs) * costs.table_key_bytes
            + volume.rows * YEAR_DAYS * costs.identifier_bytes
        )
        / GB
    )
    by_time = max(1, ceil(mean * volume.peak / (limit * volume.use)))
    by_memory = ceil(history * GB / MACHINE_BYTES)
    services = max(by_time, by_memory)
    memory = 2 * (history + services * costs.process_bytes / GB)
    log = volume.rows * costs.log_bytes / GB
    database_cores = max(1.0, mean * volume.peak * costs.database_us / 1e6 / volume.use)
    cores = 2 * services + database_cores
    money = (
        cores * MONTH_HOURS * prices.core_hour
        + memory * prices.memory_month
        + log * YEAR_DAYS * prices.disk_month
    )
    return {
        "consignments a second, mean": f"{mean:,.0f}",
        f"the same in the busiest minute ({volume.peak:g} times)": f"{mean * volume.peak:,.0f}",
        f"services by time, each at most {volume.use:.0%} of {limit:,.0f} a second": f"{by_time:,.0f}",
        f"services by memory, each at most {MACHINE_BYTES / GB:,.0f} GB of history with its copy for a snapshot": f"{by_memory:,.0f}",
        "cores with standbys and PostgreSQL": f"{cores:,.1f}",
        "memory of active services and standbys, GB, at most": f"{memory:,.0f}",
        "log, GB a day": f"{log:,.1f}",
        "log of a year, GB": f"{log * YEAR_DAYS:,.0f}",
        "money a month, log of a year kept": f"{money:,.0f}",
    }


def format_tables(costs: Costs, prices: Prices) -> str:
    """Format both plans as tables of Markdown."""
    parts = []
    for title, plan in (("batch", plan_batch), ("service", plan_service)):
        columns = [plan(volume, costs, prices) for volume in VOLUMES]
        lines = [
            f"| {title} | {' | '.join(volume.name for volume in VOLUMES)} |",
            "|---" * (1 + len(VOLUMES)) + "|",
        ]
        lines += [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for kind in (Prices(), Costs()):
        for name, value in kind._asdict().items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    given = vars(parser.parse_args())
    prices, costs = ({name: given[name] for name in kind._fields} for kind in (Prices, Costs))
    print(format_tables(Costs(**costs), Prices(**prices)))


if __name__ == "__main__":
    main()
